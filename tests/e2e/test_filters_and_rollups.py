"""On real Kafka: a filter that changes while records flow and over a kill -9, a bad one that is refused, and the windows that are
rolled up from windows. Every frame is counted once in every tier, and the filtered series just where its filter let it through."""

import time
from collections import Counter

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

import avro_contract as contract
import moving
from stack import wait_until

TIERS = {"metrics.1s": 1_000, "metrics.4s": 4_000, "metrics.20s": 20_000}
FILTERS = "stream-processor.filters"
SPACING, FRAMES = 500, 100
NOISE_OUT = "rules:\n  - drop: {metric: noise}\n"
HUM_OUT = "rules:\n  - drop: {metric: hum}\n  - scale: {metric: load, factor: 10}\n"
BAD = "rules:\n  - drop: {metric: noise}\n  - dorp: {metric: hum}\n"


class Fleet:
    """One server that sends `load`, `hum` and `noise`, all 1."""

    def __init__(self, run, begin):
        self.run, self.begin, self.sent = run, begin, 0
        self.client = Producer(run.cluster.client() | {"enable.idempotence": True})

    def send(self, count):
        for _ in range(count):
            frame = {
                "server": "one", "sequence": self.sent + 1, "collected_at": self.begin + self.sent * SPACING, "layout_id": 0,
                "layout": [{"metric": name, "labels": {}, "kind": "gauge", "unit": ""} for name in ("load", "hum", "noise")],
                "values": [1.0, 1.0, 1.0],
            }
            self.client.produce(self.run.raw, key=b"one", value=contract.encode("metric_frame", frame), partition=0)
            self.sent += 1
        assert self.client.flush(30) == 0

    def await_read(self):
        wait_until(lambda: self.run.committed() == self.run.ends(self.run.raw, [0]), 30, "all frames committed", every=0.2)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("filters") / "filters.yaml"
    file.write_text(NOISE_OUT)
    settings = {
        "TIDEWATCH_WINDOW_FILTERS": str(file), "TIDEWATCH_WINDOW_ROLLUPS": "20s", "TIDEWATCH_WINDOW_LATENESS": "3m",
        "TIDEWATCH_WINDOW_IDLE": "1s",
    }
    with moving.Cluster() as cluster:
        run = moving.Run(cluster, 0, prefix="filters.", settings=settings, partitions=1)
        run.create_topics()
        more = [NewTopic(run.topic("metrics.20s"), 1, 1), NewTopic(run.topic(FILTERS), 1, 1, config={"cleanup.policy": "compact"})]
        run.administer(lambda admin: admin.create_topics(more), None)
        process = run.start("a")
        try:
            begin = (int(time.time() * 1000) - 80_000) // 20_000 * 20_000
            fleet = Fleet(run, begin)
            # not at the end of a window: what is open when the filter changes goes out in part
            fleet.send(31)
            fleet.await_read()
            file.write_text(HUM_OUT)
            process.wait_log("filter changed")
            fleet.send(20)
            fleet.await_read()
            file.write_text(BAD)
            refused = process.wait_log("keep the filter as it was")
            fleet.send(20)
            fleet.await_read()
            # who comes next replays what was read under a filter that is in no file any more
            run.end(process, gently=False)
            file.write_text(NOISE_OUT)
            process = run.start("a")
            fleet.send(FRAMES - fleet.sent)
            fleet.await_read()

            def windows():
                tiers = run.read(TIERS, "read_committed")
                read = {ms: [contract.decode("aggregate_frame", record.value) for record in tier if record.value]
                        for ms, tier in zip(TIERS.values(), tiers, strict=True)}
                # the last rollup waits for ticks of a silent partition
                done = all(counts(read[ms])["load"] >= FRAMES for ms in TIERS.values())
                return read if done else None

            read = wait_until(windows, 90, "every frame in every tier", every=1)
            [letters] = run.read([moving.LETTERS], "read_committed")
            yield read, refused, letters, begin
        finally:
            for process in run.processes:
                process.kill()


def counts(windows):
    found = Counter()
    for window in windows:
        for series, count in zip(window["layout"], window["count"], strict=True):
            found[series["metric"]] += count
    return found


def test_each_filter_rules_just_what_was_read_under_it(found):
    read, _, letters, _ = found
    assert not letters
    for ms, windows in read.items():
        # 31 frames without noise, 40 without hum, the rest without noise again
        assert counts(windows) == {"load": FRAMES, "hum": FRAMES - 40, "noise": 40}, ms
        total = sum(s for w in windows for series, s in zip(w["layout"], w["sum"], strict=True) if series["metric"] == "load")
        assert total == 60 + 40 * 10, ms


def test_a_bad_filter_is_refused_with_its_line(found):
    _, refused, _, _ = found
    assert "line 3" in str(refused) and "dorp" in str(refused), refused


def test_rolled_up_windows_lie_on_their_grid_and_hold_what_the_shorter_ones_do(found):
    read, _, _, begin = found
    for ms, windows in read.items():
        by_start = Counter()
        for window in windows:
            assert window["window_ms"] == ms and as_ms(window["window_start"]) % ms == 0
            for series, count in zip(window["layout"], window["count"], strict=True):
                if series["metric"] == "load":
                    by_start[as_ms(window["window_start"])] += count
        assert by_start == Counter((begin + i * SPACING) // ms * ms for i in range(FRAMES)), ms


def as_ms(time):
    return time if isinstance(time, int) else round(time.timestamp() * 1000)
