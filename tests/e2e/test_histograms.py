"""On real Kafka: histograms of several scales in frames of both framings and in JSON, late, repeated and over a kill -9, come out of
every tier and of a rollup as what a count of every bucket says. A bad one is a dead letter, and the rest of its frame counts."""

import json
import time
from collections import Counter, defaultdict

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

import avro_contract as contract
import moving
from stack import wait_until

TIERS = {"metrics.10s": 10_000, "metrics.1m": 60_000, "metrics.2m": 120_000}
SPACING = 2_500
FRAMES = 120_000 // SPACING
MOST_BUCKETS = 160
REASON = "__connect.errors.exception.class.name"
UNKNOWN = float("nan")


def series(name):
    return {"metric": name, "labels": {"route": "/v1"}, "kind": "gauge", "unit": "seconds"}


def histogram(name, scale, positive, negative=(0, []), zero=0, **more):
    counts = [*positive[1], *negative[1]]
    whole = {
        "series": series(name), "count": zero + sum(counts), "sum": float(sum(counts)), "min": UNKNOWN, "max": 4.0, "scale": scale,
        "zero_threshold": 0.0, "zero_count": zero, "positive": {"offset": positive[0], "counts": positive[1]},
        "negative": {"offset": negative[0], "counts": negative[1]},
    }
    return whole | more


def observed(i):
    """What the i-th frame brings: a steady one, one whose scales and buckets change, and a wide one now and then."""
    steady = histogram("steady", 3, (-20 + i % 7, [1, 0, i % 3, 2]))
    changing = histogram("changing", (5, 0, -2)[i % 3], (-9 * (i % 4) - 1, [2, 1]), (i % 5 - 2, [1]), zero=1, zero_threshold=i / 1e3)
    wide = [histogram("wide", 4, ((-700, 300)[i % 2], [1] * 200), sum=UNKNOWN)] if i % 6 == 0 else []
    return [steady, changing, *wide]


def frame(i, begin):
    values = i % 2 == 0
    return {
        "server": "one", "sequence": i + 1, "collected_at": begin + i % FRAMES * SPACING + i // FRAMES, "layout_id": 0,
        "layout": [series("load")] if values else [], "values": [1.0] if values else [], "histograms": observed(i),
    }


def on_the_wire(frame, how):
    if how == "json":
        # what is unknown or has its default may be left out
        text = json.loads(json.dumps(frame).replace("NaN", "null"))
        for one in text["histograms"]:
            for name in [name for name, value in one.items() if value is None or value == {"offset": 0, "counts": []}]:
                del one[name]
        return json.dumps(text).encode()
    avro = contract.encode("metric_frame", frame)
    return avro if how == "avro" else b"\x00\x00\x00\x00\x07" + avro[10:]


class Run(moving.Run):
    """One server that sends `load` now and then, and histograms with each frame."""

    def __init__(self, cluster):
        settings = {
            "TIDEWATCH_WINDOW_TIERS": "10s,1m", "TIDEWATCH_WINDOW_ROLLUPS": "2m", "TIDEWATCH_WINDOW_LATENESS": "8m",
            "TIDEWATCH_WINDOW_IDLE": "1s",
        }
        super().__init__(cluster, 0, prefix="histograms.", settings=settings, partitions=1)
        self.client = Producer(cluster.client() | {"enable.idempotence": True})
        # a whole window of the rollup, over by now
        self.begin = (int(time.time() * 1000) - 130_000) // 120_000 * 120_000
        self.counted = []

    def send(self, frames):
        for i, frame in enumerate(frames):
            how = ("avro", "json", "confluent")[i % 3]
            self.client.produce(self.raw, key=b"one", value=on_the_wire(frame, how), partition=0)
        assert self.client.flush(30) == 0
        wait_until(lambda: self.committed() == self.ends(self.raw, [0]), 30, "all frames committed", every=0.2)

    def windows(self):
        tiers = self.read(TIERS, "read_committed")
        read = zip(TIERS.values(), tiers, strict=True)
        return {ms: [contract.decode("aggregate_frame", record.value) for record in tier if record.value] for ms, tier in read}


@pytest.fixture(scope="module")
def found():
    with moving.Cluster() as cluster:
        run = Run(cluster)
        run.create_topics()
        run.administer(lambda admin: admin.create_topics([NewTopic(run.topic(name), 1, 1) for name in TIERS]), None)
        try:
            process = run.start("a")
            whole = [frame(i, run.begin) for i in range(FRAMES)]
            bad = histogram("bad", 3, (0, [1]), count=2)
            first, second = whole[:29], whole[29:]
            run.send(first)
            # who comes next has to know what lies in the open windows
            run.end(process, gently=False)
            run.start("a")
            run.send([first[-1] | {"sequence": 900, "collected_at": first[-1]["collected_at"] + 1, "histograms": [*observed(1), bad]}])
            run.send(second)
            wait_until(lambda: run.windows()[120_000], 60, "the rollup is closed", every=0.3)
            # of windows that are closed, and frames that were counted
            late = [frame(FRAMES + i, run.begin) for i in range(0, FRAMES, 5)]
            run.send([*late, first[3], late[0]])
            counted = [*whole, *late, {"collected_at": first[-1]["collected_at"], "histograms": observed(1)}]
            total = sum(h["count"] for sent in counted for h in sent["histograms"])

            def windows():
                read = run.windows()
                return read if all(counts(read[ms]) >= total for ms in TIERS.values()) else None

            read = wait_until(windows, 90, "every observation in every tier", every=1)
            [letters] = run.read([moving.LETTERS], "read_committed")
            yield read, counted, letters
        finally:
            for process in run.processes:
                process.kill()


def counts(windows):
    return sum(h["count"] for window in windows for h in window["histograms"])


def merged(histograms):
    """Bucket by bucket, at the finest scale in which neither sign spans more than 160."""
    scale = min(h["scale"] for h in histograms)
    while True:
        signs = {"positive": Counter(), "negative": Counter()}
        for h in histograms:
            for sign, buckets in signs.items():
                for i, count in enumerate(h[sign]["counts"], h[sign]["offset"]):
                    if count:
                        buckets[i // 2 ** (h["scale"] - scale)] += count
        if all(not buckets or max(buckets) - min(buckets) < MOST_BUCKETS for buckets in signs.values()):
            break
        scale -= 1
    sums = [h["sum"] for h in histograms]
    return signs | {
        "scale": scale, "count": sum(h["count"] for h in histograms), "zero_count": sum(h["zero_count"] for h in histograms),
        "zero_threshold": max(h["zero_threshold"] for h in histograms), "max": max(h["max"] for h in histograms),
        "sum": None if any(s != s for s in sums) else sum(sums), "min": {h["min"] for h in histograms if h["min"] == h["min"]},
    }


def by_window(ms, records):
    """(start, series) -> all that was observed of it."""
    parts = defaultdict(list)
    for at, histograms in records:
        for one in histograms:
            parts[at // ms * ms, one["series"]["metric"]].append(one)
    return {key: merged(all_of_it) for key, all_of_it in parts.items()}


def as_ms(time):
    return time if isinstance(time, int) else round(time.timestamp() * 1000)


@pytest.mark.parametrize("ms", TIERS.values(), ids=TIERS.keys())
def test_every_tier_holds_what_was_observed(found, ms):
    read, counted, _ = found
    expected = by_window(ms, [(sent["collected_at"], sent["histograms"]) for sent in counted])
    seen = by_window(ms, [(as_ms(window["window_start"]), window["histograms"]) for window in read[ms]])
    assert seen == expected
    assert {name for _, name in seen} == {"steady", "changing", "wide"}
    assert all(window["window_ms"] == ms for window in read[ms])


@pytest.mark.parametrize("ms", TIERS.values(), ids=TIERS.keys())
def test_a_record_is_bounded_and_complete(found, ms):
    read, counted, _ = found
    kinds = Counter(window["kind"] for window in read[ms])
    assert kinds["final"] and kinds["delta"], kinds
    for window in read[ms]:
        names = [one["series"]["metric"] for one in window["histograms"]]
        assert len(names) == len(set(names))
        for one in window["histograms"]:
            assert one["series"] == series(one["series"]["metric"])
            sides = [one[sign]["counts"] for sign in ("positive", "negative")]
            assert all(len(side) <= MOST_BUCKETS for side in sides)
            assert one["count"] == one["zero_count"] + sum(map(sum, sides))


def test_what_is_bad_or_repeated_is_a_dead_letter(found):
    _, _, letters = found
    reasons = Counter(dict(letter.headers)[REASON].decode() for letter in letters)
    assert reasons == {"bad_histogram": 1, "duplicate": 2}
