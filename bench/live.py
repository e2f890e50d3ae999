"""What only shows while frames come in: how long until a window is visible, and how long until it goes on after kill -9."""

from __future__ import annotations

import signal
import statistics
import time

from contenders import Ours
from measure import Process
from rig import PROGRAMS, Load, Rig, wait_until

# A window waits for its server's own time to pass its end by the grace of 2 s; a fleet that has stopped closes none.
MARGIN_MS = 4_000


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Avro's zigzag integer, and where the next field is."""
    raw = shift = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7


def window_end(record: bytes) -> int:
    """Of an AggregateFrame in single-object encoding: server, window_start, window_ms come first."""
    length, at = varint(record, 10)
    start, at = varint(record, at + length)
    return start + varint(record, at)[0]


def live_producer(rig: Rig, load: Load) -> Process:
    return Process([str(PROGRAMS / "preload"), *rig.load_args(load), "--live"], rig.env(), rig.work / f"{load.name}-producer.log")


def delays(rig: Rig, load: Load) -> dict[str, float]:
    """Frames as they come, and for each window of 10 s and of 1 m the time from its end to a `read_committed` reader."""
    rig.create_ours(load)
    ours = Ours(rig, load)
    wait_until(lambda: ours.metric("partitions") > 0, 60, "an assignment")
    consumer = rig.consumer(f"{load.prefix}metrics.10s", f"{load.prefix}metrics.1m")
    producer = live_producer(rig, load)
    began, found = time.time(), []
    until = began + load.seconds
    while time.time() < until:
        messages = consumer.consume(10_000, timeout=0.05)
        now = time.time()
        for message in messages:
            assert not message.error(), message.error()
            end = window_end(message.value())
            if end < until * 1_000 - MARGIN_MS:
                found.append(now - end / 1_000)
    consumer.close()
    producer.end()
    assert ours.process.end() == 0, ours.process.tail()
    print(f"  {len(found)} windows of {load.servers} servers seen", flush=True)
    cuts = statistics.quantiles(found, n=100)
    return {"p50": cuts[49], "p99": cuts[98]}


def recovery(rig: Rig, load: Load) -> dict[str, float]:
    """kill -9 in the middle of a fleet's frames, and the time from the start of a new process to its first committed window.

    The load is four minutes of frames up to now: more than the two minutes that a restart may have to read again.
    """
    rig.reset_ours(load)
    empty = Load(f"{load.name}-idle", load.shape, load.servers, load.series, 0)
    rig.create_ours(empty)
    idle = Ours(rig, empty)
    wait_until(lambda: idle.metric("partitions") > 0, 60, "an assignment")
    time.sleep(3)
    baseline = idle.process.memory("VmRSS")
    idle.process.end()

    ours = Ours(rig, load)
    producer = live_producer(rig, Load(load.name, load.shape, load.servers, load.series, 90, load.interval))
    ends = rig.ends(load.topic)
    wait_until(lambda: ours.is_committed_to(ends), 300, "the load's end")
    time.sleep(15)
    peak, steady = ours.process.memory(), ours.process.memory("VmRSS")
    ours.process.end(signal.SIGKILL)
    consumer = rig.consumer(f"{load.prefix}metrics.10s")
    # What was committed before the end is not the restart's.
    while consumer.consume(10_000, timeout=0.3):
        pass
    began = time.monotonic()
    ours.start()
    while not (messages := consumer.consume(1, timeout=60)):
        assert time.monotonic() - began < 120, ours.process.tail()
    seconds = time.monotonic() - began
    assert not messages[0].error(), messages[0].error()
    time.sleep(1)
    replayed = ours.metric("replayed_total")
    consumer.close()
    producer.end()
    assert ours.process.end() == 0, ours.process.tail()
    return {"seconds": seconds, "replayed": replayed, "idle": baseline, "peak": peak, "steady": steady}
