"""What the stream processor reads is what Kafka holds, whoever wrote it and however it is compressed: both of its ways of reading
come to the same, exact windows. A batch that nobody can read any more costs one dead letter.
"""

import random
import time
from dataclasses import replace

import pytest
from confluent_kafka import Producer

import moving
import reckoning
import topics
import traffic
from pipeline import figure
from stack import wait_until

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
SETTINGS = {"TIDEWATCH_WINDOW_IDLE": "3s", "TIDEWATCH_WINDOW_LATENESS": "2m", "TIDEWATCH_STREAM_PROCESSOR_CONSUMER": "auto"}
# a restart of Kafka makes nothing late
RULES = replace(moving.RULES, lateness=120_000)
PARTITIONS = 2


@pytest.fixture(scope="module")
def cluster():
    with moving.Cluster() as cluster:
        yield cluster


class Writer:
    """One server, by a producer of one codec that writes with transactions and one that writes without."""

    def __init__(self, cluster, codec, index):
        self.sender = traffic.Sender(f"of-{codec}", random.Random(codec))
        self.sender.skew, self.sender.names, self.sender.sequence = 0, False, 1
        self.partition = index % PARTITIONS
        settings = cluster.client() | {"compression.type": codec, "linger.ms": 50, "enable.idempotence": True}
        self.plain = Producer(settings)
        self.transactional = Producer(settings | {"transactional.id": f"fetch-{codec}"})
        self.transactional.init_transactions(30)

    def write(self, client, topic, count, first_ms):
        for number in range(count):
            value = self.sender.collect(first_ms + 20 * number)
            headers = [("trace", b"x" * 20), ("nothing", None)] if number % 3 else None
            topics.send(client, topic, self.sender.name.encode(), value, headers, self.partition)

    def flush(self):
        topics.flush(self.plain)


def fill(run, writers, first_ms):
    """Batches of every codec side by side; of the transactions every second one is taken back."""
    for turn in range(6):
        for writer in writers:
            writer.write(writer.plain, run.raw, 20, first_ms + 1_000 * turn)
            writer.flush()
            writer.transactional.begin_transaction()
            writer.write(writer.transactional, run.raw, 20, first_ms + 1_000 * turn + 500)
            if turn % 2:
                # on the broker before it is taken back
                topics.flush(writer.transactional)
                writer.transactional.abort_transaction(30)
            else:
                writer.transactional.commit_transaction(30)


def await_closed(run):
    """Until the windows hold as many samples as what a reader of committed records is shown."""
    raw, layouts = run.read(["metrics.raw", moving.LAYOUTS], "read_committed")
    expected = reckoning.expected_samples(reckoning.reckon(raw, layouts, RULES))

    def closed():
        tiers = run.read(moving.TIERS, "read_committed")
        return reckoning.samples(map(reckoning.read_window, tiers[0] + tiers[1])) >= expected

    wait_until(closed, 60, "every window is closed and committed", every=0.3)


@pytest.mark.parametrize("consumer", ["auto", "librdkafka"])
def test_every_codec_and_every_transaction_is_read_right(cluster, consumer):
    settings = SETTINGS | {"TIDEWATCH_STREAM_PROCESSOR_CONSUMER": consumer}
    run = moving.Run(cluster, 0, f"fetch-{consumer}.", settings, PARTITIONS)
    try:
        run.create_topics()
        writers = [Writer(cluster, codec, index) for index, codec in enumerate(CODECS)]
        # some of it is there before the first reader
        fill(run, writers, int(time.time() * 1_000))
        run.start("a")
        run.await_owner("a", all_of_it=True)
        cluster.restart()
        fill(run, writers, int(time.time() * 1_000))
        await_closed(run)
        for process in run.processes:
            run.end(process, gently=True)
        found = run.gather()
        wrong = reckoning.wrongs(found, RULES) + run.wrong_logs()
        assert not wrong, "\n".join(wrong[:10])
        shown, written = len([r for r in found.raw if r.value]), 2 * 6 * 2 * 20 * len(CODECS)
        assert not found.letters and not found.late
        assert shown == written * 3 // 4, "a quarter was taken back"
        windows = reckoning.samples(found.windows)
        figure(f"fetch: {consumer}: {shown} of {written} frames of {len(CODECS)} codecs are to be seen; samples counted: {dict(windows)}")
    finally:
        run.close()


def test_a_batch_that_cant_be_read_is_one_dead_letter(cluster):
    run = moving.Run(cluster, 0, "fetch-broken.", SETTINGS, PARTITIONS)
    try:
        run.create_topics()
        writer, batches = Writer(cluster, "lz4", 0), []
        for turn in range(3):
            writer.write(writer.plain, run.raw, 10, int(time.time() * 1_000) + 1_000 * turn)
            writer.flush()
            batches.append(run.ends(run.raw, [0])[0])
        raw = run.read(["metrics.raw"], "read_committed")[0]
        kept = [record for record in raw if not batches[0] <= record.offset < batches[1]]
        expected = reckoning.expected_samples(reckoning.reckon(kept, [], RULES))
        [segment] = cluster.stack.directory.rglob(f"{run.raw}-0/{0:020}.log")
        cluster.stack.stop_part("kafka")
        content = bytearray(segment.read_bytes())
        begin = 0
        while int.from_bytes(content[begin : begin + 8]) < batches[0]:
            begin += 12 + int.from_bytes(content[begin + 8 : begin + 12])
        # behind the header: no frame of lz4 begins like this
        content[begin + 61 : begin + 69] = b"\xff" * 8
        segment.write_bytes(content)
        cluster.stack.start_part("kafka")
        process = run.start("a")

        def letters():
            return run.read([moving.LETTERS], "read_committed")[0]

        [letter] = wait_until(letters, 60, "a dead letter")
        said = {name: letter.header(f"__connect.errors.{name}") for name in ("topic", "partition", "offset")}
        assert said == {"topic": run.raw.encode(), "partition": b"0", "offset": str(batches[0]).encode()}
        assert letter.header("__connect.errors.exception.class.name") == b"undecodable"
        assert b"lz4" in letter.header("__connect.errors.exception.message") and not letter.value

        def counted():
            tiers = run.read(moving.TIERS, "read_committed")
            return reckoning.samples(map(reckoning.read_window, tiers[0] + tiers[1])) == expected

        wait_until(counted, 30, "the windows of the other two batches", every=0.3)
        # nothing is told twice by who reads it again
        run.end(process, gently=False)
        run.start("a")
        writer.write(writer.plain, run.raw, 10, int(time.time() * 1_000) + 10_000)
        writer.flush()
        end = run.ends(run.raw, [0])[0]
        wait_until(lambda: run.committed()[0] >= end, 60, "all of it read", every=0.3)
        assert len(letters()) == 1
        assert not run.wrong_logs()
    finally:
        run.close()
