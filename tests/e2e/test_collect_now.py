"""A person asks for a server, and its collector, which has most of a minute to go, collects at once: once, however many ask."""

import json
import time

import pytest

import avro_contract as contract
import topics
from pipeline import PREFIX, Pipeline, Service, figure, new_port
from stack import wait_until
from test_bad_input import is_problem

HOST = "asked-host"
PATH = f"/api/v1/servers/{HOST}/collect"
REQUESTS = PREFIX + "collect.requests"


@pytest.fixture(scope="module")
def pipeline():
    pipeline = Pipeline("collect now", services=("ingest", "stream-processor", "sink", "visualizer", "gateway"))
    arguments = ["--ingest-listen", f"127.0.0.1:{new_port()}", "--collect-interval", "60s", "--server-name", HOST]
    collector = Service(pipeline.stack, "collector", "ingest", arguments=arguments)
    pipeline.services["collector"] = collector.await_ready()
    collector.process.wait_log("follow requests to collect")
    # its collector would need two minutes to make it known
    assert pipeline.ingest({"server": HOST, "metrics": {"asked.load": 1}}).status_code == 202
    wait_until(lambda: pipeline.call("GET", f"/api/v1/servers/{HOST}").status_code == 200, 60, "the server is known", every=0.5)
    yield pipeline
    pipeline.close()


def frames(pipeline):
    """What the collector sent, by its sequence."""
    records = [record for record in topics.read(pipeline, topics.RAW) if record.key() == HOST.encode() and record.value()]
    sent = [contract.decode("metric_frame", record.value()) for record in records]
    return sorted((frame for frame in sent if len(frame["values"]) > 20), key=lambda frame: frame["sequence"])


def outcomes(pipeline):
    counted = pipeline["collector"].metrics()
    names = ("collected", "coalesced", "expired", "other_server", "undecodable")
    return {name: counted[f'tidewatch_ingest_collect_requests_total{{outcome="{name}"}}'] for name in names}


def far_from_ticks():
    """A tick within a second of a request answers it, too."""
    wait_until(lambda: 5 < time.time() % 60 < 40, 60, "the middle of a minute")


def test_a_request_makes_a_frame_at_once(pipeline):
    far_from_ticks()
    before, counted = frames(pipeline), outcomes(pipeline)
    begun = time.time()
    answer = pipeline.call("POST", PATH)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert told["server"] == HOST and told["id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Location"] == told["see"]["metrics"]

    after = wait_until(lambda: len(found := frames(pipeline)) > len(before) and found, 10, "one frame more")
    assert len(after) == len(before) + 1
    frame = after[-1]
    assert begun * 1000 - 1 <= frame["collected_at"] < begun * 1000 + 5_000, "long before the tick"
    assert all(frame["sequence"] > earlier["sequence"] for earlier in before)
    figure(f"collect now: collected {frame['collected_at'] - begun * 1000:.0f} ms after it was asked for")
    grown = {name: value - counted[name] for name, value in outcomes(pipeline).items()}
    assert grown == {"collected": 1, "coalesced": 0, "expired": 0, "other_server": 0, "undecodable": 0}

    # where one is told to look, by whoever may read
    wait_until(lambda: pipeline.get(told["see"]["metrics"], metric="node_load1").json(), 60, "its value in the API", every=0.5)
    with pipeline.call("GET", told["see"]["live"], "viewer", stream=True) as live:
        assert live.status_code == 200 and live.headers["content-type"] == "text/event-stream"


def test_who_may_not_or_asks_too_often_is_refused(pipeline):
    for role in ("viewer", "writer"):
        is_problem(pipeline.call("POST", PATH, role), 403, "role_not_allowed")
    is_problem(pipeline.call("POST", "/api/v1/servers/nobody/collect"), 404, "unknown_server")
    answers = [pipeline.call("POST", PATH) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {202, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    is_problem(refused, 429, "too_many_requests")
    assert refused.headers["Retry-After"] == "1"


def test_what_is_no_request_for_it_is_counted_and_nothing_else(pipeline):
    far_from_ticks()
    # those of the test before are over
    time.sleep(1.1)
    before, counted = frames(pipeline), outcomes(pipeline)
    now = int(time.time() * 1000)
    client = topics.producer(pipeline)
    good = {"id": "x", "server": HOST, "requested_at": now, "requested_by": "test"}
    for value in (b"", b"rubbish", json.dumps(good | {"server": 7}).encode()):
        topics.send(client, REQUESTS, HOST.encode(), value)
    topics.send(client, REQUESTS, b"other", json.dumps(good | {"server": "other"}).encode())
    topics.send(client, REQUESTS, HOST.encode(), json.dumps(good | {"requested_at": now - 31_000}).encode())
    # three at once are one
    for _ in range(3):
        topics.send(client, REQUESTS, HOST.encode(), json.dumps(good).encode())
    topics.flush(client)

    def grown():
        return {name: value - counted[name] for name, value in outcomes(pipeline).items()}

    wanted = {"collected": 1, "coalesced": 2, "expired": 1, "other_server": 1, "undecodable": 3}
    wait_until(lambda: grown() == wanted, 15, f"{wanted}")
    wait_until(lambda: len(frames(pipeline)) == len(before) + 1, 10, "one frame for all of them")
