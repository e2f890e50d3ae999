"""From a value to an incident, through the door: somebody takes care of an alert, a silence marks it and stops nothing, and the
incident is told from its first alert to its end."""

import time

import pytest

from stack import wait_until
from test_bad_input import is_problem

SERVER = "incident-1"
ALERTS = f"/api/v1/alerts?server={SERVER}"
SILENCES = "/api/v1/silences"


class Trouble:
    """A server whose alarm goes off in the past minutes, until it is calm."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.start = (int(time.time() * 1000) - 100_000) // 10_000 * 10_000
        self.is_calm = False
        self.send(0, 50, 90)

    def send(self, begin, end, level):
        seconds = range(self.start + begin * 1000, self.start + end * 1000, 1000)
        body = [{"server": SERVER, "timestamp": at, "metrics": {"alarm.level": level}} for at in seconds]
        assert self.pipeline.ingest(body).status_code == 202

    def firing(self):
        """Its open alerts; none while the server is not known."""
        answer = self.pipeline.call("GET", f"{ALERTS}&status=firing", "viewer")
        return answer.json() if answer.status_code == 200 else []

    def calm(self):
        if not self.is_calm:
            self.is_calm = True
            self.send(50, 80, 1)
            wait_until(lambda: not self.firing(), 60, "the alert is over", every=0.5)


@pytest.fixture(scope="module")
def trouble(shared):
    trouble = Trouble(shared)
    wait_until(trouble.firing, 60, "the alarm fires", every=0.5)
    yield trouble
    # others count what fires
    trouble.calm()


def test_somebody_takes_care_of_an_alert_and_no_more(shared, trouble):
    (before,) = trouble.firing()
    assert (before["rule"], before["acknowledged"], before["silenced_by"]) == ("alarm", None, [])
    path = f"/api/v1/alerts/{before['alert_id']}/acknowledge"
    for role in ("viewer", "writer"):
        is_problem(shared.call("POST", path, role, json={}), 403, "role_not_allowed")
        is_problem(shared.call("DELETE", path, role), 403, "role_not_allowed")
    is_problem(shared.call("GET", path, "viewer"), 405, "method_not_allowed")
    is_problem(shared.call("POST", "/api/v1/alerts/nothing/acknowledge", json={}), 404, "unknown_alert")
    refused = is_problem(shared.call("POST", path, json={"note": "x" * 2_001}), 422, "bad_value")
    assert refused["parameter"] == "note"

    answer = shared.call("POST", path, json={"note": "on it"})
    assert answer.status_code == 200, answer.text
    said = answer.json()["acknowledged"]
    # the name of the key, whatever the asker claims
    assert (said["by"], said["note"]) == ("admin", "on it")
    again = shared.call("POST", path, json={"note": "on it"}, headers={"X-Tidewatch-Client": "somebody"})
    assert again.json()["acknowledged"] == said
    assert trouble.firing() == [answer.json()]
    assert shared.get(f"{ALERTS}&acknowledged=true").json() == [answer.json()]
    assert shared.get(f"{ALERTS}&acknowledged=false").json() == []
    taken_back = shared.call("DELETE", path)
    assert (taken_back.status_code, taken_back.json()) == (200, before)


def test_a_silence_marks_what_fits_and_stops_nothing(shared, trouble):
    new = {"matchers": {"server": "incident-*", "metric": "alarm.level"}, "ends_at": "now+1h", "comment": "new disks"}
    is_problem(shared.call("POST", SILENCES, "viewer", json=new), 403, "role_not_allowed")
    refused = is_problem(shared.call("POST", SILENCES, json=new | {"matchers": {}}), 422, "bad_value")
    assert refused["parameter"] == "matchers"
    made = shared.call("POST", SILENCES, json=new)
    assert made.status_code == 201, made.text
    silence = made.json()
    assert (silence["state"], silence["created_by"], silence["comment"]) == ("active", "admin", "new disks")
    place = made.headers["Location"]
    assert shared.get(place).json() == silence
    assert silence in shared.get(SILENCES, state="active").json()

    (alert,) = trouble.firing()
    assert alert["silenced_by"] == [silence["id"]]
    assert shared.get(f"{ALERTS}&silenced=false").json() == []
    assert shared.get(f"{ALERTS}&silenced=true").json() == [alert]
    ended = shared.call("DELETE", place)
    assert (ended.status_code, ended.json()["state"]) == (200, "ended")
    assert [alert["silenced_by"] for alert in trouble.firing()] == [[]]
    assert silence["id"] in {one["id"] for one in shared.get(SILENCES, state="ended").json()}
    is_problem(shared.call("DELETE", f"{SILENCES}/2000000000"), 404, "unknown_silence")


def test_an_incident_is_told_from_its_first_alert_to_its_end(shared, trouble):
    (alert,) = trouble.firing()
    path = f"/api/v1/incidents/{alert['incident_id']}"
    one = shared.get(path).json()
    assert (one["state"], one["severity"], one["ended"], one["servers"]) == ("firing", "warning", None, [SERVER])
    assert (one["started"], one["title"]) == (alert["starts_at"], alert["title"])
    assert one["alerts"] == [alert] and one["alerts_left_out"] == one["anomalies_left_out"] == 0
    listed = shared.get("/api/v1/incidents", server=SERVER, state="firing").json()
    assert [found["id"] for found in listed] == [alert["incident_id"]] and listed[0].items() <= one.items()
    is_problem(shared.call("GET", path, "writer"), 403, "role_not_allowed")
    is_problem(shared.call("GET", "/api/v1/incidents/nothing", "viewer"), 404, "unknown_incident")

    trouble.calm()
    over = shared.get(path).json()
    assert (over["state"], over["started"]) == ("resolved", one["started"]) and over["ended"] > over["started"]
    assert [found["alert_id"] for found in over["alerts"]] == [alert["alert_id"]]
    assert shared.get("/api/v1/incidents", server=SERVER, state="firing").json() == []
    # what was over before the time asked for is left out
    for since, is_there in ((over["started"], True), (over["ended"], True), ("now", False)):
        since_then = shared.get("/api/v1/incidents", server=SERVER, **{"from": since}).json()
        assert (alert["incident_id"] in {found["id"] for found in since_then}) == is_there, since
