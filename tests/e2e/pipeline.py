"""A pipeline of our own: Kafka, PostgreSQL and Redis from deploy/local, each service a process, on free ports.

A `Pipeline` starts the parts and the services, can kill and restart each alone, and keeps their logs. An unexpected WARN or
ERROR in a log is a failure: a test that breaks something says first what it expects to read (`expecting`).
"""

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager

import psycopg
import requests

from stack import PROGRAMS, Stack, bound, free_ports, wait_until

PROGRAM = PROGRAMS / "tidewatch"
PREFIX = "tidewatch."

# what the tests measured, printed at the end of the run
FIGURES = []


def figure(text):
    FIGURES.append(text)


_GIVEN = set()


def new_port():
    """A free port that nothing else of this run was given: what was given may not be bound yet."""
    while (port := free_ports(1)[0]) in _GIVEN:
        pass
    _GIVEN.add(port)
    return port


def clean_environment(**more):
    """Ours alone: what the caller set for another stack must not reach this one."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEWATCH_", "RUST_LOG"))}
    return kept | {k: str(v) for k, v in more.items()}


class Service:
    """One process of ours, its log and its admin address."""

    def __init__(self, stack, name, *words, arguments=(), env=None):
        self.name = name
        self.admin_port = new_port()
        self.read_to = 0
        settings = {"TIDEWATCH_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}"} | (env or {})
        self.process = stack.spawn(name, *words, *map(str, arguments), program="tidewatch", env=settings)

    def restart_killed(self):
        """`kill -9`, and a new process at once."""
        self.process.kill()
        self.process.start()

    def is_ready(self):
        assert self.process.alive, f"{self.name} ended: {self.process.tail()}"
        try:
            return requests.get(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    def await_ready(self, within=40):
        wait_until(self.is_ready, within, f"{self.name} is ready")
        return self

    def metrics(self):
        """Every line of /metrics: name with labels -> value."""
        text = requests.get(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=5).text
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def new_lines(self):
        """Log lines since the last call; a half-written one waits."""
        with self.process.log.open("rb") as log:
            log.seek(self.read_to)
            text = log.read()
        end = text.rfind(b"\n") + 1
        self.read_to += end
        return text[:end].decode(errors="replace").splitlines()


class Pipeline:
    """Parts, topics, keys, services."""

    ALL = ("ingest", "stream-processor", "analyzer", "sink", "visualizer", "gateway")

    def __init__(self, name, services=ALL, settings=None):
        self.allowed = []
        self.services = {}
        self.keys = {}
        began = time.monotonic()
        self.stack = Stack()
        _GIVEN.update(self.stack.ports)
        self.folder = self.stack.directory
        try:
            self.stack.start(180)
            self._start(settings or {}, services)
        except BaseException:
            self.stack.close(keep=True)
            raise
        figure(f"{name}: Kafka, PostgreSQL, Redis and {len(services)} services up in {time.monotonic() - began:.1f} s")

    def _start(self, settings, services):
        self.environment = clean_environment(
            TIDEWATCH_KAFKA_BROKERS=self.stack.kafka,
            TIDEWATCH_POSTGRES_URL=self.stack.postgres_url,
            TIDEWATCH_REDIS_URL=self.stack.redis_url,
            TIDEWATCH_STATE=self.folder / "tidewatch",
        )
        self.tool("topics", "create", "--partitions", "8", "--replication", "1")
        self.keys_file = self.folder / "keys.yaml"
        for role in ("admin", "writer", "viewer"):
            self.keys[role] = self.make_key(role, role)
        ports = {name: f"127.0.0.1:{new_port()}" for name in ("ingest", "visualizer", "gateway")}
        self.url = f"http://{ports['gateway']}"
        arguments = {name: [f"--{name}-listen", address] for name, address in ports.items()}
        arguments["ingest"] += ["--collect", "false"]
        arguments["gateway"] += ["--keys", self.keys_file]
        arguments["gateway"] += ["--ingest-upstreams", ports["ingest"], "--visualizer-upstreams", ports["visualizer"]]
        for name in services:
            words = [*arguments.get(name, []), *settings.get(name, [])]
            self.services[name] = Service(self.stack, name, name, arguments=words)
        for service in self.services.values():
            service.await_ready()

    def make_key(self, name, role):
        return self.tool("keys", "create", name, "--role", role, "--keys", self.keys_file).strip()

    def __getitem__(self, name):
        return self.services[name]

    @property
    def brokers(self):
        return self.stack.kafka

    def tool(self, *words, within=60):
        """Runs `tidewatch ...` to its end; what it printed."""
        done = subprocess.run(
            [PROGRAM, *map(str, words)], env=self.environment, capture_output=True, text=True, timeout=within
        )
        assert done.returncode == 0, f"tidewatch {' '.join(map(str, words))}: {done.stdout}{done.stderr}"
        return done.stdout

    def simulate(self, *words):
        """`tidewatch simulate` beside the test."""
        log = (self.folder / "simulate.log").open("ab")
        return subprocess.Popen(
            bound([str(PROGRAM), "simulate", "--quiet", *map(str, words)], "KILL"),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def sql(self, query, *values):
        with psycopg.connect(self.stack.postgres_url) as connection:
            return connection.execute(query, values or None).fetchall()

    def call(self, method, path, role="admin", **more):
        """One HTTP call through the gateway, in a connection of its own."""
        headers = more.pop("headers", {})
        if role:
            headers = {"Authorization": f"Bearer {self.keys[role]}"} | headers
        return requests.request(method, self.url + path, headers=headers, timeout=more.pop("timeout", 30), **more)

    def get(self, path, role="viewer", **parameters):
        answer = self.call("GET", path, role, params=parameters)
        assert answer.status_code == 200, f"GET {path} {parameters}: {answer.status_code} {answer.text[:500]}"
        return answer

    def ingest(self, body, role="writer"):
        return self.call("POST", "/api/v1/ingest", role, json=body)

    @contextmanager
    def expecting(self, *patterns):
        """While this holds, and for what is logged by its end, these WARN and ERROR lines are no surprise."""
        self.check_logs()
        self.allowed.extend(patterns)
        try:
            yield
        finally:
            self.check_logs()
            del self.allowed[-len(patterns) :]

    def check_logs(self):
        """Fails on a WARN, an ERROR or a panic that nobody announced."""
        surprises = []
        for service in self.services.values():
            for line in service.new_lines():
                if is_surprise(line) and not any(re.search(pattern, line) for pattern in self.allowed):
                    surprises.append(f"{service.name}: {line}")
        assert not surprises, f"{len(surprises)} unexpected log lines:\n" + "\n".join(surprises[:20])

    def close(self):
        """Drains the services and ends the parts; every service has to end well."""
        try:
            codes = {name: service.process.stop() for name, service in reversed(self.services.items())}
            self.check_logs()
            bad = {name: code for name, code in codes.items() if code != 0}
            assert not bad, f"services did not end well: {bad}"
        except BaseException:
            self.stack.close(keep=True)
            raise
        self.stack.close(keep="TIDEWATCH_KEEP" in os.environ)


def is_surprise(line):
    """Logs are JSON; anything else on standard error is a panic or a library that speaks past the log."""
    try:
        entry = json.loads(line)
    except ValueError:
        return bool(line.strip())
    return entry.get("level") in ("WARN", "ERROR")
