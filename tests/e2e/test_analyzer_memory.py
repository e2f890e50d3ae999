"""What the analyzer knows after it was killed between two snapshots: its models, its open alert, and nothing twice; and that a
snapshot which is no good costs one warning, not an alert.
"""

import random
import time

import pytest

import avro_contract as contract
import topics
from pipeline import PREFIX, Pipeline, figure
from stack import wait_until
from test_alerts import window

RULES = """\
rules:
  - name: high
    metric: memory.m0
    above: 500
    clear_below: 400
    severity: critical
"""
INPUT, STATE = PREFIX + "metrics.10s", PREFIX + "analyzer.state"
SERVERS = [f"memory-{number}" for number in range(3)]
NAMES = [f"memory.m{number}" for number in range(6)]
# 50 minutes: every server has had its turn, and has warmed up
HISTORY = 300


class Fleet:
    """Windows of three servers, one after the other; the first one's first series may be high."""

    def __init__(self, pipeline):
        self.client, self.rng = topics.producer(pipeline), random.Random(7)
        self.begin = int(time.time() * 1000) // 10_000 * 10_000 - 2 * HISTORY * 10_000
        self.sent = 0

    def send(self, windows, high=False):
        for _ in range(windows):
            for server in SERVERS:
                values = [50 + 3 * place + self.rng.gauss(0, 1) for place in range(len(NAMES))]
                if high and server == SERVERS[0]:
                    values[0] = 900
                frame = window(server, self.begin + self.sent * 10_000, self.sent, NAMES, values)
                topics.send(self.client, INPUT, server.encode(), contract.encode("aggregate_frame", frame))
            self.sent += 1
        topics.flush(self.client)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    pipeline = Pipeline("analyzer memory", services=("analyzer",), settings={"analyzer": ["--rules", rules]})
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def fleet(pipeline):
    return Fleet(pipeline)


def told(pipeline, name):
    return pipeline["analyzer"].metrics().get(f"tidewatch_analyzer_{name}", 0)


def found(pipeline, outcome):
    return told(pipeline, f'snapshots_total{{outcome="{outcome}"}}')


def snapshots(pipeline):
    """The newest record of each server: its partition, its bytes."""
    newest = {}
    for message in topics.read(pipeline, STATE):
        newest[message.key().decode()] = (message.partition(), message.value())
    return newest


def kill(pipeline, *expected, meanwhile=lambda: None):
    with pipeline.expecting(r"session ended, restore from the last commit", *expected):
        pipeline["analyzer"].process.kill()
        meanwhile()
        pipeline["analyzer"].process.start()
        pipeline["analyzer"].await_ready()


def test_a_killed_analyzer_goes_on_with_what_it_knew(pipeline, fleet):
    alerts = topics.Subscriber(pipeline)
    expected = topics.Subscriber(pipeline, PREFIX + "metrics.expected", "expectation")
    try:
        # in two parts with a commit between them: a turn is taken when a commit finds that it is due
        fleet.send(HISTORY // 2)
        wait_until(lambda: told(pipeline, "windows_total") == 3 * HISTORY // 2, 60, "the first half of the history")
        fleet.send(HISTORY - HISTORY // 2)
        wait_until(lambda: told(pipeline, "windows_total") == 3 * HISTORY, 60, "the history")
        wait_until(lambda: found(pipeline, "written") >= 3, 20, "a snapshot of each server")
        assert set(snapshots(pipeline)) == set(SERVERS)
        inputs = {message.key().decode(): message.partition() for message in topics.read(pipeline, INPUT)}
        assert {server: partition for server, (partition, _) in snapshots(pipeline).items()} == inputs
        # an alert begins after them
        fleet.send(3, high=True)
        firing = wait_until(lambda: alerts.of(server=SERVERS[0], rule="high"), 20, "the alert fires")
        wait_until(lambda: told(pipeline, "windows_total") == 3 * fleet.sent, 20, "all windows")
        time_of_kill = len(expected.received)
        kill(pipeline)
        assert found(pipeline, "restored") == 3
        replayed = told(pipeline, "replayed_total")
        figure(f"analyzer memory: {replayed:.0f} of {3 * fleet.sent} windows replayed after a kill; all of them without snapshots")
        assert replayed < 3 * fleet.sent - HISTORY
        # models are warm at once: with what was replayed alone nothing would be expected yet
        fleet.send(7, high=True)
        bands = wait_until(lambda: expected.received[time_of_kill:], 30, "an expected band")
        assert {series["metric"] for series in bands[-1]["layout"]} == set(NAMES)
        fleet.send(12)
        over = wait_until(
            lambda: alerts.of(server=SERVERS[0], rule="high", status="resolved"), 20, "the alert resolves"
        )
        said = alerts.of(server=SERVERS[0], rule="high")
        assert [alert["status"] for alert in said] == ["firing", "resolved"]
        assert over[0]["alert_id"] == firing[0]["alert_id"]
    finally:
        alerts.close()
        expected.close()


def test_a_snapshot_that_is_no_good_costs_a_warning(pipeline, fleet):
    alerts = topics.Subscriber(pipeline)
    client = topics.producer(pipeline)
    bad = {}

    def spoil():
        kept = snapshots(pipeline)
        bad[SERVERS[1]] = kept[SERVERS[1]][1][:-20]
        bad[SERVERS[2]] = b"\xff" + kept[SERVERS[2]][1][1:]
        for server, value in bad.items():
            topics.send(client, STATE, server.encode(), value, partition=kept[server][0])
        topics.flush(client)

    try:
        kill(pipeline, r"snapshot not used", meanwhile=spoil)
        assert [found(pipeline, outcome) for outcome in ("restored", "torn", "newer")] == [1, 1, 1]
        # those two have been learned again from the replay, and are written anew in their turn
        fleet.send(80)
        wait_until(
            lambda: all(snapshots(pipeline)[server][1] != value for server, value in bad.items()),
            60,
            "snapshots of those two",
        )
        kill(pipeline)
        assert found(pipeline, "restored") == 3
        begun = [alert["title"] for alert in alerts.received if alert["status"] == "firing"]
        assert not begun
    finally:
        alerts.close()
