"""/metrics of every stage tells its throughput, its lag, its dead letters and the state of its breakers."""

import pathlib
import re

import pytest
import requests

import topics
from stack import wait_until

# what has to be there for each stage, by meaning
TOLD = {
    "ingest": {
        "throughput": r"^tidewatch_ingest_samples_total",
        "lag": r"^tidewatch_ingest_\w*lag\w*",
        "refused": r"^tidewatch_ingest_rejected_samples_total\{reason=",
        "breaker": r'^tidewatch_breaker_state\{.*peer="kafka"',
    },
    "stream-processor": {
        "throughput": r"^tidewatch_stream_processor_samples_total",
        "lag": r"^tidewatch_stream_processor_lag_records",
        "lag in seconds": r"^tidewatch_stream_processor_lag_seconds",
        "dead letters": r"^tidewatch_stream_processor_dead_letters_total\{reason=",
        "commit latency": r"^tidewatch_stream_processor_commit_seconds_bucket",
        "watermark delay": r"^tidewatch_stream_processor_watermark_delay_seconds",
    },
    "analyzer": {
        "throughput": r"^tidewatch_analyzer_(values|windows|records)_total",
        "lag": r"^tidewatch_analyzer_lag_records",
        "dead letters": r"^tidewatch_analyzer_dead_letters_total",
        "alerts": r"^tidewatch_analyzer_alerts_total|^tidewatch_analyzer_open_alerts",
    },
    "sink": {
        "throughput": r"^tidewatch_sink_rows_total",
        "lag": r"^tidewatch_sink_lag_records",
        "dead letters": r"^tidewatch_sink_dead_letters_total",
        "breaker of postgresql": r'^tidewatch_breaker_state\{.*peer="postgres\w*"',
        "breaker of redis": r'^tidewatch_breaker_state\{.*peer="redis"',
    },
    "visualizer": {
        "throughput": r"^tidewatch_visualizer_requests_total",
        "lag": r"^tidewatch_visualizer_\w*lag\w*",
        "breaker of postgresql": r'^tidewatch_breaker_state\{.*peer="postgres\w*"',
        "breaker of redis": r'^tidewatch_breaker_state\{.*peer="redis"',
    },
    "gateway": {
        "throughput": r"^tidewatch_gateway_requests_total",
        "limited": r"^tidewatch_gateway_\w*limited\w*",
        "breakers": r"^tidewatch_breaker_state\{",
    },
}


@pytest.fixture(scope="module")
def worked(shared):
    """Something went through every stage."""
    body = [{"server": f"told-{i}", "metrics": {"told.value": i, "told.bad": "x"}} for i in range(4)]
    assert shared.ingest(body).status_code == 202
    wait_until(lambda: shared.get("/api/v1/servers").json(), 45, "a server in the API")
    query = "SELECT 1 FROM servers WHERE name = 'told-0'"
    wait_until(lambda: shared.sql(query), 45, "the windows of the server")
    return shared


@pytest.mark.parametrize("stage", TOLD)
def test_a_stage_tells_what_has_to_be_known(worked, stage):
    metrics = worked[stage].metrics()
    missing = [
        what for what, pattern in TOLD[stage].items() if not any(re.search(pattern, name) for name in metrics)
    ]
    assert not missing, f"{missing} in:\n" + "\n".join(sorted(n for n in metrics if n.startswith("tidewatch")))
    assert sum(v for n, v in metrics.items() if re.search(TOLD[stage]["throughput"], n)) > 0


def test_every_name_belongs_to_its_service(worked):
    for name, service in worked.services.items():
        own = f"tidewatch_{name.replace('-', '_')}_"
        foreign = [m for m in service.metrics() if not m.startswith((own, "tidewatch_breaker_", "process_", "tidewatch_store_", "tidewatch_build"))]
        assert not foreign, (name, foreign)


def test_refused_samples_are_counted_by_reason(worked):
    before = worked["ingest"].metrics()
    reason = 'tidewatch_ingest_rejected_samples_total{reason="not_a_number"}'
    worked.ingest({"server": "told-0", "metrics": {"told.value": 1, "a": "x", "b": True}})
    assert worked["ingest"].metrics()[reason] == before[reason] + 2


def test_dead_letters_are_counted_by_reason(worked):
    reason = 'tidewatch_stream_processor_dead_letters_total{reason="undecodable"}'
    before = worked["stream-processor"].metrics()[reason]
    client = topics.producer(worked)
    topics.send(client, topics.RAW, b"told-0", b"not a frame")
    topics.flush(client)
    wait_until(lambda: worked["stream-processor"].metrics()[reason] == before + 1, 15, "one more dead letter")


@pytest.mark.parametrize("stage", TOLD)
def test_a_stage_says_that_it_lives_and_can_work(worked, stage):
    for path in ("healthz", "readyz"):
        answer = requests.get(f"http://127.0.0.1:{worked[stage].admin_port}/{path}", timeout=5)
        assert answer.status_code == 200, answer.text


def test_no_metrics_through_the_gateway(worked):
    assert worked.call("GET", "/metrics", "admin").headers["content-type"].split(";")[0] != "text/plain"


def test_every_name_is_in_the_reference(worked):
    reference = (pathlib.Path(__file__).parents[2] / "docs/metrics/services.md").read_text()
    served = {re.sub(r"\{.*", "", m) for service in worked.services.values() for m in service.metrics()}
    known = set(re.findall(r"`(tidewatch_\w+)`", reference))
    names = {m for m in served if m.startswith("tidewatch_")}
    undocumented = {m for m in names if m not in known and re.sub(r"_(bucket|sum|count)$", "", m) not in known}
    assert not undocumented
