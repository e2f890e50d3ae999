"""`tidewatch replay` gives PostgreSQL back what it lost: rows, partitions, packed hours, histograms, all of it, beside a sink at work; twice is once.

Windows lie on two days, the day before yesterday and yesterday, an hour around midnight. Late parts fall into any of them.
"""

import json
import random
import re
import subprocess
import time

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

import avro_contract as contract
import topics
import windows
from pipeline import PREFIX, PROGRAM, Pipeline, figure
from stack import wait_until
from windows import TOPIC, WINDOW, Flow

SERVERS, SERIES, WINDOWS = 10, 20, 400
DAY = 86_400_000
TODAY = int(time.time() * 1000) // DAY * DAY
START = TODAY - DAY - WINDOWS // 2 * WINDOW
OTHERS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}
READ = [TOPIC, *(f"{PREFIX}metrics.{tier}" for tier in OTHERS), *(PREFIX + name for name in ("metrics.expected", "anomalies", "alerts"))]
COUNTS = ("made", "merged", "unchanged", "kept", "unknown", "refused", "bad")

COLUMNS = (
    "series_id, ts, count, sum, min, max, first, last, first_at, last_at, m2, increase, resets, origin_partition, origin_offset"
)

OBSERVED = (
    "series_id, ts, count, sum, min, max, scale, zero_threshold, zero_count, positive_offset, positive, negative_offset, negative,"
    " origin_partition, origin_offset"
)


def day(ms):
    return time.strftime("%Y-%m-%d", time.gmtime(ms / 1000))


@pytest.fixture(scope="module")
def pipeline():
    pipeline = Pipeline("replay", services=("sink",), settings={"sink": ["--sink-pack-after", "1s"]})
    yield pipeline
    pipeline.close()


class Play:
    def __init__(self, pipeline):
        self.pipeline, rng = pipeline, random.Random("replay")

        def late():
            return rng.randrange(1, WINDOWS) if rng.random() < 0.05 else 0

        self.flow = Flow(pipeline, "again", SERVERS, SERIES, 0.1, START, late, observes=True)
        self.rounds(WINDOWS // 2)
        self.execute("CREATE TABLE backup AS SELECT * FROM samples_10s")
        self.rounds(WINDOWS - WINDOWS // 2)
        self.send_others()
        self.caught_up()

    def rounds(self, count):
        for _ in range(count):
            self.flow.round()
        self.flow.stop()
        self.caught_up()

    def send_others(self):
        """The longer tiers, each window in two parts, and what the analyzer says."""
        client = topics.producer(self.pipeline)
        server = windows.Server(3, "longer", 5, observes=True)
        for tier, window_ms in OTHERS.items():
            for number in range(6):
                start = (START // window_ms + number) * window_ms
                for kind in ("final", "delta"):
                    frame = server.frame(0, number, kind) | {"window_ms": window_ms, "window_start": start}
                    topics.send(client, f"{PREFIX}metrics.{tier}", b"longer", contract.encode("aggregate_frame", frame))
        band = {"server": "longer", "window_start": START, "window_ms": WINDOW, "layout": server.layout[:2], "low": [0.5, 1.0], "high": [2.0, 3.0]}
        topics.send(client, f"{PREFIX}metrics.expected", b"longer", contract.encode("expectation", band))
        odd = {
            "server": "longer", "metric": server.layout[0]["metric"], "labels": server.layout[0]["labels"], "unit": "",
            "window_start": START, "window_ms": WINDOW, "value": 9.0, "expected_low": 0.5, "expected_high": 2.0, "score": 3.0, "method": "loud",
        }
        topics.send(client, f"{PREFIX}anomalies", b"longer", contract.encode("anomaly", odd))
        for status, at in (("firing", START), ("resolved", START + 60_000)):
            alert = {
                "alert_id": "a1", "fingerprint": "f1", "incident_id": "i1", "server": "longer", "status": status, "severity": "warning",
                "rule": "r", "starts_at": START, "ends_at": at if status == "resolved" else None, "updated_at": at, "title": "t",
                "explanation": "e", "metric": None, "labels": {}, "unit": "", "value": None, "expected_low": None, "expected_high": None,
                "score": None, "related": [], "runbook_url": None,
            }
            topics.send(client, f"{PREFIX}alerts", b"longer", contract.encode("alert", alert))
        topics.flush(client)

    def caught_up(self):
        def is_caught_up():
            offsets = self.offsets()
            ends = {(topic, number): end for topic in READ for number, end in topics.ends(self.pipeline, topic).items()}
            return all(offsets.get(place, 0) >= end for place, end in ends.items())

        wait_until(is_caught_up, 90, "the sink has written everything", every=0.3)

    def offsets(self):
        return {(t, p): n for t, p, n in self.pipeline.sql("SELECT topic, partition, next_offset FROM ingest_offsets")}

    def copy(self):
        """Every row of every table that a replay writes."""
        tables = {f"windows_{tier}": f"SELECT {COLUMNS} FROM windows_{tier} ORDER BY 1, 2" for tier in ("10s", *OTHERS)}
        tables |= {f"histograms_{tier}": f"SELECT {OBSERVED} FROM histograms_{tier} ORDER BY 1, 2" for tier in ("10s", *OTHERS)}
        tables |= {name: f"SELECT * FROM {name} ORDER BY 1, 2" for name in ("expectations", "anomalies", "alerts")}
        return {name: self.pipeline.sql(query) for name, query in tables.items()}

    def execute(self, *statements):
        with psycopg.connect(self.pipeline.stack.postgres_url, autocommit=True) as connection:
            return [connection.execute(statement).rowcount for statement in statements]

    def lose(self, *statements):
        """Beside a sink, whose transactions wait meanwhile: theirs and this one could wait for each other's rows."""
        with psycopg.connect(self.pipeline.stack.postgres_url) as connection:
            connection.execute("LOCK TABLE ingest_offsets IN SHARE ROW EXCLUSIVE MODE")
            return sum(connection.execute(statement).rowcount for statement in statements)

    def replay(self, *words):
        """What the command says in sum, and by topic."""
        said = json.loads(
            self.pipeline.tool("replay", "--from", day(START), "--to", day(TODAY), "--json", *words, within=120)
        )
        by_topic = {entry["topic"].removeprefix(PREFIX): entry for entry in said["topics"]}
        return {name: sum(entry[name] or 0 for entry in by_topic.values()) for name in COUNTS}, by_topic


@pytest.fixture(scope="module")
def play(pipeline):
    return Play(pipeline)


@pytest.fixture
def whole(play):
    """A copy of everything, before a test and after it."""
    copy, offsets = play.copy(), play.offsets()
    assert len(copy["windows_10s"]) == SERVERS * SERIES * WINDOWS
    assert len(copy["histograms_10s"]) == SERVERS * WINDOWS
    yield copy
    now = play.copy()
    for table, rows in copy.items():
        assert now[table] == rows, table
    assert play.offsets() == offsets


def nothing_to_do(play, whole):
    counts, _ = play.replay()
    assert counts == dict.fromkeys(COUNTS, 0) | {"unchanged": sum(map(len, whole.values()))}


def test_a_copy_is_what_was_sent(play, whole):
    assert {name: len(rows) for name, rows in whole.items() if not name.endswith("_10s")} == {
        "windows_1m": 30, "windows_5m": 30, "windows_1h": 30, "histograms_1m": 6, "histograms_5m": 6, "histograms_1h": 6, "expectations": 2, "anomalies": 1, "alerts": 1,
    }
    nothing_to_do(play, whole)


@pytest.fixture(scope="module")
def still(pipeline, play):
    """No sink that packs."""
    pipeline["sink"].process.stop()


def test_lost_rows_a_truncated_table_and_a_dropped_partition_come_back(pipeline, play, still, whole):
    partition = f"samples_10s_{day(TODAY - DAY).replace('-', '')}"
    rows, more, _ = play.execute(
        f"DELETE FROM samples_10s WHERE series_id % 7 = 0 AND ts < to_timestamp({(TODAY - DAY) / 1000})",
        f"DELETE FROM {partition}",
        f"DROP TABLE {partition}",
    )
    play.execute("TRUNCATE samples_1m, samples_5m, samples_1h, expectations, anomalies, alerts")
    assert rows > 0 and more > 0
    dry, _ = play.replay("--dry-run")
    assert pipeline.sql("SELECT count(*) FROM samples_1m") == [(0,)], "a dry run writes nothing"
    began = time.monotonic()
    counts, by_topic = play.replay()
    figure(f"replay: {counts['made']:,} of {sum(map(len, whole.values())):,} rows made in {time.monotonic() - began:.1f} s")
    assert counts == dry
    assert by_topic["metrics.10s"]["made"] == rows + more
    assert (counts["made"], counts["merged"]) == (rows + more + 90 + 4, 0)
    assert {entry["topic_has"] for entry in by_topic.values()} == {"whole"}
    nothing_to_do(play, whole)


def test_a_tier_and_a_server_come_back_alone(pipeline, play, still, whole):
    play.execute("TRUNCATE samples_1m, samples_5m")
    assert play.replay("--tier", "1m", "--server", "again-000")[0]["made"] == 0
    counts, by_topic = play.replay("--tier", "1m,1h", "--server", "longer")
    assert (list(by_topic), counts["made"], counts["unchanged"]) == (["metrics.1m", "metrics.1h"], 30, 42)
    assert pipeline.sql("SELECT count(*) FROM samples_5m") == [(0,)]
    assert play.replay("--tier", "5m")[0]["made"] == 30


def test_an_old_backup_catches_up(play, still, whole):
    play.execute("TRUNCATE samples_10s", "INSERT INTO samples_10s SELECT * FROM backup")
    counts, _ = play.replay("--tier", "10s")
    # late parts of windows that the backup has, and windows that it has not
    assert counts["merged"] > SERIES and counts["made"] == SERVERS * SERIES * (WINDOWS - WINDOWS // 2)
    nothing_to_do(play, whole)


def test_rows_that_say_something_else_are_what_the_topic_says(play, still, whole):
    changed = play.execute(
        "UPDATE samples_10s SET count = count - 1, sum = sum - last WHERE count > 1 AND series_id % 5 = 1",
        "UPDATE samples_10s SET max = max + 1 WHERE series_id % 5 = 2",
    )
    counts, _ = play.replay("--tier", "10s")
    assert (counts["merged"], counts["made"]) == (sum(changed), 0)
    nothing_to_do(play, whole)


def of_servers(which):
    """Each server has one histogram: a third of them."""
    return f"series_id IN (SELECT id FROM series WHERE kind = 'histogram' AND server_id % 3 = {which})"


def test_histograms_come_back_as_one_merge_of_all_their_parts(pipeline, play, still, whole):
    partition = f"histograms_10s_{day(TODAY - DAY).replace('-', '')}"
    odd, rows, more, _ = play.execute(
        "UPDATE histograms_10s SET sum = sum + 1, positive[1] = positive[1] + 1 WHERE ts IN (SELECT DISTINCT ts FROM histograms_10s ORDER BY ts LIMIT 3)",
        f"DELETE FROM histograms_10s WHERE {of_servers(0)} AND ts >= to_timestamp({(START + 10 * WINDOW) / 1000}) AND ts < to_timestamp({(TODAY - DAY) / 1000})",
        f"DELETE FROM {partition}",
        f"DROP TABLE {partition}",
    )
    play.execute("TRUNCATE histograms_1m, histograms_5m, histograms_1h")
    assert odd == 3 * SERVERS and rows > 0 and more > 0
    dry, _ = play.replay("--dry-run")
    assert pipeline.sql("SELECT count(*) FROM histograms_1m") == [(0,)], "a dry run writes nothing"
    counts, by_topic = play.replay()
    assert counts == dry
    assert (by_topic["metrics.10s"]["made"], by_topic["metrics.10s"]["merged"]) == (rows + more, odd)
    assert (counts["made"], counts["merged"]) == (rows + more + 18, odd)
    nothing_to_do(play, whole)


def packed(pipeline):
    rows = "SELECT (SELECT count(*) FROM packed_10s), (SELECT count(*) FROM samples_10s), (SELECT coalesce(sum(windows), 0)::bigint FROM packed_10s)"
    return pipeline.sql(rows)[0]


def pack(pipeline):
    """A sink packs when it starts."""
    pipeline["sink"].process.restart()
    pipeline["sink"].await_ready()
    wait_until(lambda: packed(pipeline)[1] == 0, 60, "everything is packed")


def test_packed_hours_are_left_alone_and_lost_ones_come_back(pipeline, play, whole):
    pack(pipeline)
    before = packed(pipeline)
    assert before[2] == SERVERS * SERIES * WINDOWS
    nothing_to_do(play, whole)
    assert packed(pipeline) == before, "what is whole stays packed"
    # hours of some series, and whatever the second day has
    play.execute(
        "DELETE FROM packed_10s WHERE series_id % 3 = 0",
        f"TRUNCATE packed_10s_{day(TODAY - DAY).replace('-', '')}",
    )
    lost = before[2] - packed(pipeline)[2]
    counts, _ = play.replay()
    assert (counts["made"], counts["merged"]) == (lost, 0)
    nothing_to_do(play, whole)
    pack(pipeline)


def test_a_sink_at_work_meanwhile_loses_nothing_and_counts_nothing_twice(pipeline, play):
    flow = play.flow
    flow.wish.clear()
    flow.run()
    try:
        for turn in range(3):
            window = flow.window
            wait_until(lambda: flow.window > window + 20, 60, "windows that are written meanwhile")
            lost = play.lose(
                f"DELETE FROM packed_10s WHERE series_id % 3 = {turn}",
                f"DELETE FROM samples_10s WHERE series_id % 3 = {turn} AND ts < to_timestamp({(START + window * WINDOW) / 1000})",
                f"DELETE FROM histograms_10s WHERE {of_servers(turn)} AND ts < to_timestamp({(START + window * WINDOW) / 1000})",
            )
            assert lost > 0
            counts, _ = play.replay()
            assert counts["made"] > 0
    finally:
        flow.stop()
    play.caught_up()
    query = (
        "SELECT v.name, e.metric_name, e.labels, s.* FROM series e JOIN servers v ON v.id = e.server_id JOIN"
        " (SELECT series_id, count(*), sum(count)::bigint, sum(sum) FROM windows_10s GROUP BY 1) s ON s.series_id = e.id"
        " WHERE v.name LIKE 'again-%'"
    )
    stored = {
        (name, metric, tuple(sorted(labels.items()))): row for name, metric, labels, _, *row in pipeline.sql(query)
    }
    wrong = windows.differences(flow.tally(), stored)
    assert not wrong, f"{len(wrong)} series:\n" + "\n".join(wrong[:10])
    observed = {name: list(row) for name, *row in pipeline.sql(
        "SELECT v.name, count(*), sum(h.count)::bigint FROM histograms_10s h JOIN series e ON e.id = h.series_id"
        " JOIN servers v ON v.id = e.server_id GROUP BY 1"
    )}
    assert observed == {server.name: server.seen for server in flow.servers}
    copy = play.copy()
    counts, _ = play.replay()
    assert (counts["made"], counts["merged"], counts["kept"]) == (0, 0, 0)
    assert play.copy() == copy


def test_it_waits_for_postgresql_and_says_when_it_gives_up(pipeline, play):
    copy = play.copy()
    command = [PROGRAM, "replay", "--from", day(START), "--to", day(TODAY), "--json"]
    with pipeline.expecting(r"(?i)postgres", r"write batch"):
        pipeline.stack.stop_part("postgres")
        try:
            done = subprocess.run(command, env=pipeline.environment, capture_output=True, text=True, timeout=150)
        finally:
            pipeline.stack.start_part("postgres")
        assert done.returncode == 1 and "postgresql" in done.stderr.splitlines()[-1], done.stderr
        # and one that is there in time
        pipeline.stack.stop_part("postgres")
        waiting = subprocess.Popen(command, env=pipeline.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said = waiting.stderr.readline()
        finally:
            pipeline.stack.start_part("postgres")
        out, err = waiting.communicate(timeout=120)
        assert "try again" in said and waiting.returncode == 0, said + err
        assert sum(entry["made"] for entry in json.loads(out)["topics"]) == 0
        pipeline["sink"].await_ready()
    assert play.copy() == copy


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--from", "2026-11-20", "--to", "2026-11-21", "--tier", "2h"], 64, r"invalid value '2h'.*--tier"),
        (["--from", "2026-11-21", "--to", "2026-11-20"], 1, r"^--from has to be before --to$"),
        (["--from", "yesterday", "--to", "2026-11-20"], 64, r"has to be a time such as"),
        (["--from", "2026-11-20", "--to", "2026-11-21", "--topic-prefix", "no."], 1, r"topic no\.metrics\.10s does not exist; `tidewatch topics create`"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(pipeline, words, code, said):
    done = subprocess.run([PROGRAM, "replay", *words], env=pipeline.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    # wrong words come with a hint on how to ask
    assert (len(lines) == 1 or code == 64) and re.search(said, lines[0]), done.stderr


def test_what_the_topic_has_lost_stays_and_what_it_has_comes_back(pipeline, play):
    """Last, for the topic is not whole again."""
    pipeline["sink"].process.stop()
    copy, middle = play.copy(), START + WINDOWS // 2 * WINDOW
    # the first half of each partition's windows is older than retention
    first = {}
    for sent in play.flow.sent:
        partition, offset = sent.place
        if sent.window * WINDOW + START >= middle:
            first[partition] = min(offset, first.get(partition, offset))
    admin = AdminClient({"bootstrap.servers": pipeline.brokers})
    places = [TopicPartition(TOPIC, partition, offset) for partition, offset in first.items()]
    for future in admin.delete_records(places).values():
        future.result(30)
    lost = play.execute(f"DELETE FROM samples_10s WHERE ts >= to_timestamp({middle / 1000}) AND series_id % 2 = 0")[0]
    assert lost > 0
    counts, by_topic = play.replay("--tier", "10s")
    told = by_topic["metrics.10s"]
    assert told["topic_has"] == "since" and told["since"] > day(START), told
    assert (counts["made"], counts["merged"], counts["kept"] > 0) == (lost, 0, True), told
    older = sum(row[1].timestamp() * 1000 <= middle for row in copy["windows_10s"])
    assert 0 < told["unknown"] <= older, told
    assert play.copy() == copy
    counts, _ = play.replay("--tier", "10s")
    assert (counts["made"], counts["merged"]) == (0, 0)
    pipeline["sink"].process.start()
    pipeline["sink"].await_ready()
