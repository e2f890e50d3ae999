"""A sink and two visualizers for tests of Redis: one visualizer asks it, by a proxy of its own like the sink; the other has none.

In: a Kafka, a PostgreSQL and a Redis of their own. Out: their addresses, Redis' keys, faults of Redis. Keeps: what the visualizer
without Redis answers is PostgreSQL's word.
"""

import os
import signal
import time
from contextlib import contextmanager

import redis

from pipeline import Pipeline, Service, new_port
from redis_proxy import Proxy
from stack import wait_until

# every server is old news here: its windows flow faster than the clock
SETTINGS = {"TIDEWATCH_VISUALIZER_SILENT_AFTER": "30d", "TIDEWATCH_KAFKA_SESSION_TIMEOUT": "6s"}


class Hot:
    def __init__(self, name, sinks=1):
        self.pipeline = Pipeline(name, services=())
        self.stack = self.pipeline.stack
        # of the visualizer that never has one
        self.pipeline.allowed.append("redis is away, answers come from postgresql")
        self.proxies = {}
        self.nobody = new_port()
        self.addresses = {name: f"127.0.0.1:{new_port()}" for name in ("hot", "plain")}
        for number in range(sinks):
            self.add_sink("sink" if number == 0 else f"sink-{number}")
        self.proxies["hot"] = Proxy(new_port(), self.redis_port)
        self._add("hot", "visualizer", self.proxies["hot"].url, TIDEWATCH_VISUALIZER_LISTEN=self.addresses["hot"])
        self._add("plain", "visualizer", f"redis://127.0.0.1:{self.nobody}/", TIDEWATCH_VISUALIZER_LISTEN=self.addresses["plain"])
        for service in self.pipeline.services.values():
            service.await_ready()

    @property
    def redis_port(self):
        return self.stack.ports[3]

    def add_sink(self, name):
        self.proxies[name] = Proxy(new_port(), self.redis_port)
        return self._add(name, "sink", self.proxies[name].url)

    def _add(self, name, what, redis_url, **more):
        env = SETTINGS | {"TIDEWATCH_REDIS_URL": redis_url} | more
        self.pipeline.services[name] = Service(self.stack, name, what, env=env)
        return self.pipeline.services[name]

    def client(self):
        return redis.Redis(port=self.redis_port, socket_timeout=10)

    def close(self):
        try:
            self.pipeline.close()
        finally:
            for proxy in self.proxies.values():
                proxy.close()

    # Faults

    def down(self):
        self.stack.kill_part("redis")

    def up(self):
        self.stack.start_part("redis")

    @contextmanager
    def misbehaving(self, *names, **mode):
        for name in names or self.proxies:
            self.proxies[name].set(**mode)
        try:
            yield
        finally:
            for name in names or self.proxies:
                self.proxies[name].set()

    @contextmanager
    def stopped(self):
        """It hangs; what is sent meanwhile waits for it."""
        pid = self.stack.pid_of("redis")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def dump(self):
        """Every key as it is: key -> (when it expires, its bytes)."""
        client, found = self.client(), {}
        for key in client.keys("tw:*"):
            expires, value = client.execute_command("PEXPIRETIME", key), client.dump(key)
            if value is not None:
                found[key] = (max(0, expires), value)
        assert found
        return found

    def restore(self, dumped):
        """What a restart from a snapshot brings back: all that has not expired meanwhile."""
        client, now = self.client(), time.time() * 1000
        for key, (expires, value) in dumped.items():
            if not expires or expires > now:
                client.restore(key, expires, value, replace=True, absttl=True)

    def restart_with(self, dumped):
        """Killed, and back with what it held when that was dumped; nobody reaches it before."""
        with self.misbehaving(refuse=True):
            self.down()
            self.up()
            self.restore(dumped)

    def await_redis(self, askers, within=40.0):
        """Until an answer comes from Redis that was asked from now on."""
        began = time.monotonic()

        def answered():
            assert not askers.failures, askers.failures
            return any(a.source == "redis" and a.began > began for a in askers.answers[-200:])

        wait_until(answered, within, f"an answer from Redis, {askers.phase}", every=0.05)
        return time.monotonic() - began
