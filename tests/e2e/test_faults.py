"""Redis, PostgreSQL and Kafka go away one after the other, without warning, under load. Answers stay right, what was acknowledged
is counted once, and nothing of ours has to be restarted.
"""

import json
import statistics
import threading
import time

import pytest

from pipeline import figure
from stack import wait_until

OUTAGE = 30


class Feeder:
    """Sends frames by HTTP until told to stop; one that was not acknowledged is sent again under the same sequence."""

    METRIC = "fault.value"

    def __init__(self, pipeline, name, servers=5, every=0.25):
        self.pipeline, self.every = pipeline, every
        self.servers = [f"{name}-{i}" for i in range(servers)]
        self.acknowledged = 0
        self.refusals = []
        self.failure = None
        self.stop_wish = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            sequence = 0
            while not self.stop_wish.is_set():
                sequence += 1
                now = int(time.time() * 1000)
                body = [
                    {"server": s, "sequence": sequence, "timestamp": now, "metrics": {self.METRIC: sequence}}
                    for s in self.servers
                ]
                self._send(body)
                self.acknowledged += len(body)
                time.sleep(self.every)
        except Exception as error:  # told by the test's thread
            self.failure = error

    def _send(self, body):
        while True:
            answer = self.pipeline.ingest(body)
            if answer.status_code == 202:
                assert answer.json()["accepted"] == len(body), answer.text
                return
            assert answer.status_code in (429, 503), f"{answer.status_code} {answer.text}"
            self.refusals.append((answer.status_code, answer.json()["code"], answer.headers.get("Retry-After")))
            time.sleep(min(float(answer.headers["Retry-After"]), 2.0))

    def stop(self):
        self.stop_wish.set()
        self.thread.join(60)
        assert self.failure is None, self.failure
        return self.acknowledged

    def counted(self):
        rows = self.pipeline.sql(
            "SELECT coalesce(sum(s.count), 0)::bigint FROM samples_10s s JOIN series e ON e.id = s.series_id"
            " JOIN servers v ON v.id = e.server_id WHERE v.name = ANY(%s) AND e.metric_name = %s",
            self.servers,
            self.METRIC,
        )
        return rows[0][0]

    def await_all(self, within):
        """Every acknowledged frame is in PostgreSQL, and no other."""
        began = time.monotonic()
        wait_until(lambda: self.counted() >= self.acknowledged, within, f"{self.acknowledged} samples", every=0.5)
        assert self.counted() == self.acknowledged
        return time.monotonic() - began


@pytest.fixture(scope="module")
def past(shared):
    """Servers with an alert and two minutes of history that does not change any more: what to ask, as paths."""
    # all of it older than a minute: what ends later counts as "the last so much", which changes with the clock
    start = (int(time.time() * 1000) - 112_000) // 10_000 * 10_000
    end = start + 50_000
    for second in range(50):
        at = start + second * 1000
        body = [
            {
                "server": f"past-{i}",
                "sequence": second + 1,
                "timestamp": at,
                "metrics": {"past.gauge": second / 8 + i, "past.things_total": 10 * second, "alarm.level": 90 if i else 1},
                "labels": {"zone": "a"},
            }
            for i in range(4)
        ]
        assert shared.ingest(body).status_code == 202

    query = (
        "SELECT coalesce(sum(s.count), 0)::bigint FROM samples_10s s JOIN series e ON e.id = s.series_id"
        " WHERE e.metric_name = 'past.gauge'"
    )
    wait_until(lambda: shared.sql(query)[0][0] == 200, 60, "the windows of the past", every=0.5)
    firing = "SELECT count(*) FROM alerts WHERE rule = 'alarm' AND status = 'firing'"
    wait_until(lambda: shared.sql(firing)[0][0] == 3, 30, "the alerts of the past", every=0.5)
    # the list of servers is a second or two old
    last_seen = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(end / 1000))
    wait_until(lambda: shared.get("/api/v1/servers/past-1").json()["last_seen"] == last_seen, 5, f"{last_seen} in the list", every=0.5)
    shared.check_logs()
    window = f"from={start}&to={end}"
    return [
        "/api/v1/servers",
        "/api/v1/servers/past-1",
        f"/api/v1/metrics/past-0?{window}&limit=10000",
        f"/api/v1/metrics/past-1?metric=past.gauge&{window}",
        f"/api/v1/query?server=past-0&{window}&step=10000",
        f"/api/v1/query?server=past-2&metric=past.things_total&{window}&step=20000",
        "/api/v1/alerts?server=past-1",
        f"/api/v1/anomalies?{window}",
    ]


def ask(pipeline, paths):
    """path -> (what it says, its headers, how long it took)."""
    answers = {}
    for path in paths:
        began = time.monotonic()
        answer = pipeline.call("GET", path, "viewer")
        seconds = time.monotonic() - began
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        body = answer.json()
        if isinstance(body, dict):
            body.pop("as_of", None)
        answers[path] = (body, answer.headers, seconds)
    return answers


def bodies(answers):
    return {path: body for path, (body, _, _) in answers.items()}


def sources(answers):
    return {headers.get("X-Tidewatch-Source") for _, headers, _ in answers.values()}


def milliseconds(answers):
    return statistics.median(seconds for _, _, seconds in answers.values()) * 1000


def marked(answers, header):
    return [path for path, (_, headers, _) in answers.items() if headers.get(header)]


def test_without_redis_every_answer_is_the_same(shared, past):
    before = ask(shared, past)
    assert all(len(body) > 0 for path, body in bodies(before).items() if "anomalies" not in path)
    assert not marked(before, "X-Tidewatch-Degraded")
    # or nothing would be proved by taking it away
    assert "redis" in sources(before), sources(before)
    with shared.expecting(r"(?i)redis"):
        shared.stack.kill_part("redis")
        try:
            without = ask(shared, past)
            assert bodies(without) == bodies(before)
            # what was asked first finds out; from then on it is known
            again = ask(shared, past)
            assert bodies(again) == bodies(before)
            assert sources(again) == {"postgres"}
            reads = [path for path in past if "anomalies" not in path]
            missing = [path for path in reads if again[path][1].get("X-Tidewatch-Degraded") != "redis"]
            assert not missing, f"not marked as degraded: {missing}"
            feeder = Feeder(shared, "noredis")
            wait_until(lambda: feeder.acknowledged >= 40, 20, "samples while Redis is away")
            feeder.stop()
            feeder.await_all(45)
        finally:
            shared.stack.start_part("redis")

        def healed():
            return not marked(ask(shared, past), "X-Tidewatch-Degraded")

        wait_until(healed, 45, "the mark is gone", every=1)
        after = bodies(ask(shared, past))
        # the list of servers has grown by the feeder's
        others = {path: (body, after[path]) for path, body in bodies(before).items() if after[path] != body}
        others.pop("/api/v1/servers", None)
        assert not others, json.dumps(others)[:4000]
    figure(
        f"faults: Redis away: {len(past)} of {len(past)} answers equal, median {milliseconds(before):.0f} ms before,"
        f" {milliseconds(without):.0f} ms while it was found out, {milliseconds(again):.0f} ms after"
    )


def test_postgresql_away_for_30_s_answers_are_stale_and_nothing_is_lost(shared, past):
    feeder = Feeder(shared, "nopostgres")
    wait_until(lambda: feeder.counted() > 0, 45, "the first samples of the feeder", every=0.5)
    before = ask(shared, past)
    pids = {name: service.process.pid for name, service in shared.services.items()}
    with shared.expecting(r"(?i)postgres", r"(?i)history", r"(?i)pool timed out", r"(?i)breaker"):
        shared.stack.kill_part("postgres")
        gone = time.monotonic()
        asked = 0
        try:
            while time.monotonic() - gone < OUTAGE:
                during = ask(shared, past)
                asked += len(during)
                for path in past:
                    if path != "/api/v1/servers":
                        assert during[path][0] == before[path][0], f"{path} says something else"
                time.sleep(0.5)
            stale = marked(during, "X-Tidewatch-Stale")
            assert stale, "no answer is marked as stale"
            for path in stale:
                assert during[path][1]["X-Tidewatch-Stale"] == "true" and int(during[path][1]["Age"]) >= 0
            # what only PostgreSQL knows and nobody asked before
            unknown = shared.call("GET", "/api/v1/metrics/past-0?from=now-30d&to=now-29d", "viewer")
            assert unknown.status_code == 503 and unknown.json()["code"] == "history_unavailable", unknown.text
            assert int(unknown.headers["Retry-After"]) > 0
        finally:
            shared.stack.start_part("postgres")
        back = time.monotonic()
        acknowledged = feeder.stop()
        assert not feeder.refusals, "ingest does not need PostgreSQL"
        feeder.await_all(90)
        caught_up = time.monotonic() - back

        def healed():
            return not marked(ask(shared, past), "X-Tidewatch-Stale")

        wait_until(healed, 45, "the mark is gone", every=0.5)
    assert {name: service.process.pid for name, service in shared.services.items()} == pids
    figure(
        f"faults: PostgreSQL away for {OUTAGE} s: {asked} answers, all 200 and as before, {len(stale)} of {len(past)} marked stale;"
        f" {acknowledged} of {acknowledged} acknowledged samples there {caught_up:.1f} s after it was back (idle timeout of 15 s included)"
    )


def test_kafka_away_for_30_s_is_told_and_everything_recovers(shared, past):
    feeder = Feeder(shared, "nokafka")
    wait_until(lambda: feeder.counted() > 0, 45, "the first samples of the feeder", every=0.5)
    pids = {name: service.process.pid for name, service in shared.services.items()}
    with shared.expecting(r"(?i)kafka", r"(?i)broker", r"session ended, restore from the last commit", r"(?i)transport"):
        shared.stack.kill_part("kafka")
        gone = time.monotonic()
        try:
            wait_until(lambda: feeder.refusals, 25, "ingest refuses")
            status, code, retry_after = feeder.refusals[0]
            assert (status, code) == (503, "kafka_unavailable") and int(retry_after) > 0
            assert bodies(ask(shared, past[2:4])), "reads go on"
            time.sleep(max(0.0, OUTAGE - (time.monotonic() - gone)))
        finally:
            shared.stack.start_part("kafka")
        back, known = time.monotonic(), feeder.acknowledged
        wait_until(lambda: feeder.acknowledged > known, 60, "ingest accepts again")
        accepted = time.monotonic() - back
        # a window that began after the outage says that the whole chain works again
        began = time.time()
        query = "SELECT 1 FROM servers WHERE name = %s AND last_seen > to_timestamp(%s)"
        wait_until(lambda: shared.sql(query, feeder.servers[0], began), 90, "windows from after the outage", every=0.5)
        flowing = time.monotonic() - back
        acknowledged = feeder.stop()
        feeder.await_all(90)
        for service in shared.services.values():
            service.await_ready()
    assert {name: service.process.pid for name, service in shared.services.items()} == pids
    figure(
        f"faults: Kafka away for {OUTAGE} s: {len(feeder.refusals)} refusals, all 503 with Retry-After; ingest accepts again after"
        f" {accepted:.1f} s, windows arrive after {flowing:.1f} s; {acknowledged} of {acknowledged} acknowledged samples counted once"
    )
    assert {status for status, _, _ in feeder.refusals} == {503}
