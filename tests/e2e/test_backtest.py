"""`tidewatch backtest`: on a history whose alerts are known it says exactly these, the same as the analyzer said of it, packed or
not; and it writes nothing.

Windows lie on two days that are over, around a midnight. The analyzer has had them from the topic, the backtest has them from PostgreSQL.
"""

import json
import subprocess
import time
from datetime import datetime, timezone

import pytest

import avro_contract as contract
import topics
from pipeline import PREFIX, PROGRAM, Pipeline
from stack import wait_until

DAY, WINDOW, WINDOWS = 86_400_000, 10_000, 400
TODAY = int(time.time() * 1000) // DAY * DAY
START = TODAY - DAY - WINDOWS // 2 * WINDOW
TOPIC = PREFIX + "metrics.10s"

RULES = """\
rules:
  - {name: high, metric: back.load, above: 5, for: 20s, summary: Too much load.}
  - {name: busy, metric: back.work_total, above: 50}
"""
SILENT = RULES + "  - {name: silent, absent: server, for: 60s}\n"
# two of four loads do not reach it, and so little work is there all the time
STRICT = RULES.replace("above: 5,", "above: 12,").replace("above: 50", "above: 5")

# (first window, first after it, value); one window alone is too short for `for`
HIGH = {"back-0": [(100, 105, 9.0), (150, 160, 15.0), (250, 251, 99.0), (300, 303, 9.0)], "back-1": [(200, 206, 15.0)], "back-2": []}
BUSY = {"back-2": (120, 130)}
QUIET = {"back-1": (350, 380)}


def at(window):
    return START + window * WINDOW


def said(ms):
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat().replace("+00:00", "Z")


EXPECTED = sorted((name, "high", at(a), at(b)) for name, all in HIGH.items() for a, b, _ in all if b - a > 1)
EXPECTED += [("back-2", "busy", at(120), at(130))]


def frame(server, window, total, grows):
    load = next((value for a, b, value in HIGH[server] if a <= window < b), 1.0)
    # ten samples a window, a second between two
    first, last = [load, 40.0 + window % 7, total], [load, 40.0 + window % 7, total + grows * 0.9]
    return {
        "server": server,
        "window_start": at(window),
        "window_ms": WINDOW,
        "kind": "final",
        "origin": {"partition": 0, "offset": window},
        "layout": [
            {"metric": "back.load", "labels": {"core": "all"}, "kind": "gauge", "unit": ""},
            {"metric": "back.level", "labels": {}, "kind": "gauge", "unit": "percent"},
            {"metric": "back.work_total", "labels": {}, "kind": "counter", "unit": ""},
        ],
        "count": [10] * 3,
        "sum": [(a + b) * 5 for a, b in zip(first, last)],
        "min": first,
        "max": last,
        "first": first,
        "last": last,
        "first_at": [0] * 3,
        "last_at": [9_000] * 3,
        "m2": [0.0] * 3,
        "increase": [0.0, 0.0, last[2] - first[2]],
        "resets": [0] * 3,
        "histograms": [],
    }


def send(pipeline):
    client = topics.producer(pipeline)
    totals = dict.fromkeys(HIGH, 0.0)
    for window in range(WINDOWS):
        for server in HIGH:
            busy, quiet = BUSY.get(server, (0, 0)), QUIET.get(server, (0, 0))
            grows = 1_000.0 if busy[0] <= window < busy[1] else 100.0
            if not quiet[0] <= window < quiet[1]:
                record = contract.encode("aggregate_frame", frame(server, window, totals[server], grows))
                topics.send(client, TOPIC, server.encode(), record)
            totals[server] += grows
    topics.flush(client)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    bad = RULES + "  - {name: high, metric: a, above: 1}\n"
    for name, text in (("rules", RULES), ("silent", SILENT), ("strict", STRICT), ("bad", bad)):
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def pipeline(files):
    settings = {"analyzer": ["--rules", files / "rules.yaml"], "sink": ["--sink-pack-after", "1s"]}
    pipeline = Pipeline("backtest", services=("analyzer", "sink"), settings=settings)
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def live(pipeline):
    """What the analyzer said of it: the alerts of both rules, by id, as PostgreSQL has them in the end."""
    subscriber = topics.Subscriber(pipeline)
    try:
        send(pipeline)

        def stored():
            return pipeline.sql("SELECT count(*) FROM alerts WHERE rule IN ('high', 'busy') AND status = 'resolved'")[0][0]

        wait_until(lambda: stored() == len(EXPECTED), 90, "all alerts are over and stored")

        def is_caught_up():
            offsets = dict(pipeline.sql("SELECT partition, next_offset FROM ingest_offsets WHERE topic = %s", TOPIC))
            return all(offsets.get(number, 0) >= end for number, end in topics.ends(pipeline, TOPIC).items())

        wait_until(is_caught_up, 60, "the sink has written everything", every=0.3)

        def received():
            return [alert for alert in list(subscriber.received) if alert["rule"] in ("high", "busy")]

        wait_until(lambda: len(received()) >= 2 * len(EXPECTED), 30, "all transitions")
        yield received()
    finally:
        subscriber.close()


def run(pipeline, *words, begin=50, end=WINDOWS, environment=None):
    command = [PROGRAM, "backtest", "--from", said(at(begin)), "--to", said(at(end)), *words]
    # a database that lets nobody write
    url = pipeline.environment["TIDEWATCH_POSTGRES_URL"]
    url += ("&" if "?" in url else "?") + "options[default_transaction_read_only]=on"
    environment = pipeline.environment | {"TIDEWATCH_POSTGRES_URL": url} | (environment or {})
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120)


def backtest(pipeline, *words, **more):
    """The lines, and the summary."""
    done = run(pipeline, "--json", *words, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, summary = map(json.loads, done.stdout.splitlines())
    assert summary["type"] == "summary" and all(line["type"] != "summary" for line in lines)
    return lines, summary


def of(lines, kind="alert", rules=("high", "busy")):
    return [line for line in lines if line["type"] == kind and line["rule"] in rules]


def spans(alerts):
    return sorted((a["server"], a["rule"], a["starts_at"], a["ends_at"]) for a in alerts)


def counts(summary):
    return {entry["rule"]: entry["alerts"] for entry in summary["rules"]}


def test_a_rule_fires_as_often_as_it_must(pipeline, live, files):
    lines, summary = backtest(pipeline, "--rules", files / "rules.yaml")
    assert spans(of(lines)) == sorted(EXPECTED)
    assert {rule: n for rule, n in counts(summary).items() if rule != "learned"} == {"high": 4, "busy": 1}
    high = next(entry for entry in summary["rules"] if entry["rule"] == "high")
    assert high["servers"] == {"back-0": 3, "back-1": 1}
    assert high["open_ms"] == sum(end - begin for _, rule, begin, end in EXPECTED if rule == "high")
    assert summary["servers"] == 3 and summary["windows"] == 3 * (WINDOWS - 50) - 30
    for alert in of(lines):
        assert alert["status"] == "resolved" and alert["title"] and alert["explanation"]
        assert alert["fired_at"] == alert["starts_at"] + (20_000 if alert["rule"] == "high" else 10_000)


def test_the_analyzer_said_the_same(pipeline, live, files):
    lines, _ = backtest(pipeline, "--rules", files / "rules.yaml", "--against-history")
    told = {alert["alert_id"]: alert for alert in of(lines)}
    firing = {alert["alert_id"]: alert for alert in live if alert["status"] == "firing"}
    assert told.keys() == firing.keys() == {alert["alert_id"] for alert in live if alert["status"] == "resolved"}
    for alert_id, alert in firing.items():
        for name in ("fingerprint", "title", "explanation", "value", "labels", "severity", "starts_at"):
            assert told[alert_id][name] == alert[name], (alert_id, name)
    for kind in ("not_said", "only_said", "said_at_another_time"):
        assert not of(lines, kind), kind


def test_what_was_said_and_would_not_be_is_told(pipeline, live, files):
    lines, summary = backtest(pipeline, "--rules", files / "strict.yaml", "--against-history")
    gone = [alert for alert in sorted(EXPECTED) if alert[0] == "back-0" and alert[2] != at(150)]
    assert spans(of(lines, "only_said")) == gone
    assert summary["against_history"]["removed"] >= 2


def test_other_rules_add_and_remove_alerts(pipeline, live, files):
    lines, summary = backtest(pipeline, "--rules", files / "rules.yaml", "--compare", files / "strict.yaml")
    assert [alert["starts_at"] for alert in of(lines, "removed")] == [at(100), at(300)]
    # it has held since the second window: long before the time that counts, and is no news
    assert not of(lines, "added")
    assert summary["compared"]["removed"] == 2 and summary["compared"]["same"] >= 2
    text = run(pipeline, "--rules", files / "rules.yaml", "--compare", files / "strict.yaml")
    assert text.returncode == 0 and "against the other rules: " in text.stdout and "2 not said (-)" in text.stdout, text.stdout


def test_silence_is_told_at_its_time(pipeline, live, files):
    lines, summary = backtest(pipeline, "--rules", files / "silent.yaml", "--server", "back-*")
    assert spans(of(lines, rules=("silent",))) == [("back-1", "silent", at(350), at(380))]
    assert counts(summary)["silent"] == 1
    assert of(lines, rules=("silent",))[0]["fired_at"] == at(356)


def test_what_holds_before_the_time_counts_apart(pipeline, live, files):
    lines, summary = backtest(pipeline, "--rules", files / "rules.yaml", "--server", "back-0", begin=103)
    assert [alert["starts_at"] for alert in of(lines)] == [at(150), at(300)]
    high = next(entry for entry in summary["rules"] if entry["rule"] == "high")
    assert (high["alerts"], high["open_before"]) == (2, 1)
    # with less to learn from, a limit is crossed all the same
    short, _ = backtest(pipeline, "--rules", files / "rules.yaml", "--server", "back-0", "--warm", "1m", begin=149)
    assert [alert["alert_id"] for alert in of(short)] == [alert["alert_id"] for alert in of(lines)]


def test_a_person_reads_why(pipeline, live, files):
    done = run(pipeline, "--rules", files / "rules.yaml", "--first", "1")
    assert done.returncode == 0, done.stderr
    assert "2 rules and the learned detector" in done.stdout and "back-0 3, back-1 1" in done.stdout
    assert "Too much load." in done.stdout and "Open for 50 s." in done.stdout and "and 3 more" in done.stdout
    assert "Models learned from" in done.stdout, "the history is shorter than --warm"


def test_packed_hours_say_the_same(pipeline, live, files):
    before = backtest(pipeline, "--rules", files / "silent.yaml")
    # a sink packs when it starts
    pipeline["sink"].process.restart()
    pipeline["sink"].await_ready()

    def is_packed():
        return pipeline.sql("SELECT (SELECT count(*) FROM samples_10s), (SELECT count(*) > 0 FROM packed_10s)")[0] == (0, True)

    wait_until(is_packed, 60, "everything is packed")
    assert backtest(pipeline, "--rules", files / "silent.yaml") == before
    assert backtest(pipeline, "--rules", files / "silent.yaml", "--jobs", "1") == before


def test_what_can_not_be_answered_is_said(pipeline, live, files):
    def refused(code, text, *words, **more):
        done = run(pipeline, *words, **more)
        assert done.returncode == code and text in done.stderr, (done.returncode, done.stdout, done.stderr)

    year = 365 * DAY // WINDOW
    refused(1, "have no windows of 10 s between", begin=-year, end=-year + 360)
    refused(1, "it ends at", begin=WINDOWS + 100, end=WINDOWS + 200)
    refused(1, "there is no server that fits `nobody-*`", "--server", "nobody-*")
    refused(1, "--from has to be before --to", begin=10, end=10)
    refused(64, f"{files / 'bad.yaml'}:4: ", "--rules", files / "bad.yaml")
    refused(64, f"{files / 'bad.yaml'}:4: ", "--compare", files / "bad.yaml")
    refused(64, "read file", "--rules", files / "nowhere.yaml")
    refused(1, "postgresql", environment={"TIDEWATCH_POSTGRES_URL": "postgres://nobody@127.0.0.1:1/nothing"})
