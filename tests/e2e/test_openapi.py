"""The interface keeps to its own description: schemathesis asks, through the gateway, what the OpenAPI document allows and much
that it does not. No answer is a fault (5xx), and each is one that the document tells. The live stream, which never ends, is read
by hand: who comes back to it misses no window.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from pipeline import Pipeline, clean_environment, figure
from stack import wait_until

SECONDS = int(os.environ.get("TIDEWATCH_OPENAPI_SECONDS", "60"))
SEED = int(os.environ.get("TIDEWATCH_OPENAPI_SEED", "1"))
# the names in the document's examples
SERVER = "web-1"
ALERT = "0f343b0931126a20f133d67c2b018a3b"
SILENCE = 1
STEP = 10_000


@pytest.fixture(scope="module")
def pipeline():
    """Its gateway lets one client ask as fast as it can."""
    services = ("ingest", "stream-processor", "sink", "visualizer", "gateway")
    pipeline = Pipeline("openapi", services, {"gateway": ["--rate", "100000/s", "--burst", "100000"]})
    try:
        now = int(time.time() * 1000)
        body = [
            {"server": name, "timestamp": at, "metrics": {"node_load1": at % 7, "node_disk_read_bytes_total": at - now + 180_000}}
            for name in (SERVER, "db.fra-2")
            for at in range(now - 120_000, now, 1_000)
        ]
        answer = pipeline.ingest(body)
        assert answer.status_code == 202 and answer.json()["accepted"] == len(body), answer.text
        query = "SELECT count(*) FROM samples_10s s JOIN series e ON e.id = s.series_id JOIN servers v ON v.id = e.server_id WHERE v.name = %s"
        wait_until(lambda: pipeline.sql(query, SERVER)[0][0] > 3, 60, "windows of the server", every=0.5)
        seed_alert(pipeline)
        yield pipeline
    except BaseException:
        pipeline.stack.close(keep=True)
        raise
    pipeline.close()


def seed_alert(pipeline):
    """An incident of one alert, and a silence."""
    alert = (
        "INSERT INTO alerts (alert_id, fingerprint, incident_id, server_id, status, severity, rule, starts_at, updated_at, title,"
        " explanation, metric_name) SELECT %s, 'f', %s, id, 'firing', 'warning', 'learned', now(), now(), 'Load', '', 'node_load1'"
        " FROM servers WHERE name = %s RETURNING alert_id"
    )
    assert pipeline.sql(alert, ALERT, ALERT, SERVER) == [(ALERT,)]
    silence = {"matchers": {"server": "db.*"}, "ends_at": "now+1h", "comment": "x"}
    assert pipeline.call("POST", "/api/v1/silences", json=silence).json()["id"] == SILENCE


@pytest.mark.timeout(SECONDS + 240)
def test_no_question_breaks_the_document(pipeline, tmp_path):
    report = tmp_path / "report.json"
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{pipeline.url}/api/v1/openapi.json",
        # who may call everything
        "--header", f"Authorization: Bearer {pipeline.keys['admin']}",
        "--exclude-path", "/api/v1/live",
        # a document can't say that `from` is before `to`: what fits it may still be a 400
        "--exclude-checks", "positive_data_acceptance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "100000", "--max-time", str(SECONDS),
        "--continue-on-failure", "--request-timeout", "20", "--seed", str(SEED), "--generation-database", "none",
        "--report", "json", "--report-json-path", report, "--no-color",
    ]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=SECONDS + 200
    )
    said = done.stdout[-12_000:] + done.stderr[-2_000:]
    assert report.exists(), said
    told = json.loads(report.read_text())
    assert not told["failures"] and not told["errors"] and done.returncode == 0, said

    document = pipeline.get("/api/v1/openapi.json").json()
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    # one never ends, the other takes no parameter
    asked = operations - {"GET /api/v1/live", "GET /api/v1/openapi.json"}
    # each call was understood now and then, not only refused
    good = {name: sum(phase["accepted"] for phase in phases.values()) for name, phases in told["valid_rates"].items()}
    assert set(good) == asked and all(good.values()), good
    cases = told["test_cases"]["generated"]
    assert cases >= 5 * SECONDS, said
    figure(
        f"openapi: {cases} cases of {len(asked)} calls in {told['running_time']:.0f} s, seed {SEED}: no fault, nothing that the"
        f" document does not tell; {sum(good.values())} were answered in full"
    )


class Reader:
    """A live stream as a program reads it: the events of a connection, and the last id."""

    def __init__(self, pipeline, server):
        self.pipeline, self.server, self.last_id = pipeline, server, None

    def events(self):
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        answer = self.pipeline.call("GET", f"/api/v1/live?server={self.server}", "viewer", headers=headers, stream=True)
        assert answer.status_code == 200 and answer.headers["content-type"] == "text/event-stream", answer.headers
        with answer:
            event = {}
            for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif "event" in event:
                    self.last_id = event["id"]
                    yield event["event"], json.loads(event["data"])
                    event = {}

    def window(self):
        """The first window of a new connection, and what came before it."""
        before = []
        for name, data in self.events():
            if name == "window":
                return data["from"], before
            before.append(name)
        raise AssertionError(f"the stream ended after {before}")


def test_who_comes_back_to_the_stream_misses_no_window(pipeline):
    server = "sim-0001"
    process = pipeline.simulate("--servers", 1, "--interval", "1s", "--duration", "5m")
    try:
        wait_until(lambda: pipeline.call("GET", f"/api/v1/servers/{server}").status_code == 200, 60, "the server in the API", every=0.5)
        reader = Reader(pipeline, server)
        first, before = reader.window()
        assert before[0] == "hello"
        newest = "SELECT max(s.ts) FROM samples_10s s JOIN series e ON e.id = s.series_id JOIN servers v ON v.id = e.server_id WHERE v.name = %s"
        # two more go by unread
        gone = first + 2 * STEP
        wait_until(lambda: pipeline.sql(newest, server)[0][0].timestamp() * 1000 >= gone, 60, "two more windows", every=0.5)
        for expected in (first + STEP, gone):
            window, before = reader.window()
            assert (window, before) == (expected, ["hello"])
    finally:
        process.kill()
        process.wait()


def test_an_id_that_is_none_is_answered_by_resync_and_a_bad_parameter_by_a_problem(pipeline):
    reader = Reader(pipeline, SERVER)
    reader.last_id = "rubbish"
    assert next(reader.events())[0] == "resync"
    assert next(reader.events())[0] == "hello", "with the id of the resync"
    for query in ("server=nobody", "servers=web-1", "server=web-1&server=web-1"):
        answer = pipeline.call("GET", f"/api/v1/live?{query}", "viewer")
        assert answer.headers["content-type"] == "application/problem+json" and answer.status_code in (400, 404), answer.text
    assert requests.get(f"{pipeline.url}/api/v1/openapi.json", timeout=5).status_code == 401
