"""From raw frames to HTTP answers: histograms of two servers at changing scales, late parts among them, and the counters of a classic
one. Every quantile equals an independent computation of it, and is as near to the exact one as the answer says."""

import csv
import datetime
import json
import math
import random
import time
from collections import defaultdict

import pytest

import avro_contract as contract
import topics
from stack import wait_until
from test_histograms import histogram, merged, series

SERVERS = ("observed-1", "observed-2")
METRIC, CLASSIC = "answers.observed", "answers.classic_bucket"
SPACING, FRAMES, TEN, MINUTE = 2_500, 24, 10_000, 60_000
BOUNDS = {"0.01": 0.01, "0.05": 0.05, "0.25": 0.25, "1": 1.0, "+Inf": math.inf}
SHARES = (0, 0.25, 0.5, 0.9, 0.99, 1)


def of_values(values, scale):
    """What a producer sends of them: bucket i holds (base^i, base^(i+1)]."""
    positive, negative, zero = defaultdict(int), defaultdict(int), 0
    for value in values:
        if value == 0:
            zero += 1
        else:
            (positive if value > 0 else negative)[math.ceil(math.log2(abs(value)) * 2**scale) - 1] += 1

    def run(counts):
        return (min(counts), [counts[i] for i in range(min(counts), max(counts) + 1)]) if counts else (0, [])

    return histogram(METRIC, scale, run(positive), run(negative), zero, sum=math.fsum(values), min=min(values), max=max(values))


class Sent:
    """All that was sent, and when."""

    def __init__(self, pipeline):
        self.rng = random.Random(11)
        self.pipeline, self.client = pipeline, topics.producer(pipeline)
        self.begin = (int(time.time() * 1000) - 70_000) // TEN * TEN
        if self.begin % MINUTE == 0:
            # the frames of a minute are to fall into two
            self.begin -= TEN
        # (server, time, values, scale)
        self.observed = []
        self.grown = {bound: 0 for bound in BOUNDS}
        self.counters = []

    def frame(self, server, at, values=(), scale=3, more=()):
        layout = [series("answers.load"), *(one for one, _ in more)]
        frame = {
            "server": server, "sequence": 0, "collected_at": at, "layout_id": 0, "layout": layout,
            "values": [1.0, *(value for _, value in more)], "histograms": [of_values(values, scale)] if values else [],
        }
        topics.send(self.client, topics.RAW, server.encode(), contract.encode("metric_frame", frame))
        if values:
            self.observed.append((server, at, list(values), scale))

    def values(self, server):
        count = self.rng.randint(0, 12) * (1 + SERVERS.index(server))
        drawn = [self.rng.lognormvariate(-3 + SERVERS.index(server), 1.5) for _ in range(count)]
        return [*drawn, *([0.0, -0.3] if self.rng.random() < 0.2 else [])]

    def classic(self, values, at):
        for bound, limit in BOUNDS.items():
            self.grown[bound] += sum(value <= limit for value in values)
        self.counters.append((at, dict(self.grown)))
        return [(series(CLASSIC) | {"labels": {"le": bound}, "kind": "counter", "unit": ""}, count) for bound, count in self.grown.items()]

    def all(self):
        for i in range(FRAMES):
            for server in SERVERS:
                values, at = self.values(server), self.begin + i * SPACING
                more = self.classic([abs(value) for value in values], at) if server == SERVERS[0] else []
                self.frame(server, at, values, self.rng.choice((3, 4, 6)), more)
        # what comes after closes the windows
        self.now()

    def now(self):
        for server in SERVERS:
            self.frame(server, int(time.time() * 1000))
        topics.flush(self.client)

    def late(self):
        for i in (1, 9, 14):
            self.frame(SERVERS[i % 2], self.begin + i * SPACING + 7, [0.4, 0.002 * i], 2)
        topics.flush(self.client)

    def total(self):
        return sum(len(values) for _, _, values, _ in self.observed)

    def query(self, **parameters):
        first = self.begin // MINUTE * MINUTE
        return self.pipeline.get("/api/v1/query", **{"from": first, "to": first + 3 * MINUTE}, **parameters).json()

    def counted(self, step):
        lines = self.query(metric=METRIC, agg="count", group="merge", step=step)["series"]
        return sum(value or 0 for line in lines for value in line["values"])


@pytest.fixture(scope="module")
def sent(shared):
    sent = Sent(shared)
    sent.all()
    total = sent.total()

    def counts(step):
        return lambda: sent.counted(step) == total

    wait_until(lambda: shared.get("/api/v1/servers", q="observed-").json(), 45, "the servers are known", every=0.5)
    wait_until(lambda: known(shared) and sent.counted(TEN) == total, 45, "all observations in windows of 10 s", every=0.5)
    sent.late()
    total = sent.total()
    for step in (TEN, MINUTE):
        wait_until(counts(step), 60, f"all observations in steps of {step} ms", every=0.5)
    return sent


def known(pipeline):
    return pipeline.call("GET", "/api/v1/query", "viewer", params={"metric": METRIC}).status_code == 200


def quantile(observed, q):
    """Of merged buckets: the middle, by ratio, of the one that holds it; and how far off that may be."""
    whole = merged([of_values(values, scale) for values, scale in observed])
    smallest = min(min(values) for values, _ in observed)
    base = 2 ** (2 ** -whole["scale"])
    error = (base - 1) / (base + 1)
    if q == 0:
        return smallest, error

    def middle(i):
        low, high = base**i, base ** (i + 1)
        return 2 * low * high / (low + high)

    buckets = [(-middle(i), count) for i, count in sorted(whole["negative"].items(), reverse=True)]
    buckets += [(0.0, whole["zero_count"])]
    buckets += [(middle(i), count) for i, count in sorted(whole["positive"].items())]
    rank, seen = q * whole["count"], 0
    for value, count in buckets:
        seen += count
        if count and seen >= rank:
            break
    largest = max(max(values) for values, _ in observed)
    return (largest if q == 1 else min(max(value, smallest), largest)), error


def exact(observed, q):
    values = sorted(value for values, _ in observed for value in values)
    return next(value for n, value in enumerate(values, 1) if n >= q * len(values))


def near(a, b, error=1e-9):
    return abs(a - b) <= error * max(abs(a), abs(b))


@pytest.mark.parametrize("step", [TEN, MINUTE])
@pytest.mark.parametrize("merge", [False, True])
def test_a_quantile_is_that_of_all_that_was_observed(sent, step, merge):
    compared = 0
    for q in SHARES:
        answer = sent.query(metric=METRIC, agg="quantile", q=q, step=step, **({"group": "merge"} if merge else {}))
        assert (answer["step"], answer["agg"], answer["q"]) == (step, "quantile", q)
        assert len(answer["series"]) == (1 if merge else 2)
        for line in answer["series"]:
            servers = SERVERS if merge else (line["server"]["name"],)
            steps = defaultdict(list)
            for server, at, values, scale in sent.observed:
                if server in servers:
                    steps[(at - answer["t0"]) // step].append((values, scale))
            assert {i for i, value in enumerate(line["values"]) if value is not None} == set(steps)
            for i, observed in steps.items():
                found, (wanted, error) = line["values"][i], quantile(observed, q)
                assert near(found, wanted), (q, i, found, wanted)
                assert error <= line["relative_error"] * (1 + 1e-9)
                assert abs(found - exact(observed, q)) <= (line["relative_error"] + 1e-9) * abs(exact(observed, q))
                compared += 1
    assert compared >= 12


def test_the_chart_of_one_server_tells_mean_and_extremes(sent):
    [line] = sent.query(server=SERVERS[1], metric=METRIC, step=TEN)["series"]
    assert (line["kind"], line["unit"], line["labels"]) == ("histogram", "seconds", {"route": "/v1"})
    steps = defaultdict(list)
    for server, at, values, _ in sent.observed:
        if server == SERVERS[1]:
            steps[(at - line["t0"]) // TEN].extend(values)
    for i, values in steps.items():
        assert near(line["avg"][i], math.fsum(values) / len(values))
        assert (line["min"][i], line["max"][i]) == (min(values), max(values))
    assert sum(value is not None for value in line["avg"]) == len(steps) >= 5


def test_an_export_holds_every_histogram(sent, tmp_path):
    """As CSV: quantiles and buckets of each window. The same as Parquet is told by its head and foot."""
    always = ("--histograms", "--tier", "10s", "--metric", METRIC, "--from", "2000-01-01", "--to", "2100-01-01")
    for name in ("all.csv", "all.parquet"):
        sent.pipeline.tool("export", *always, "--output", tmp_path / name)
    parquet = (tmp_path / "all.parquet").read_bytes()
    assert parquet[:4] == parquet[-4:] == b"PAR1"
    windows = defaultdict(list)
    for server, at, values, scale in sent.observed:
        windows[server, at // TEN * TEN].append((values, scale))
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["server"], round(datetime.datetime.fromisoformat(row["time"]).timestamp() * 1000)): row for row in rows}
    assert found.keys() == windows.keys() and len(found) == len(rows)
    for key, observed in windows.items():
        row, values = found[key], [value for values, _ in observed for value in values]
        assert (row["kind"], row["unit"], json.loads(row["labels"])) == ("histogram", "seconds", {"route": "/v1"})
        counts = [int(row["zero_count"]), *json.loads(row["positive"]), *json.loads(row["negative"])]
        assert int(row["count"]) == sum(counts) == len(values)
        assert near(float(row["sum"]), math.fsum(values))
        assert (float(row["min"]), float(row["max"])) == (min(values), max(values))
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            wanted, error = quantile(observed, q)
            assert near(float(row[name]), wanted) and near(float(row["relative_error"]), error), (key, name, row)


def test_one_of_many_may_be_asked_for_by_name(sent):
    [alone] = sent.query(server=SERVERS[0], metric=METRIC, agg="quantile", q=0.9, step=TEN)["series"]
    lines = sent.query(metric=METRIC, agg="quantile", q=0.9, step=TEN)["series"]
    assert alone in lines and len(lines) == 2


def test_a_quantile_of_classic_buckets_is_prometheus_own(sent):
    compared = 0
    for q in SHARES:
        answer = sent.query(metric=CLASSIC, agg="quantile", q=q, step=TEN)
        [line] = answer["series"]
        before = None
        ends = {}
        for at, counts in sent.counters:
            ends[(at - answer["t0"]) // TEN] = counts
        for i, counts in sorted(ends.items()):
            grown = {bound: counts[bound] - (before or sent.counters[0][1])[bound] for bound in BOUNDS}
            before = counts
            wanted = prometheus([(limit, grown[bound]) for bound, limit in BOUNDS.items()], q)
            found = line["values"][i]
            assert (found is None) == (wanted is None), (q, i, found, wanted)
            if wanted is not None:
                assert near(found, wanted), (q, i, found, wanted)
                compared += 1
    assert compared >= 12


def prometheus(buckets, q):
    """`histogram_quantile`: linear inside the bucket, the highest bound when it is +Inf's."""
    total = buckets[-1][1]
    if not total:
        return None
    rank = q * total
    for i, (bound, count) in enumerate(buckets[:-1]):
        if count >= rank and count:
            low, below = buckets[i - 1] if i else (0.0, 0)
            return low + (bound - low) * max(rank - below, 0) / (count - below)
    return buckets[-2][0]


def test_a_bad_question_names_its_parameter(sent):
    for parameters, wrong in [
        ({"metric": METRIC, "agg": "quantile"}, "q"),
        ({"metric": METRIC, "agg": "quantile", "q": 1.01}, "q"),
        ({"metric": "answers.load", "agg": "quantile", "q": 0.5}, "agg"),
        ({"metric": METRIC, "group": "avg"}, "group"),
    ]:
        answer = sent.pipeline.call("GET", "/api/v1/query", "viewer", params=parameters)
        assert (answer.status_code, answer.json()["parameter"]) == (400, wrong), (parameters, answer.text)
