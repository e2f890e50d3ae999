"""From a value to a real Alertmanager: a rule's alert arrives once as firing and once as resolved, at two of them and at a webhook
whose signature holds, over TLS; while it fires the notifier is killed, and an Alertmanager forgets everything.
"""

import base64
import hashlib
import hmac
import json
import time

import pytest

import receivers
import topics
from pipeline import PREFIX, Pipeline, Service, figure, new_port
from stack import wait_until

RULES = """\
rules:
  - name: alarm
    metric: alarm.level
    above: 50
    severity: critical
    summary: Somebody should look.
    runbook: https://runbooks.example/alarm
"""

SERVER = "notify-1"
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PAGES = "https://tidewatch.example"
NAMES = ("first", "second")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    pipeline = Pipeline("notify", settings={"analyzer": ["--rules", rules]})
    yield pipeline
    pipeline.close()


class Story:
    """What everybody saw of one alert."""

    def __init__(self, pipeline, folder):
        self.pipeline = pipeline
        self.inbox = receivers.Receiver(new_port())
        self.hook = receivers.Receiver(new_port(), secure=True)
        self.alertmanagers = [
            receivers.Alertmanager(folder / name, new_port(), f"{self.inbox.url}/{name}") for name in NAMES
        ]
        self.notify = pipeline.services["notify"] = Service(
            pipeline.stack,
            "notify",
            "notify",
            arguments=[
                "--notify-alertmanager", ",".join(one.url for one in self.alertmanagers),
                "--notify-webhook", f"{self.hook.url}/hook?token=hidden",
                "--notify-link", PAGES,
                "--notify-resend", "2s",
            ],
            env={"TIDEWATCH_NOTIFY_WEBHOOK_SECRET": SECRET, "SSL_CERT_FILE": str(receivers.CERTIFICATE)},
        )  # fmt: skip
        self.notify.await_ready()
        self.start = (int(time.time() * 1000) - 100_000) // 10_000 * 10_000
        self.known = []

    def send(self, begin, end, level):
        seconds = range(self.start + begin * 1000, self.start + end * 1000, 1000)
        body = [{"server": SERVER, "timestamp": at, "metrics": {"alarm.level": level}} for at in seconds]
        assert self.pipeline.ingest(body).status_code == 202

    def told(self, name):
        """What an Alertmanager told its receiver."""
        return [json.loads(request["body"]) for request in list(self.inbox.received) if request["path"] == f"/{name}"]

    def all_told(self, *statuses):
        """Whether each told exactly that."""
        return all([body["status"] for body in self.told(name)] == list(statuses) for name in NAMES)

    def hooked(self):
        return [request["headers"]["webhook-id"].rpartition(".")[2] for request in self.hook.received]

    def play(self):
        self.send(0, 50, 90)
        wait_until(lambda: self.all_told("firing"), 90, "the Alertmanagers tell that it fires")
        wait_until(lambda: self.hooked() == ["firing"], 20, "the webhook hears it too")
        self.known = [wait_until(one.alerts, 20, "each Alertmanager knows it") for one in self.alertmanagers]
        wait_until(lambda: self.metric("pending") == 0, 10, "nothing is under way")
        self.notify.restart_killed()
        self.alertmanagers[1].stop()
        self.alertmanagers[1].start()
        self.notify.await_ready()
        wait_until(self.alertmanagers[1].alerts, 60, "an Alertmanager that forgot it is told again")
        self.send(50, 80, 1)
        wait_until(lambda: self.all_told("firing", "resolved"), 90, "the Alertmanagers tell that it is over")
        wait_until(lambda: self.hooked()[-1:] == ["resolved"], 20, "the webhook hears it too")
        for one in self.alertmanagers:
            wait_until(lambda one=one: not one.alerts(), 20, "no Alertmanager thinks that it fires")

    def metric(self, name):
        metrics = self.notify.metrics()
        return sum(value for key, value in metrics.items() if key.startswith(f"tidewatch_notify_{name}{{"))

    def close(self):
        for one in self.alertmanagers:
            one.stop()
        self.inbox.close()
        self.hook.close()


@pytest.fixture(scope="module")
def story(pipeline, tmp_path_factory):
    story = Story(pipeline, tmp_path_factory.mktemp("alertmanagers"))
    try:
        story.play()
        yield story
    finally:
        # the notifier first: whom it tells would be away
        pipeline.services["notify"].process.stop()
        story.close()


def test_every_alertmanager_knows_it_with_all_that_there_is_to_say(story):
    assert len(story.known) == 2
    for alerts in story.known:
        (alert,) = alerts
        assert alert["labels"] == {"alertname": "alarm", "server": SERVER, "severity": "critical", "metric": "alarm.level"}
        said = alert["annotations"]
        assert SERVER in said["title"] and "Somebody should look." in said["explanation"]
        assert said["runbook_url"] == "https://runbooks.example/alarm"
        assert alert["generatorURL"] == f"{PAGES}/servers/{SERVER}"
        assert alert["status"]["state"] == "active"
    first, second = (alerts[0]["startsAt"] for alerts in story.known)
    assert first == second and story.known[0][0]["fingerprint"] == story.known[1][0]["fingerprint"]


def test_it_arrives_once_as_firing_and_is_resolved(story):
    for name in NAMES:
        firing, resolved = story.told(name)
        assert (firing["status"], resolved["status"]) == ("firing", "resolved")
        (before,), (after,) = firing["alerts"], resolved["alerts"]
        assert before["labels"] == after["labels"] and before["startsAt"] == after["startsAt"]
        assert before["annotations"]["alert_id"] == after["annotations"]["alert_id"]
        assert before["endsAt"].startswith("0001-") and after["endsAt"] > after["startsAt"]
    times = [request["at"] for request in story.inbox.received]
    figure(f"notify: two Alertmanagers told their receivers {len(times)} times in {times[-1] - times[0]:.1f} s")


def test_a_webhook_gets_each_transition_signed(story):
    # a kill between sending and committing may repeat one; it does not come out of order
    assert [*dict.fromkeys(story.hooked())] == ["firing", "resolved"] and sorted(story.hooked()) == story.hooked()
    for request in story.hook.received:
        headers = {name.lower(): value for name, value in request["headers"].items()}
        assert request["path"] == "/hook?token=hidden" and headers["content-type"] == "application/json"
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request["body"]
        mac = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert abs(request["at"] - int(headers["webhook-timestamp"])) < 60
        event = json.loads(request["body"])
        status = headers["webhook-id"].rpartition(".")[2]
        assert event["type"] == f"alert.{status}" and event["data"]["status"] == status
        assert headers["webhook-id"] == f"{event['data']['alert_id']}.{status}"
        assert event["data"]["link"] == f"{PAGES}/servers/{SERVER}"


def test_nothing_was_refused_and_no_token_is_shown(pipeline, story):
    assert sum(topics.ends(pipeline, f"{PREFIX}dead-letter.notify").values()) == 0
    assert "hidden" not in story.notify.process.log.read_text()
    metrics = story.notify.metrics()
    assert not [name for name in metrics if "hidden" in name]
    fates = {name: value for name, value in metrics.items() if name.startswith("tidewatch_notify_transitions_total")}
    assert len(fates) == 3 * 4 and sum(v for n, v in fates.items() if 'fate="taken"' in n) >= 3, fates


def test_every_name_is_in_the_reference(story):
    reference = (receivers.FIXTURES.parents[2] / "docs/metrics/services.md").read_text()
    names = {name.partition("{")[0] for name in story.notify.metrics() if name.startswith("tidewatch_")}
    plain = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names}
    assert not {name for name in plain if f"`{name}`" not in reference}
    assert {name for name in plain if not name.startswith(("tidewatch_notify_", "tidewatch_breaker_"))} == set()
