"""Windows by hand, one sink more, and a Redis that misbehaves on demand: what an answer from Redis lacks is told window by window."""

import time

import pytest
from confluent_kafka.admin import AdminClient

import answers
from commits import Commits
from hot import Hot
from moving import assigned
from pipeline import PREFIX
from stack import wait_until
from windows import TOPIC, WINDOW, Flow

GROUP = f"{PREFIX}sink"
# a lease, and a second
SETTLED = 6.0


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.commits.stop()
    scene.hot.close()


class Scene:
    """Windows by hand: each is sent when the test says so."""

    def __init__(self):
        self.hot = Hot("redis gaps")
        self.hot.pipeline.allowed.append(r"(?i)redis|writes our partitions|session timed out|Offset commit")
        start = (int(time.time() * 1000) - 3_600_000) // WINDOW * WINDOW
        self.flow = Flow(self.hot.pipeline, "gap", 24, 4, 0.0, start)
        self.commits = Commits(self.hot.stack.postgres_url)
        self.admin = AdminClient({"bootstrap.servers": self.hot.pipeline.brokers})
        self.clients = [answers.Client(address) for address in self.hot.addresses.values()]

    def rounds(self, count):
        for _ in range(count):
            self.flow.round()
            self.flow.client.flush(10)
            wait_until(lambda: all(self.commits.of(sent.place) for sent in self.flow.sent), 60, "it is committed", every=0.02)

    def ask(self, server, first, end):
        """Where the answer came from, and how many rows of which windows it has; the same without Redis."""
        at = f"from={self.flow.start + first * WINDOW}&to={self.flow.start + end * WINDOW}&limit=10000"
        found = []
        for client in self.clients:
            status, headers, body = client.get(f"/api/v1/metrics/{server}?{at}")
            assert status == 200, body
            found.append((headers["X-Tidewatch-Source"], answers.windows_of(body, self.flow.start)))
        return found

    def await_redis(self, server, first, end):
        wait_until(lambda: self.ask(server, first, end)[0][0] == "redis", 30, "an answer from Redis")

    def partitions(self):
        """Partitions of the topic by member."""
        [group] = self.admin.list_groups(GROUP, timeout=10)
        return {member.id: assigned(member.assignment, TOPIC) for member in group.members}

    def servers_in(self, partitions):
        return sorted({sent.server for sent in self.flow.sent if sent.place[0] in partitions})

    def check(self, server, first, end):
        (source, rows), (_, expected) = self.ask(server, first, end)
        assert rows == expected, f"from {source}: windows {rows}, PostgreSQL has {expected}"
