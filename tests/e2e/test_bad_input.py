"""What is bad gets a reason, and the good around it goes on: at the HTTP door, on the raw topic, in settings, without a key."""

import json
import socket
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import avro_contract as contract
import topics
from pipeline import PROGRAM, clean_environment
from stack import wait_until

LONG = "x" * 10_240


def is_problem(answer, status, code):
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code and problem["status"] == status, problem
    assert problem["type"] == f"https://tidewatch.io/problems/{code}" and problem["title"] and problem["detail"], problem
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


def good(server, **more):
    return {"server": server, "metrics": {"door.good": 1.5}} | more


# name -> (what is added to a good object's place, the reason, how many samples it costs)
BAD_OBJECTS = {
    "no-server": ({"metrics": {"a": 1, "b": 2}}, "bad_server_name", 2),
    "empty-server": (good(""), "bad_server_name", 1),
    "number-for-server": ({"server": 5, "metrics": {"a": 1}}, "bad_server_name", 1),
    "long-server": (good(LONG), "name_too_long", 1),
    "long-metric": ({"server": "door-bad", "metrics": {LONG: 1}}, "name_too_long", 1),
    "empty-metric": ({"server": "door-bad", "metrics": {"": 1}}, "bad_metric_name", 1),
    "metric-with-blank": ({"server": "door-bad", "metrics": {"a b": 1}}, "bad_metric_name", 1),
    "text-for-number": ({"server": "door-bad", "metrics": {"a": "NaN"}}, "not_a_number", 1),
    "true-for-number": ({"server": "door-bad", "metrics": {"a": True}}, "not_a_number", 1),
    "bad-label": (good("door-bad", labels={"a b": "c"}), "bad_label", 1),
    "long-label": (good("door-bad", labels={"a": LONG}), "name_too_long", 1),
    "no-metrics": ({"server": "door-bad", "metrics": {}}, "no_metrics", 1),
    "only-null": ({"server": "door-bad", "metrics": {"a": None}}, "no_metrics", 1),
    "negative-sequence": (good("door-bad", sequence=-1), "bad_sequence", 1),
    "words-for-time": (good("door-bad", timestamp="yesterday"), "bad_timestamp", 1),
    "seconds-for-time": (good("door-bad", timestamp=1_795_000_000), "bad_timestamp", 1),
    "far-future": (good("door-bad", timestamp="2999-01-01T00:00:00Z"), "bad_timestamp", 1),
    "no-object": (17, "bad_json", 1),
}


@pytest.mark.parametrize("case", BAD_OBJECTS)
def test_a_bad_object_is_told_and_the_good_rest_counted(shared, case):
    bad, reason, samples = BAD_OBJECTS[case]
    server = f"door-{case}"
    answer = shared.ingest([good(server), bad, good(server)])
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["accepted"], told["samples"], told["rejected"]) == (2, 2, samples), told
    assert [(e["index"], e["code"]) for e in told["errors"]] == [(1, reason)], told
    assert told["errors"][0]["detail"] and len(answer.content) < 2_000
    alone = is_problem(shared.ingest(bad if isinstance(bad, dict) else [bad]), 422, "rejected")
    assert [e["code"] for e in alone["errors"]] == [reason]


def test_nan_and_infinity_are_not_numbers(shared):
    for number in ("1e999", "-1e999", "NaN", "-Infinity"):
        body = '{"server": "door-inf", "metrics": {"a": %s, "door.good": 1}}' % number
        answer = shared.call("POST", "/api/v1/ingest", "writer", data=body)
        assert answer.status_code == 202 and [e["code"] for e in answer.json()["errors"]] == ["not_a_number"]


def test_a_body_that_is_no_json_or_too_large(shared):
    for body in (b"", b"{", b'{"server": "a"} {', b"\xff\xfe", b"[" * 100_000, b'"text"'):
        is_problem(shared.call("POST", "/api/v1/ingest", "writer", data=body), 400, "bad_json")
    large = b'{"server": "a", "metrics": {"a": 1}, "pad": "%s"}' % (b"x" * (5 << 20))
    try:
        answer = shared.call("POST", "/api/v1/ingest", "writer", data=large)
    except requests.ConnectionError:
        # the door may close before it has read 5 MiB; then nothing was taken either
        return
    is_problem(answer, 413, "body_too_large")


def test_the_good_rest_at_the_door_is_in_postgresql(shared):
    wanted = {f"door-{case}": 2 for case in BAD_OBJECTS} | {"door-inf": 4}

    def counts():
        rows = shared.sql(
            "SELECT v.name, sum(s.count)::bigint FROM samples_10s s JOIN series e ON e.id = s.series_id"
            " JOIN servers v ON v.id = e.server_id WHERE v.name LIKE 'door-%' GROUP BY 1"
        )
        found = dict(rows)
        return found if sum(found.values()) >= sum(wanted.values()) else None

    assert wait_until(counts, 60, "the good samples in PostgreSQL", every=0.5) == wanted


def frame(server, at, metrics=("topic.good",), values=(2.5,), **more):
    layout = [{"metric": m, "labels": {}, "kind": "gauge", "unit": ""} for m in metrics]
    base = {"server": server, "sequence": 0, "collected_at": at, "layout_id": 0, "layout": layout, "values": list(values)}
    return base | more


def avro(*args, **more):
    return contract.encode("metric_frame", frame(*args, **more))


def bad_records(now):
    """name -> (the bytes of a record, the reason, good samples in it all the same)."""
    good_one = avro("topic-bytes", now)
    giant = contract.header("metric_frame") + b"\x02a\x00\x00\x00" + b"\x80" * 8 + b"\x20"
    alert = json.loads((contract.SCHEMAS / "fixtures/alert/firing.json").read_text())
    nan, inf = float("nan"), float("inf")
    return {
        "garbage": (b"\xfe\xed not a frame", "undecodable", 0),
        "nothing": (None, "undecodable", 0),
        "half": (good_one[:-4], "undecodable", 0),
        "too-much": (good_one + b"\x00", "undecodable", 0),
        "bomb": (giant, "undecodable", 0),
        "bad-json": (b'{"server": "topic-bad-json", "collected_at": ', "bad_json", 0),
        "deep-json": (b'{"server": ' + b"[" * 50_000, "bad_json", 0),
        "other-schema": (contract.encode("alert", alert), "unknown_schema", 0),
        "mismatch": (avro("topic-mismatch", now, ("topic.good", "b"), (1.0,)), "layout_mismatch", 0),
        "unknown-layout": (avro("topic-unknown-layout", now, (), (1.0,), layout_id=99), "unknown_layout", 0),
        "empty": (avro("topic-empty", now, (), ()), "no_metrics", 0),
        "future": (avro("topic-future", now + 300_000), "future", 0),
        "end-of-time": (avro("topic-end", 2**62), "future", 0),
        "never-set-clock": (avro("topic-zero", 0), "bad_timestamp", 0),
        "before-time": (avro("topic-before", -(2**62)), "bad_timestamp", 0),
        "empty-name": (avro("", now), "bad_server_name", 0),
        "control-name": (avro("a\nb", now), "bad_server_name", 0),
        "long-name": (avro(LONG, now), "name_too_long", 0),
        "long-metric": (avro("topic-long-metric", now, ("topic.good", LONG), (1.0, 2.0)), "name_too_long", 1),
        "bad-metric": (avro("topic-bad-metric", now, ("1 x", "topic.good"), (1.0, 2.0)), "bad_metric_name", 1),
        "infinite": (avro("topic-infinite", now, ("a", "topic.good"), (inf, 2.0)), "not_a_number", 1),
        "only-infinite": (avro("topic-only-infinite", now, ("a",), (-inf,)), "not_a_number", 0),
        "only-absent": (avro("topic-only-absent", now, ("a",), (nan,)), None, 0),
        "absent": (avro("topic-absent", now, ("a", "topic.good"), (nan, 2.0)), None, 1),
        "same-series": (avro("topic-same", now, ("topic.good",) * 2, (1.0, 2.0)), "duplicate_series", 1),
        "first": (avro("topic-repeat", now, sequence=9), None, 1),
        "repeat": (avro("topic-repeat", now, sequence=9), "duplicate", 0),
        "json": (json.dumps(frame("topic-json", now, values=(1,))).encode(), None, 1),
        "registry": (b"\x00" + struct.pack(">I", 7) + avro("topic-registry", now)[10:], None, 1),
    }


def test_bad_records_go_to_the_dead_letter_and_the_stream_goes_on(shared):
    """All into one partition, each with a good frame of one server around it."""
    partition = 3
    letters_from = topics.ends(shared, topics.DEAD_LETTER)
    raw_from = topics.ends(shared, topics.RAW)
    now = int(time.time() * 1000)
    cases = bad_records(now)
    client = topics.producer(shared)
    for index, (name, (value, _, _)) in enumerate(cases.items()):
        topics.send(client, topics.RAW, b"topic-around", avro("topic-around", now + index), partition=partition)
        topics.send(client, topics.RAW, name.encode(), value, [("x-own", b"kept?")], partition)
    topics.send(client, topics.RAW, b"topic-around", avro("topic-around", now + len(cases)), partition=partition)
    topics.flush(client)
    wanted = {name: reason for name, (_, reason, _) in cases.items() if reason}

    def letters():
        found = [m for m in topics.read(shared, topics.DEAD_LETTER, letters_from) if m.key()]
        return found if len(found) >= len(wanted) else None

    found = wait_until(letters, 30, f"{len(wanted)} dead letters", every=0.5)
    offsets = {m.key().decode(): m.offset() for m in topics.read(shared, topics.RAW, raw_from) if m.key()}
    assert {m.key().decode(): topics.headers(m)["__connect.errors.exception.class.name"] for m in found} == wanted
    for message in found:
        name, said = message.key().decode(), topics.headers(message)
        assert (message.value() or None) == cases[name][0], f"{name}: the bytes are not the original ones"
        assert said["__connect.errors.topic"] == topics.RAW
        assert said["__connect.errors.partition"] == str(partition)
        assert said["__connect.errors.offset"] == str(offsets[name])
        assert said["__connect.errors.stage"] == "stream-processor"
        assert said["__connect.errors.exception.message"]
    good_samples = len(cases) + 1 + sum(extra for _, _, extra in cases.values())

    def counted():
        rows = shared.sql(
            "SELECT coalesce(sum(s.count), 0)::bigint FROM samples_10s s JOIN series e ON e.id = s.series_id"
            " WHERE e.metric_name = 'topic.good'"
        )
        return rows[0][0]

    wait_until(lambda: counted() >= good_samples, 60, f"{good_samples} good samples", every=0.5)
    assert counted() == good_samples
    servers = {name for (name,) in shared.sql("SELECT name FROM servers WHERE name LIKE 'topic-%'")}
    refused = {"topic-mismatch", "topic-unknown-layout", "topic-empty", "topic-future", "topic-only-infinite", "topic-only-absent"}
    assert "topic-around" in servers and not servers & refused


def refused(*words):
    """A start that has to fail: exit code and what it said."""
    done = subprocess.run(
        [PROGRAM, *map(str, words)], env=clean_environment(), capture_output=True, text=True, timeout=20
    )
    return done.returncode, done.stderr.strip(), done.stdout


@pytest.fixture
def taken():
    """A port that somebody else listens on: whoever binds before it reads its settings complains about it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("service", ["ingest", "stream-processor", "analyzer", "notify", "sink", "visualizer", "gateway"])
def test_an_unknown_key_is_named_with_file_and_line(tmp_path, taken, service):
    path = tmp_path / "settings.yaml"
    path.write_text("# settings\nlog: info\nkafka-brokerz: 127.0.0.1:1\n")
    code, said, printed = refused(service, "--config", path, "--admin-listen", taken)
    assert code == 64 and not printed
    assert said.startswith(f"{path}:3: ") and "kafka-brokerz" in said and len(said.splitlines()) == 1, said


def test_a_bad_value_is_named_with_file_and_line(tmp_path, taken):
    path = tmp_path / "settings.yaml"
    path.write_text("log: info\nwindow-grace: soon\n")
    code, said, _ = refused("stream-processor", "--config", path, "--admin-listen", taken)
    assert code == 64 and f"{path}:2: " in said and "soon" in said, said


@pytest.mark.parametrize(
    "text, line",
    [
        ("rules:\n  - name: a\n    metric: m\n    above: 1\n    colour: red\n", 5),
        ("rules:\n  - name: a\n    metric: m\n    above: 1\n    for: soon\n", 5),
        ("rules:\n  - name: a\n    metric: m\n    above: 1\n  - name: a\n    metric: m\n    above: 1\n", 5),
        ("rules:\n  - name: a\n    metric: m\n    above: 1\n    server: '=~('\n", 5),
        ("rules: [\n", None),
    ],
    ids=["unknown-key", "bad-duration", "name-twice", "bad-expression", "no-yaml"],
)
def test_a_bad_rule_is_named_with_file_and_line(tmp_path, taken, text, line):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    code, said, _ = refused("analyzer", "--rules", path, "--admin-listen", taken)
    assert code == 64 and f"{path}:{line or ''}" in said and len(said.splitlines()) == 1, said
    # the same is said of a file before anything runs under it
    code, checked, printed = refused("rules", "check", path)
    assert code == 64 and checked.startswith(f"{path}:{line or ''}") and checked in said and not printed, checked


@pytest.mark.parametrize("service", ["ingest", "visualizer", "gateway"])
def test_a_port_in_use_is_one_sentence(shared, tmp_path, taken, service):
    words = ["--keys", shared.keys_file] if service == "gateway" else []
    done = subprocess.run(
        [PROGRAM, service, f"--{service}-listen", taken, *words],
        env=shared.environment,
        capture_output=True,
        text=True,
        timeout=20,
    )
    errors = [line for line in done.stderr.splitlines() if '"INFO"' not in line]
    assert done.returncode == 64 and len(errors) == 1 and taken in errors[0] and "in use" in errors[0], done.stderr


def test_the_whole_in_one_process_says_that_its_port_is_in_use(shared, taken):
    done = subprocess.run(
        [PROGRAM, "up", "--listen", taken], env=shared.environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 64 and taken in done.stderr and "in use" in done.stderr and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_no_key_and_wrong_keys(shared):
    is_problem(shared.call("GET", "/api/v1/servers", None), 401, "missing_key")
    is_problem(shared.call("POST", "/api/v1/ingest", None, json=good("nobody")), 401, "missing_key")
    right = shared.keys["viewer"]
    for wrong in ("x", right[:-1], right + "A", right.swapcase(), right.replace("tw_v_", "tw_a_"), "tw_v_" + "A" * 43):
        answer = shared.call("GET", "/api/v1/servers", None, headers={"Authorization": f"Bearer {wrong}"})
        is_problem(answer, 401, "wrong_key")
        assert "www-authenticate" in answer.headers
    with_header = shared.call("GET", "/api/v1/servers", None, headers={"X-Api-Key": right})
    assert with_header.status_code == 200


def test_a_role_may_do_its_own_things_only(shared):
    is_problem(shared.ingest(good("nobody"), role="viewer"), 403, "role_not_allowed")
    is_problem(shared.call("GET", "/api/v1/servers", "writer"), 403, "role_not_allowed")
    assert shared.ingest(good("door-roles"), role="admin").status_code == 202
    assert shared.call("GET", "/api/v1/servers", "admin").status_code == 200
    assert not shared.sql("SELECT 1 FROM servers WHERE name = 'nobody'")


def test_bad_parameters_and_unknown_things(shared):
    for path in ("/api/v1/query?server=door-roles&from=soon", "/api/v1/query", "/api/v1/alerts?limit=many"):
        is_problem(shared.call("GET", path, "viewer"), 400, "bad_parameter")
    is_problem(shared.call("GET", "/api/v1/metrics/no-such-server", "viewer"), 404, "unknown_server")
    is_problem(shared.call("GET", "/api/v1/no-such-path", "viewer"), 404, "unknown_path")


def test_too_fast_is_told_when_to_come_back(shared):
    """A client of its own, so that nobody else's bucket is emptied."""
    key = shared.make_key("hasty", "viewer")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"
    url = shared.url + "/api/v1/alerts"
    wait_until(lambda: session.get(url, timeout=5).status_code == 200, 15, "the new key is known", every=0.5)

    def burst(_):
        with requests.Session() as one:
            one.headers.update(session.headers)
            return [one.get(url, timeout=10) for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for some in pool.map(burst, range(8)) for answer in some]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}, {a.status_code for a in answers}
    is_problem(limited[0], 429, "too_many_requests")
    wait = int(limited[-1].headers["Retry-After"])
    assert 0 < wait <= 60 and "r=0" in limited[0].headers["RateLimit"] and "q=" in limited[0].headers["RateLimit-Policy"]
    assert shared.call("GET", "/api/v1/alerts", "viewer").status_code == 200, "another client pays for it"
    wait_until(lambda: session.get(url, timeout=5).status_code == 200, wait + 5, "the client may come back")
