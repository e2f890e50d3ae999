"""A few servers' frames, drawn from a seed, without an end: out of order, repeated, late, silent for a while, layouts that change.

In: a seed and when it begins. Out: (second it is due, key, value); without a key, a layout to be announced. Keeps: whole numbers as values; one time is one frame of a
server, so that which value was the first of a window does not depend on what arrived first.
"""

import heapq
import random
import threading
import time

import avro_contract as contract
import topics

SERVERS = 10
GARBAGE = b"not a frame"


def series(metric, kind="gauge", unit="", **labels):
    # in the order of their names, as the id of a layout wants them
    return {"metric": metric, "labels": dict(sorted(labels.items())), "kind": kind, "unit": unit}


FIRST_LAYOUT = [
    series("cpu.load"),
    series("mem.used", unit="bytes"),
    series("disk.used", unit="bytes", disk="sda"),
    series("disk.used", unit="bytes", disk="sdb", fs="K\u00fcche \u2603"),
    series("net.received_total", "counter", "bytes", interface="eth0"),
    series("requests_total", "counter"),
]
LATER = [series("temperature", zone="a"), series("temperature", zone="b"), series("errors_total", "counter", code="500")]


class Sender:
    """One server: its clock, its layout, its counters."""

    def __init__(self, name, rng):
        self.name, self.rng = name, rng
        # most are right; some are ahead, some behind, all by less than what is allowed
        self.skew = rng.choice([0, 0, 0, 0, 0, 0, -2_500, -700, 1_200, 5_000])
        # a foreign producer numbers nothing: its repeats are counted
        self.sequence = rng.randrange(1, 1 << 40) if rng.random() < 0.8 else None
        # most hold the layout in every frame; some name it by its id, once it is announced
        self.names, self.announced, self.to_announce = rng.random() < 0.4, [], []
        self.layout = list(FIRST_LAYOUT)
        self.changes = rng.randrange(15, 60)
        self.counters = {}

    def collect(self, now_ms, ahead=0):
        rng = self.rng
        self.changes -= 1
        if self.changes == 0:
            self.layout = rng.sample(self.layout + LATER, rng.randrange(3, len(self.layout) + len(LATER)))
            self.layout = [one for i, one in enumerate(self.layout) if one not in self.layout[:i]]
            self.changes = rng.randrange(15, 60)
        if self.sequence is not None:
            self.sequence += 1
        layout_id = contract.layout_id(self.layout) if self.names else 0
        if layout_id and layout_id not in self.announced:
            self.announced.append(layout_id)
            self.to_announce.append((layout_id, self.layout))
        frame = {
            "server": self.name,
            "sequence": self.sequence or 0,
            "collected_at": now_ms + self.skew + ahead,
            "layout_id": layout_id,
            "layout": [] if layout_id else self.layout,
            "values": [self.value(one) for one in self.layout],
        }
        return contract.encode("metric_frame", frame)

    def value(self, one):
        rng = self.rng
        if rng.random() < 0.05:
            return float("nan")
        if one["kind"] == "gauge":
            return float(rng.randrange(-(1 << 20), 1 << 20))
        key = (one["metric"], *one["labels"].values())
        self.counters[key] = 0 if rng.random() < 0.02 else self.counters.get(key, 0) + rng.randrange(1 << 12)
        return float(self.counters[key])


def delays(rng, lateness):
    """When one frame is sent, in seconds after it was collected; mostly once and at once."""
    first, chance = 0.0, rng.random()
    if chance < 0.10:
        first = rng.uniform(0.1, 0.9)
    elif chance < 0.115:
        # about the floor: some of these are merged, some are late
        first = lateness + rng.uniform(-2.0, 2.0)
    yield first
    chance = rng.random()
    if chance < 0.05:
        yield first + rng.uniform(0.02, 1.5)
    elif chance < 0.06:
        yield first + lateness + rng.uniform(-2.0, 2.0)


def traffic(seed, begin_ms, lateness):
    """Record after record, in the order in which they are due."""
    rng = random.Random(f"traffic {seed}")
    senders = [Sender(f"move-{i}", random.Random(f"{seed} {i}")) for i in range(SERVERS)]
    queue, number = [], 0

    def push(due, sender, value):
        nonlocal number
        number += 1
        heapq.heappush(queue, (due, number, sender, value))

    for sender in senders:
        push(rng.uniform(0.0, 0.2), sender, None)
    silence_from = rng.uniform(3.0, 12.0) if rng.random() < 0.3 else None
    while True:
        due, _, sender, value = heapq.heappop(queue)
        if value is not None:
            yield due, sender.name.encode(), value
            continue
        if silence_from is not None and due >= silence_from:
            # all of them: only ticks move the clocks now
            due, silence_from = due + 3.0, silence_from if due < silence_from + 0.5 else None
        now = begin_ms + int(due * 1_000)
        frame = sender.collect(now)
        for layout_id, layout in sender.to_announce:
            yield due, None, (layout_id, layout)
        sender.to_announce.clear()
        for delay in delays(rng, lateness):
            push(due + delay, sender, frame)
        if rng.random() < 0.003:
            push(due, sender, sender.collect(now, ahead=3_600_000))
        if rng.random() < 0.003:
            push(due, sender, GARBAGE)
        # some fall silent for longer than the idle timeout
        pause = rng.uniform(1.6, 3.5) if rng.random() < 0.01 else rng.uniform(0.1, 0.2)
        push(due + pause, sender, None)


class Feeder:
    """Sends a seed's traffic until told to stop; what was handed over is in the log then."""

    def __init__(self, cluster, topic, layouts, seed, lateness):
        self.client = topics.producer(cluster, **cluster.client(), **{"linger.ms": 5})
        self.topic, self.layouts, self.sent, self.failed = topic, layouts, 0, []
        self.wish = threading.Event()
        begin = time.time()
        self.records = traffic(seed, int(begin * 1_000), lateness)
        self.begin = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        for due, key, value in self.records:
            while not self.wish.is_set() and (left := self.begin + due - time.monotonic()) > 0:
                self.client.poll(0)
                self.wish.wait(min(left, 0.1))
            if self.wish.is_set():
                return
            if key is None:
                self._announce(*value)
                continue
            self.client.produce(self.topic, key=key, value=value, on_delivery=self._delivered)
            self.sent += 1

    def _announce(self, layout_id, layout):
        """Acknowledged before any frame names it."""
        value = contract.encode("layout", {"layout_id": layout_id, "layout": layout})
        self.client.produce(self.layouts, key=str(layout_id).encode(), value=value, on_delivery=self._delivered)
        self.client.flush(60)

    def _delivered(self, error, _):
        if error is not None:
            self.failed.append(str(error))

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    def stop(self, within=60):
        self.wish.set()
        self.thread.join()
        left = self.client.flush(within)
        assert left == 0 and not self.failed, f"{left} records not acknowledged, failed: {self.failed[:3]}"
        return self.sent
