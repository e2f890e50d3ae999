"""A producer that means harm costs dead letters and nothing else: neither memory nor a restart, nor an honest server's windows.

One stream processor with 512 MiB, kept by a memory cgroup where one can be made, and its default settings.
"""

import subprocess
import time
from collections import Counter, defaultdict

import pytest
import requests
from confluent_kafka import Consumer, TopicPartition

import avro_contract as contract
import hostile
import reckoning
import topics
from cage import Cage
from pipeline import PROGRAM, clean_environment, figure, new_port
from stack import Stack, wait_until

LIMIT = 512 << 20
SEED = 20_261_126


class Processor:
    """Kafka, and one stream processor in a cage."""

    def __init__(self, stack):
        self.brokers = stack.kafka
        env = clean_environment(TIDEWATCH_KAFKA_BROKERS=self.brokers, TIDEWATCH_STATE=stack.directory / "tidewatch")
        words = [PROGRAM, "topics", "create", "--partitions", str(len(hostile.PARTITIONS)), "--replication", "1"]
        subprocess.run(words, env=env, check=True, capture_output=True, timeout=60)
        self.admin = f"127.0.0.1:{new_port()}"
        self.service = stack.spawn("stream-processor", env={"TIDEWATCH_ADMIN_LISTEN": self.admin})
        self.pid = self.service.pid
        self.cage = Cage(self.pid, LIMIT)
        wait_until(lambda: requests.get(f"http://{self.admin}/readyz", timeout=2).ok, 40, "the processor is ready")

    def metrics(self):
        lines = requests.get(f"http://{self.admin}/metrics", timeout=5).text.splitlines()
        found = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name.removeprefix("tidewatch_stream_processor_"): float(value) for name, _, value in found}

    def await_read(self, within):
        """Until all of metrics.raw is committed; the processor has to live."""
        client = Consumer({"bootstrap.servers": self.brokers, "group.id": f"{topics.PREFIX}stream-processor"})
        wanted = [TopicPartition(topics.RAW, number) for number in hostile.PARTITIONS]

        def read():
            assert self.service.alive, f"the processor ended: {self.service.tail()}"
            return {p.partition: p.offset for p in client.committed(wanted, timeout=10)} == topics.ends(self, topics.RAW)

        try:
            wait_until(read, within, "all of metrics.raw committed", every=0.3)
        finally:
            client.close()

    def await_closed(self, within):
        """Until ticks, which are written while a window is open, have ceased."""
        last, since = None, time.monotonic()

        def silent():
            nonlocal last, since
            ends = topics.ends(self, topics.RAW)
            if ends != last:
                last, since = ends, time.monotonic()
            return time.monotonic() - since > 2.5

        wait_until(silent, within, "every window is closed", every=0.3)
        self.await_read(within)


class Found:
    """What the topics hold in the end."""

    def __init__(self, processor):
        self.letters, self.raw_letters = Counter(), 0
        for message in topics.read(processor, topics.DEAD_LETTER):
            said = topics.headers(message)
            if said["__connect.errors.topic"] == topics.RAW:
                self.letters[message.key().decode(), said["__connect.errors.exception.class.name"]] += 1
        # (server, series.., tier, start) -> its cell, of the servers whose windows are looked at
        self.windows, self.liar = {}, 0
        # (partition, minute) -> servers
        self.servers = defaultdict(set)
        for tier in ("metrics.10s", "metrics.1m"):
            for message in topics.read(processor, topics.PREFIX + tier):
                if message.value():
                    self.take(message)

    def take(self, message):
        window = contract.decode("aggregate_frame", message.value())
        if window["window_ms"] == 60_000:
            self.servers[message.partition(), window["window_start"] // 60_000].add(message.key())
        if message.key() in hostile.Honest.NAMES:
            for series, cell in reckoning.rows(window).items():
                reckoning.merge(self.windows, (window["server"], *series, window["window_ms"], window["window_start"]), cell)
        if message.key() == b"liar" and window["window_ms"] == 60_000:
            self.liar += sum(window["count"])


@pytest.fixture(scope="module")
def siege():
    """Everything sent, read and closed: what was sent, what was found, and the processor."""
    began = time.monotonic()
    with Stack(("kafka",)) as stack:
        processor = Processor(stack)
        try:
            client = topics.producer(processor, **{"message.max.bytes": 1_100_000})
            siege, started = hostile.Siege(client, SEED), time.monotonic()
            siege.go()
            sent = time.monotonic()
            while time.monotonic() < started + 20 or processor.metrics()["lag_records"] > 0:
                siege.honest.send_due()
                time.sleep(0.05)
            topics.flush(client)
            processor.await_read(60)
            read = time.monotonic()
            processor.await_closed(60)
            siege.metrics, siege.processor = processor.metrics(), processor
            siege.peak, siege.alive = processor.cage.peak(), processor.service.alive
            found = Found(processor)
            series = hostile.LEGION_FRAMES * hostile.WIDTH
            figure(
                f"hostile input: {sum(siege.sent.values()):,} records with {series:,} series of one server sent in {sent - started:.1f} s, "
                f"read after {read - started:.1f} s, all done in {time.monotonic() - began:.1f} s"
            )
            figure(f"hostile input: peak memory {siege.peak >> 20} MiB of {LIMIT >> 20}, kept by: {processor.cage.kind}")
            yield siege, found
            stack.check_logs()
        finally:
            processor.service.kill()
            processor.cage.close()


def test_the_memory_stays_within_bounds_and_nothing_restarts(siege):
    sent, _ = siege
    assert sent.peak <= LIMIT, f"{sent.peak >> 20} MiB"
    assert sent.alive and sent.processor.service.pid == sent.processor.pid and sent.metrics["sessions_total"] == 1


def test_honest_servers_windows_are_exact(siege):
    sent, found = siege
    assert found.windows == sent.honest.expected and len(found.windows) > 100


def test_each_kind_has_its_dead_letters(siege):
    sent, found = siege
    letters = Counter({key: n for key, n in found.letters.items() if key[0] not in ("random", "invented-name")})
    assert letters == sent.letters
    assert found.liar == sent.sent["sizes-that-lie"], "a size is not believed, what it is the size of is there"
    noise = Counter({reason: n for (kind, reason), n in found.letters.items() if kind == "random"})
    assert noise.total() == hostile.RANDOM and set(noise) <= {"undecodable", "bad_json"}, noise


def test_invented_servers_find_room_up_to_the_cap(siege):
    sent, found = siege
    invented = Counter({place: sum(name.startswith(b"host-") for name in names) for place, names in found.servers.items()})
    refused = found.letters["invented-name", "too_many_servers"]
    assert invented.total() + refused == hostile.NAMES
    # silent ones among them: whoever sent nothing good has no window
    most = max(len(names) for names in found.servers.values())
    assert hostile.MAX_SERVERS - 10 <= most <= hostile.MAX_SERVERS, most


def test_the_counters_tell_the_same(siege):
    sent, found = siege
    told = Counter()
    for (_, reason), number in found.letters.items():
        told[reason] += number
    for reason, number in told.items():
        counted = sent.metrics[f'dead_letters_total{{reason="{reason}"}}']
        # windows that the rollups refuse are counted too
        assert counted >= number if reason == "too_many_servers" else counted == number, reason
