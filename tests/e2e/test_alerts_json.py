"""Alerts and anomalies as JSON, for those who have no Avro: what a subscriber sees, that our own readers read it, and that an alert
that began in one form goes on and ends in the other, in the same trace, when the setting is changed while it fires.
"""

import json
import re
import time

import pytest

import avro_contract as contract
import topics
from pipeline import PREFIX, Pipeline, Service
from stack import wait_until
from test_alerts import window

RULES = """\
rules:
  - {name: level, metric: json.level, above: 50, severity: critical}
"""
SERVER = "json-1"
# 200 quiet windows, then odd ones: 150 are only learned from
ODD = 200
TRACE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    return rules


@pytest.fixture(scope="module")
def pipeline(rules):
    settings = {"analyzer": ["--rules", rules, "--alerts-format", "json"]}
    pipeline = Pipeline("alerts as json", settings=settings)
    yield pipeline
    pipeline.close()


def records(pipeline, topic):
    """What is in a topic as it is: value, headers."""
    return [(message.value(), topics.headers(message)) for message in topics.read(pipeline, PREFIX + topic)]


class Source:
    def __init__(self, pipeline):
        self.client = topics.producer(pipeline)
        self.start = int(time.time() * 1000) // 10_000 * 10_000 - 10_000 * 300

    def send(self, indexes, level):
        for index in indexes:
            values = [level + (index * 7 % 11) / 10]
            frame = window(SERVER, self.start + index * 10_000, index, ["json.level"], values)
            topics.send(self.client, PREFIX + "metrics.10s", SERVER.encode(), contract.encode("aggregate_frame", frame))
        topics.flush(self.client)


def is_event(headers, kind, content_type):
    assert headers["content-type"] == content_type
    assert (headers["ce_specversion"], headers["ce_source"]) == ("1.0", "/tidewatch/analyzer")
    assert (headers["ce_type"], headers["ce_subject"]) == (kind, SERVER)
    return TRACE.fullmatch(headers["traceparent"]).groups()


def test_json_is_written_read_and_may_be_changed_while_an_alert_fires(pipeline, rules):
    source = Source(pipeline)
    source.send(range(ODD), 10)
    source.send(range(ODD, ODD + 3), 90)
    (firing, headers) = wait_until(lambda: records(pipeline, "alerts"), 60, "the alert fires")[0]
    firing = json.loads(firing)
    assert list(firing) == [field["name"] for field in contract.schema_json("alert")["fields"]]
    assert (firing["server"], firing["rule"], firing["status"], firing["ends_at"]) == (SERVER, "level", "firing", None)
    trace, span = is_event(headers, "io.tidewatch.alert.firing", "application/json")
    assert (trace, headers["ce_id"]) == (firing["alert_id"], firing["alert_id"] + ".firing")

    odd = wait_until(lambda: records(pipeline, "anomalies"), 30, "an anomaly")
    assert len({headers["ce_id"] for _, headers in odd}) == len(odd)
    for value, headers in odd:
        anomaly = json.loads(value)
        assert list(anomaly) == [field["name"] for field in contract.schema_json("anomaly")["fields"]]
        assert anomaly["server"] == SERVER and anomaly["score"] >= 1
        assert is_event(headers, "io.tidewatch.anomaly", "application/json")[0] == headers["ce_id"]
    # the bands are for our own readers, and stay Avro
    for value, headers in records(pipeline, "metrics.expected"):
        assert headers["content-type"] == "application/avro" and contract.decode("expectation", value)

    def shown(status):
        rows = pipeline.get("/api/v1/alerts", limit=100).json()
        return [row for row in rows if (row["alert_id"], row["status"]) == (firing["alert_id"], status)]

    wait_until(lambda: shown("firing"), 30, "the sink reads it")
    wait_until(lambda: pipeline.get("/api/v1/anomalies", server=SERVER).json(), 30, "and the anomalies")
    lines = pipeline.tool("alerts", "tail", "--from-beginning", "--json", "--idle-exit", "3s").splitlines()
    assert [json.loads(line)["alert_id"] for line in lines] == [firing["alert_id"]]

    # another instance in its place, which writes Avro: it reads back what fires
    first = pipeline.services.pop("analyzer")
    assert first.process.stop() == 0
    pipeline.services["analyzer"] = Service(
        pipeline.stack, "analyzer-avro", "analyzer", arguments=["--rules", rules, "--analyzer-instance", "avro"]
    )
    pipeline["analyzer"].await_ready()
    source.send(range(ODD + 3, ODD + 10), 10)
    (value, headers) = wait_until(lambda: records(pipeline, "alerts")[1:], 60, "the alert ends")[0]
    resolved = contract.decode("alert", value)
    assert (resolved["alert_id"], resolved["status"]) == (firing["alert_id"], "resolved")
    same, other = is_event(headers, "io.tidewatch.alert.resolved", "application/avro")
    assert same == trace and other != span, "one alert is one trace"
    wait_until(lambda: shown("resolved"), 30, "the end in the API")
