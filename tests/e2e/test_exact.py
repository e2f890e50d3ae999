"""1,000,000 samples of 200 servers, half by HTTP and half by a foreign Kafka client; 10 % of the frames out of order, 5 % sent
twice, and the stream processor, the sink and the analyzer killed in the middle. Then every window is there, once, and right.
"""

import csv
import datetime
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import avro_contract as contract
import fleet
import topics
from pipeline import Pipeline, figure
from reckoning import TICK
from stack import wait_until

SERVERS = [f"exact-{i:03}" for i in range(200)]
# these send every other frame on the other way and some seconds later: their windows have closed by then, which makes deltas
BOTH = set(SERVERS[90:110])
HELD_BACK = 10
FRAMES, SPACING = 100, 500
REACH = 1_900
LABELS = {"way": "any", "ort": "K\u00fcche \u2603"}
ROUND_SECONDS = 0.16


@pytest.fixture(scope="module")
def pipeline():
    pipeline = Pipeline("exact")
    yield pipeline
    pipeline.close()


def way(server, index):
    if server in BOTH:
        return "http" if index % 2 else "kafka"
    return "http" if server < SERVERS[100] else "kafka"


class Post:
    """Arrays of objects, one request after the other, so that the order within a server stays."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.worker = ThreadPoolExecutor(1)
        self.pending = []
        self.waiting = []
        self.samples = 0

    def add(self, frame):
        self.waiting.append(frame)
        if len(self.waiting) >= 200:
            self.flush()

    def flush(self):
        frames, self.waiting = self.waiting, []
        if frames:
            self.pending.append(self.worker.submit(self._post, frames))

    def _post(self, frames):
        body = [fleet.as_json(frame, LABELS) for frame in frames]
        answer = self.pipeline.ingest(body)
        while answer.status_code == 429:
            time.sleep(float(answer.headers["Retry-After"]))
            answer = self.pipeline.ingest(body)
        assert answer.status_code == 202, f"{answer.status_code} {answer.text[:500]}"
        samples = sum(frame.samples() for frame in frames)
        assert answer.json() == {"accepted": len(frames), "samples": samples, "rejected": 0, "errors": []}
        self.samples += samples

    def finish(self):
        self.flush()
        for future in self.pending:
            future.result()
        self.worker.shutdown()


@pytest.fixture(scope="module")
def run(pipeline):
    """Sends everything, kills in between, and waits until nothing is open any more."""
    rng = random.Random(20_261_123)
    # a little ahead of the clock at the end: everything stays clear of the lateness of 2 min
    begin = int(time.time() * 1000) - 45_000
    servers = fleet.make(SERVERS, FRAMES, SPACING, begin, seed=7)
    orders, repeats = {}, []
    for name, series in servers.items():
        orders[name], again = fleet.delivery_order(series, 0.10, 0.05, REACH, rng)
        repeats += again
    client = topics.producer(pipeline)
    post = Post(pipeline)
    rounds = max(map(len, orders.values()))
    kills = {rounds // 4: "stream-processor", rounds // 2: "sink", rounds * 3 // 4: "analyzer"}
    began = time.monotonic()
    direct, held = 0, []
    with pipeline.expecting(*KILLED):
        for index in range(rounds):
            for name, order in orders.items():
                if index >= len(order):
                    continue
                frame = order[index]
                if way(name, index) == "http":
                    if name in BOTH:
                        held.append((index + HELD_BACK, frame))
                    else:
                        post.add(frame)
                    continue
                value = contract.encode("metric_frame", fleet.as_record(frame, LABELS))
                topics.send(client, topics.RAW, name.encode(), value)
                direct += frame.samples()
            while held and (held[0][0] <= index or index == rounds - 1):
                post.add(held.pop(0)[1])
            if index in kills:
                pipeline[kills[index]].restart_killed()
            # the pace of a fleet rather than one burst, so that each kill meets work in progress
            time.sleep(max(0.0, began + (index + 1) * ROUND_SECONDS - time.monotonic()))
        post.finish()
        topics.flush(client)
        produced = time.monotonic() - began
        total = sum(frame.samples() for series in servers.values() for frame in series)
        sent = direct + post.samples
        figure(
            f"exact: {sent:,} samples sent in {produced:.1f} s ({post.samples:,} by HTTP, {direct:,} by Kafka),"
            f" {len(repeats):,} of {len(SERVERS) * FRAMES:,} frames twice; killed: {', '.join(kills.values())}"
        )
        for name in kills.values():
            pipeline[name].await_ready()

        def counted():
            query = "SELECT coalesce(sum(count), 0)::bigint FROM {}"
            return [pipeline.sql(query.format(table))[0][0] for table in ("samples_10s", "samples_1m")]

        wait_until(lambda: min(counted()) >= total, 120, f"{total} samples in both tiers; {counted}", every=0.5)
        figure(
            f"exact: all {total:,} samples in PostgreSQL, in both tiers, {time.monotonic() - began:.1f} s after the first"
            f" was sent ({sent / (time.monotonic() - began):,.0f} samples/s, idle timeout of 15 s included)"
        )
    return {"fleet": servers, "repeats": repeats, "total": total, "expected": fleet.expected_windows(servers)}


# a client that finds its coordinator busy with a predecessor's end says so and goes on
KILLED = (r"session ended, restore from the last commit",)


def test_a_million_samples_were_sent(run):
    assert run["total"] >= 1_000_000
    assert len(run["repeats"]) == len(SERVERS) * FRAMES * 5 // 100


def test_every_window_in_postgresql_is_right(pipeline, run):
    found = {}
    for table, tier in (("samples_10s", 10_000), ("samples_1m", 60_000)):
        rows = pipeline.sql(
            "SELECT v.name, e.metric_name, e.labels, (extract(epoch FROM s.ts) * 1000)::bigint,"
            " s.count, s.sum, s.min, s.max, s.first, s.last"
            f" FROM {table} s JOIN series e ON e.id = s.series_id JOIN servers v ON v.id = e.server_id"
        )
        for server, metric, labels, start, *cell in rows:
            assert labels == LABELS, (server, metric, labels)
            key = (server, metric, tier, start)
            assert key not in found, f"two series for {key}"
            found[key] = cell
    wrong = fleet.differences(run["expected"], found)
    assert not wrong, f"{len(wrong)} of {len(run['expected'])} windows:\n" + "\n".join(wrong[:20])
    counted = sum(cell[0] for (_, _, tier, _), cell in found.items() if tier == 10_000)
    figure(f"exact: {len(found):,} rows equal the independent computation bit for bit; {run['total'] - counted} samples lost, 0 doubled")


def test_an_export_holds_every_window(pipeline, run, tmp_path):
    """Of the minutes, as CSV: the numbers read back bit for bit. The same as Parquet is told by its head and foot."""
    found, always = {}, ("--from", "2000-01-01", "--to", "2100-01-01")
    for name in ("all.csv", "all.parquet"):
        pipeline.tool("export", "--tier", "1m", *always, "--output", tmp_path / name)
    with (tmp_path / "all.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert json.loads(row["labels"]) == LABELS
            start = int(datetime.datetime.fromisoformat(row["time"]).timestamp() * 1_000)
            cell = [int(row["count"]), *(float(row[name]) for name in ("sum", "min", "max", "first", "last"))]
            found[row["server"], row["metric"], 60_000, start] = cell
    expected = {key: cell for key, cell in run["expected"].items() if key[2] == 60_000}
    wrong = fleet.differences(expected, found)
    assert not wrong, f"{len(wrong)} of {len(expected)} windows:\n" + "\n".join(wrong[:20])
    parquet = (tmp_path / "all.parquet").read_bytes()
    assert parquet[:4] == parquet[-4:] == b"PAR1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "all.parquet"]
    with pytest.raises(AssertionError, match="there is no server named nobody"):
        pipeline.tool("export", *always, "--server", "nobody")


def test_a_wrong_window_would_be_noticed(run):
    changed = {key: list(cell) for key, cell in run["expected"].items()}
    key = next(key for key in changed if key[1] == "exact.g00")
    changed[key][1] += 1 / 1024
    gone = next(key for key in changed if key[1] == "exact.sparse")
    del changed[gone]
    assert len(fleet.differences(run["expected"], changed)) == 2


def test_a_reader_of_the_window_topics_sees_the_same(pipeline, run):
    found, order, finals, identities, deltas = {}, {}, set(), set(), 0
    for name, tier in (("metrics.10s", 10_000), ("metrics.1m", 60_000)):
        for message in topics.read(pipeline, f"tidewatch.{name}"):
            if not message.value():
                # the clock of a topic that was silent for half a minute
                assert topics.headers(message) == {TICK: "1"}
                continue
            frame = contract.decode("aggregate_frame", message.value())
            assert message.key().decode() == frame["server"]
            assert frame["window_ms"] == tier and frame["window_start"] % tier == 0
            window = (frame["server"], tier, frame["window_start"])
            identity = (*window, frame["origin"]["partition"], frame["origin"]["offset"])
            assert identity not in identities, f"twice: {identity}"
            identities.add(identity)
            if frame["kind"] == "final":
                assert window not in finals, f"two finals of {window}"
                finals.add(window)
            else:
                deltas += 1
            merge(found, order, frame)
    wrong = fleet.differences(run["expected"], found)
    assert not wrong, f"{len(wrong)} windows:\n" + "\n".join(wrong[:20])
    assert deltas > 0, "the servers that send on both ways should have made deltas"
    figure(f"exact: metrics.10s and .1m hold {len(finals):,} finals and {deltas:,} deltas, no identity twice")


def merge(found, order, frame):
    """Adds a final or a delta to what is known of its windows."""
    columns = zip(*(frame[name] for name in ("count", "sum", "min", "max", "first", "last", "first_at", "last_at")))
    for series, (count, total, low, high, first, last, first_at, last_at) in zip(frame["layout"], columns):
        key = (frame["server"], series["metric"], frame["window_ms"], frame["window_start"])
        cell = found.get(key)
        if cell is None:
            found[key], order[key] = [count, total, low, high, first, last], (first_at, last_at)
            continue
        cell[0] += count
        cell[1] += total
        cell[2] = min(cell[2], low)
        cell[3] = max(cell[3], high)
        if first_at < order[key][0]:
            cell[4] = first
        if last_at > order[key][1]:
            cell[5] = last
        order[key] = (min(first_at, order[key][0]), max(last_at, order[key][1]))


def test_the_dead_letters_are_the_repeats_and_nothing_else(pipeline, run):
    frames = {(f.server, f.sequence): f for series in run["fleet"].values() for f in series}
    letters = Counter()
    for message in topics.read(pipeline, topics.DEAD_LETTER):
        said = topics.headers(message)
        assert said["__connect.errors.exception.class.name"] == "duplicate", said
        assert said["__connect.errors.topic"] == topics.RAW and said["__connect.errors.stage"] == "stream-processor"
        frame = contract.decode("metric_frame", message.value())
        identity = (frame["server"], frame["sequence"])
        assert frame["collected_at"] == frames[identity].at
        letters[identity] += 1
    assert letters == Counter((f.server, f.sequence) for f in run["repeats"])


def test_nothing_was_late(pipeline, run):
    late = topics.read(pipeline, "tidewatch.metrics.late")
    assert not late, f"{len(late)} frames"
