"""From a false alarm to a higher bar: what a person says of an alert, at the shell or through the API, reaches the detector and
outlives it. One such word makes the next alert say so, four of them silence what comes again as it was; rules hear of none.
"""

import json
import random
import time

import pytest

import avro_contract as contract
import topics
from pipeline import PREFIX, Pipeline
from stack import wait_until
from test_alerts import window
from test_bad_input import is_problem

RULES = """\
rules:
  - {name: ruled, metric: feedback.m0, above: 65, severity: info}
"""
FEEDBACK = PREFIX + "analyzer.feedback"
# told once, and told four times
ONCE, OFTEN = "feedback-1", "feedback-2"
WINDOWS, FIRST, SECOND = 2_400, 400, 2_600
SERIES = 12
ODD = 6


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    pipeline = Pipeline("feedback", settings={"analyzer": ["--rules", rules]})
    yield pipeline
    pipeline.close()


class Story:
    """Two servers whose series jump twice in the same way; between the jumps people speak."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.alerts = topics.Subscriber(pipeline)
        self.anomalies = topics.Subscriber(pipeline, PREFIX + "anomalies", "anomaly")
        self.client = topics.producer(pipeline)
        self.random = random.Random(5)
        self.start = int(time.time() * 1000) // 10_000 * 10_000 - WINDOWS * 10_000
        self.key_file = pipeline.folder / "admin.key"
        self.key_file.write_text(pipeline.keys["admin"] + "\n")
        self.send(0, WINDOWS)
        self.first = {server: self.resolved(server, FIRST) for server in (ONCE, OFTEN)}

    def send(self, begin, end):
        """Windows written straight to metrics.10s."""
        names = [f"feedback.m{i}" for i in range(SERIES)]
        for index in range(begin, end):
            for server in (ONCE, OFTEN):
                values = [50 + self.random.gauss(0, 1) for _ in names]
                if FIRST <= index < FIRST + 3 or SECOND <= index < SECOND + 3:
                    values[:ODD] = [value + 60 for value in values[:ODD]]
                frame = window(server, self.at(index), index, names, values)
                topics.send(self.client, PREFIX + "metrics.10s", server.encode(), contract.encode("aggregate_frame", frame))
        topics.flush(self.client)

    def at(self, index):
        return self.start + index * 10_000

    def of(self, server, rule, index):
        """The records of an alert that began with the jump."""
        return [a for a in self.alerts.of(server=server, rule=rule) if 0 <= a["starts_at"] - self.at(index) <= 30_000]

    def resolved(self, server, index, rule="learned"):
        """Both records of such an alert."""

        def both():
            found = self.of(server, rule, index)
            return found if [a["status"] for a in found] == ["firing", "resolved"] else None

        return wait_until(both, 60, f"{rule} of {server} fires and resolves")

    def acknowledge(self, alert_id, *words):
        return self.pipeline.tool(
            "alerts", "acknowledge", alert_id, *words, "--url", self.pipeline.url, "--key-file", self.key_file
        )  # fmt: skip

    def shown(self, alert_id):
        rows = self.pipeline.get("/api/v1/alerts", limit=100).json()
        return next((row for row in rows if row["alert_id"] == alert_id), None)

    def close(self):
        self.alerts.close()
        self.anomalies.close()


@pytest.fixture(scope="module")
def story(pipeline):
    story = Story(pipeline)
    yield story
    story.close()


def heard(pipeline):
    """What the detector was told, as anybody reads it."""
    words = [m for m in topics.read(pipeline, FEEDBACK) if m.value().startswith(b"{")]
    return [(m.key().decode(), json.loads(m.value()), topics.headers(m)) for m in words]


def test_a_person_says_at_the_shell_that_nothing_was_wrong(pipeline, story):
    alert = story.first[ONCE][-1]
    before = wait_until(lambda: story.shown(alert["alert_id"]), 30, "the alert in the API")
    assert before["acknowledged"] is None
    said = story.acknowledge(alert["alert_id"], "--false-alarm", "--note", "the backup")
    assert "called a false alarm by admin (the backup)" in said
    shown = story.shown(alert["alert_id"])["acknowledged"]
    assert (shown["by"], shown["note"], shown["verdict"]) == ("admin", "the backup", "false_alarm")
    incident = pipeline.get(f"/api/v1/incidents/{alert['incident_id']}").json()
    assert incident["false_alarms"] == 1
    # said again it changes nothing, and is not told again
    story.acknowledge(alert["alert_id"], "--false-alarm", "--note", "the backup")
    ((key, told, headers),) = heard(pipeline)
    assert (key, headers["content-type"]) == (ONCE, "application/json")
    assert (told["alert_id"], told["server"], told["verdict"], told["said_by"]) == (
        alert["alert_id"], ONCE, "false_alarm", "admin",
    )  # fmt: skip
    named = {series["metric"] for series in told["series"]}
    assert alert["metric"] in named and named == {alert["metric"]} | {r["metric"] for r in alert["related"]}


def test_only_an_admin_says_so_and_only_of_what_the_detector_raised(pipeline, story):
    alert_id = story.first[OFTEN][-1]["alert_id"]
    path = f"/api/v1/alerts/{alert_id}/acknowledge"
    wait_until(lambda: story.shown(alert_id), 30, "the alert in the API")
    false_alarm = {"verdict": "false_alarm"}
    is_problem(pipeline.call("POST", path, "viewer", json=false_alarm), 403, "role_not_allowed")
    refused = is_problem(pipeline.call("POST", path, json={"verdict": "true_alarm"}), 422, "bad_value")
    assert refused["parameter"] == "verdict"
    ruled = story.resolved(OFTEN, FIRST, "ruled")[-1]["alert_id"]
    wait_until(lambda: story.shown(ruled), 30, "the rule's alert in the API")
    refused = is_problem(pipeline.call("POST", f"/api/v1/alerts/{ruled}/acknowledge", json=false_alarm), 422, "bad_value")
    assert refused["parameter"] == "verdict" and "ruled" in refused["detail"]
    assert pipeline.call("POST", path, json=false_alarm).json()["acknowledged"]["verdict"] == "false_alarm"


def test_a_restarted_detector_knows_what_was_said(pipeline, story):
    # three more alerts like it, told by somebody's own program
    (said,) = [told for key, told, _ in heard(pipeline) if key == OFTEN]
    for number in range(3):
        record = said | {"alert_id": f"other-{number}", "said_at": said["said_at"] - 1_000 * number}
        topics.send(story.client, FEEDBACK, OFTEN.encode(), json.dumps(record).encode())
    topics.send(story.client, FEEDBACK, OFTEN.encode(), b"no feedback")
    topics.flush(story.client)
    with pipeline.expecting(r"session ended, restore from the last commit"):
        pipeline["analyzer"].restart_killed()
        pipeline["analyzer"].await_ready()
        # half an hour later, as the windows have it
        story.send(WINDOWS, SECOND + 60)
        firing, _ = story.resolved(ONCE, SECOND)
        story.resolved(OFTEN, SECOND, "ruled")
    words = firing["explanation"].replace("\u202f", " ")
    assert "1.4 times as high since an alert that named it was called a false alarm on 20" in words, words
    assert "false alarm" not in story.first[ONCE][0]["explanation"]
    assert not story.of(OFTEN, "learned", SECOND), "four verdicts are enough"
    story.resolved(ONCE, SECOND, "ruled")
    wait_until(lambda: pipeline["analyzer"].metrics()["tidewatch_analyzer_verdicts"] == 5, 20, "verdicts are counted")

    methods = {a["method"] for a in story.anomalies.of(server=ONCE) if a["window_start"] == story.at(SECOND)}
    assert methods == {"loud, its bar 1.4 times as high for 1 false alarm"}
    before = {a["method"] for a in story.anomalies.of(server=ONCE) if a["window_start"] == story.at(FIRST)}
    assert before == {"loud"}


def test_what_was_said_is_taken_back(pipeline, story):
    alert = story.first[ONCE][-1]
    assert "nobody takes care of it" in story.acknowledge(alert["alert_id"], "--withdraw")
    assert story.shown(alert["alert_id"])["acknowledged"] is None
    told = [told for key, told, _ in heard(pipeline) if key == ONCE]
    assert [one["verdict"] for one in told] == ["false_alarm", None]
    assert told[1]["said_at"] > told[0]["said_at"] and told[1]["alert_id"] == alert["alert_id"]
