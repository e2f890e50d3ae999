"""PostgreSQL and sinks are killed, hang and are refused while two sinks write: afterwards the tables hold what was sent, once.

TIDEWATCH_SINK_ROWS, TIDEWATCH_SINK_KILLS: rows to write at least, and how often PostgreSQL is killed (5,000,000 and 10 for a release).
TIDEWATCH_SINK_RATE: rows a second. TIDEWATCH_SINK_SEED: what happens when.
"""

import os
import random
import re
import signal
import time

import psycopg
import psycopg.sql
import pytest
import requests
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

import topics
import windows
from pipeline import PREFIX, Pipeline, Service, figure, is_surprise
from stack import wait_until
from windows import TOPIC, WINDOW, Flow

ASKED = "TIDEWATCH_SINK_ROWS" in os.environ
ROWS = int(os.environ.get("TIDEWATCH_SINK_ROWS") or 400_000)
KILLS = int(os.environ.get("TIDEWATCH_SINK_KILLS") or 3)
RATE = int(os.environ.get("TIDEWATCH_SINK_RATE") or 16_000)
SEED = int(os.environ.get("TIDEWATCH_SINK_SEED") or 1)
SERVERS, SERIES = 80, 100
GOAL = 15.0
GROUP = f"{PREFIX}sink"
SINKS = ("sink-a", "sink-b")
SESSION = 6

GONE = (
    r"(?i)postgres",
    r"write batch, pause and try until it works",
    r"another instance writes our partitions, join again",
    r"membership ended, join again",
    # the one that hung
    r"Consumer group session timed out",
    r"Offset commit \(manual\) failed.*Unknown member",
    # of PostgreSQL, to those whose neighbour was killed
    r"because of crash of another server process",
)


@pytest.fixture(scope="module")
def pipeline():
    pipeline = Pipeline("sink faults", services=())
    for name in SINKS:
        # the flow is of half a day ago: rows that were packed would be elsewhere
        env = {"TIDEWATCH_KAFKA_SESSION_TIMEOUT": f"{SESSION}s", "TIDEWATCH_SINK_PACK_AFTER": "off"}
        pipeline.services[name] = Service(pipeline.stack, name, "sink", env=env)
    for name in SINKS:
        pipeline[name].await_ready()
    yield pipeline
    pipeline.close()


class Lag:
    """Records of the topic that PostgreSQL does not have yet."""

    def __init__(self, pipeline):
        self.pipeline, self.connection = pipeline, None
        self.client = Consumer({"bootstrap.servers": pipeline.brokers, "group.id": "lag", "log_level": 0})
        self.partitions = topics.partitions(pipeline, TOPIC)

    def ends(self):
        return {n: self.client.get_watermark_offsets(TopicPartition(TOPIC, n), timeout=10)[1] for n in self.partitions}

    def offsets(self):
        """One connection as long as it lives: what is measured here is the sink's way back and not ours."""
        try:
            if self.connection is None:
                self.connection = psycopg.connect(self.pipeline.stack.postgres_url, autocommit=True, connect_timeout=2)
            query = "SELECT partition, next_offset FROM ingest_offsets WHERE topic = %s AND consumer_group = %s"
            return dict(self.connection.execute(query, (TOPIC, GROUP)).fetchall())
        except psycopg.Error:
            self.connection = None
            raise

    def now(self):
        # the ends first: what comes between the two questions is no lag
        ends, offsets = self.ends(), self.offsets()
        return sum(max(0, end - offsets.get(n, 0)) for n, end in ends.items())

    def usual(self, seconds):
        """The largest within so many seconds."""
        until, largest = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            largest = max(largest, self.now())
            time.sleep(0.05)
        return largest

    def await_at_most(self, lag, within):
        began = time.monotonic()
        wait_until(lambda: self.now() <= lag, within, f"a lag of at most {lag} records", every=0.05)
        return time.monotonic() - began


class Play:
    def __init__(self, pipeline):
        self.pipeline, self.rng = pipeline, random.Random(f"sink {SEED}")
        rng = random.Random(f"late {SEED}")
        every = SERVERS * SERIES / RATE
        start = (int(time.time() * 1000) - 12 * 3_600_000) // WINDOW * WINDOW
        self.flow = Flow(pipeline, "sink", SERVERS, SERIES, every, start, lambda: int(rng.random() < 0.02))
        self.lag, self.admin = Lag(pipeline), AdminClient({"bootstrap.servers": pipeline.brokers})
        self.back, self.outages, self.done = [], [], []

    def run(self):
        self.flow.run()
        wait_until(lambda: self.lag.offsets(), 60, "the first commit")
        mishaps = [postgres_killed] * KILLS + [backend_killed, sink_killed, sink_hung, sink_hung_in_a_transaction]
        self.rng.shuffle(mishaps)
        # no kill may find less than a batch under way for want of traffic
        for mishap in mishaps:
            usual = max(self.lag.usual(1.0 + self.rng.random() * 2), 1)
            mishap(self, usual)
            self.done.append(mishap.__name__)
        wait_until(lambda: self.flow.rows >= ROWS, ROWS / RATE * 3 + 60, f"{ROWS} rows are sent", every=0.2)
        self.flow.stop()
        self.lag.await_at_most(0, 60)

    def members(self):
        """Client ids of the group's members; each sink's process has one member."""
        [group] = self.admin.list_groups(GROUP, timeout=10)
        return {member.id for member in group.members}

    def await_members(self, count, within=60.0):
        wait_until(lambda: len(self.members()) == count, within, f"{count} members of the group", every=0.2)


def postgres_killed(play, usual):
    """Postmaster and backends at once, as when the machine goes down."""
    stack, gone = play.pipeline.stack, time.monotonic()
    stack.kill_part("postgres")
    stack.start_part("postgres")
    back = time.monotonic()
    play.outages.append(back - gone)
    play.back.append(play.lag.await_at_most(usual, 60))


def backend_killed(play, usual):
    """One backend of a sink, in its transaction if one is under way: PostgreSQL ends all the others and recovers."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidewatch-sink' AND pid <> pg_backend_pid()"
        " ORDER BY xact_start NULLS LAST LIMIT 1"
    )
    [[pid]] = play.pipeline.sql(query)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(psycopg.Error):
        # ours too
        play.lag.usual(30)
    wait_until(play.lag.now, 30, "PostgreSQL is back", every=0.02)
    play.back.append(play.lag.await_at_most(usual, 60))


def sink_killed(play, usual):
    play.pipeline[play.rng.choice(SINKS)].restart_killed()
    play.lag.await_at_most(usual, 60)
    # the dead one's partitions are somebody's again
    play.await_members(len(SINKS))
    play.lag.await_at_most(usual, 60)


def sink_hung(play, usual):
    """Until the group does without it and the other has written its partitions; then it goes on as if nothing had been."""
    hang(play, usual, play.pipeline[play.rng.choice(SINKS)].process)


def sink_hung_in_a_transaction(play, usual):
    """Its backend holds the locks of its partitions' offsets; PostgreSQL has to end that on its own."""
    process = play.pipeline[play.rng.choice(SINKS)].process
    for _ in range(200):
        process.signal(signal.SIGSTOP)
        if transaction_that_stands_still(play.pipeline):
            return hang(play, usual, process)
        process.signal(signal.SIGCONT)
        time.sleep(play.rng.random() * 0.1)
    raise AssertionError("the sink was never caught in a transaction")


def transaction_that_stands_still(pipeline):
    """PostgreSQL waits for the client in the same transaction for longer than a sink at work ever lets it."""
    query = (
        "SELECT pid, xact_start FROM pg_stat_activity WHERE application_name = 'tidewatch-sink'"
        " AND xact_start IS NOT NULL AND wait_event = 'ClientRead'"
    )
    before = set(pipeline.sql(query))
    if not before:
        return False
    pipeline.sql("SELECT pg_sleep(0.3)")
    return bool(before & set(pipeline.sql(query)))


def hang(play, usual, process):
    if process.alive:
        process.signal(signal.SIGSTOP)
    try:
        play.await_members(len(SINKS) - 1, 3 * SESSION)
        play.lag.await_at_most(usual, 60)
    finally:
        process.signal(signal.SIGCONT)
    play.await_members(len(SINKS))
    play.lag.await_at_most(usual, 60)


@pytest.fixture(scope="module")
def play(pipeline):
    play, began = Play(pipeline), time.monotonic()
    with pipeline.expecting(*GONE):
        play.run()
    seconds = time.monotonic() - began
    figure(
        f"sink faults: {play.flow.rows:,} rows ({len(play.flow.sent):,} records) through two sinks in {seconds:.0f} s under"
        f" {', '.join(f'{play.done.count(name)} x {name}' for name in sorted(set(play.done)))}; seed {SEED}"
    )
    figure(
        f"sink faults: PostgreSQL was away for {min(play.outages):.1f} to {max(play.outages):.1f} s; the sinks were current"
        f" {', '.join(f'{s:.1f}' for s in sorted(play.back))} s after it was back (goal: {GOAL:.0f} s)"
    )
    return play


@pytest.mark.timeout(0 if ASKED else 300)
def test_every_row_is_there_once(pipeline, play):
    assert play.flow.rows >= ROWS
    wrong = windows.differences(play.flow.tally(), windows.stored(pipeline))
    assert not wrong, f"{len(wrong)} series:\n" + "\n".join(wrong[:10])
    rows, count, total = pipeline.sql("SELECT count(*), sum(count)::bigint, sum(sum) FROM samples_10s")[0]
    tally = play.flow.tally().values()
    assert (rows, count, total) == (play.flow.rows, sum(t[1] for t in tally), sum(t[2] for t in tally))


def test_the_offsets_are_the_ends_of_the_topic(play):
    assert play.lag.offsets() == {n: end for n, end in play.lag.ends().items() if end}


def test_no_record_became_a_dead_letter(pipeline, play):
    assert sum(topics.ends(pipeline, f"{PREFIX}dead-letter.sink").values()) == 0


def test_the_sinks_are_current_soon_after_postgresql_is_back(play):
    assert len(play.back) == KILLS + 1
    assert max(play.back) <= GOAL, sorted(play.back)


def test_a_changed_row_would_be_noticed(play):
    tally = {key: list(cell) for key, cell in play.flow.tally().items()}
    doubled, gone, *_ = tally
    tally[doubled][1] += 1
    del tally[gone]
    assert len(windows.differences(play.flow.tally(), tally)) == 2


def test_refused_credentials_pause_the_sinks_and_nothing_is_skipped(pipeline, play):
    letters = topics.ends(pipeline, f"{PREFIX}dead-letter.sink")
    password = (pipeline.stack.directory / "postgres.password").read_text().strip()
    start = play.flow.start + play.flow.window * WINDOW
    flow = Flow(pipeline, "denied", 8, 20, 0.2, start).run()
    with psycopg.connect(pipeline.stack.postgres_url, autocommit=True) as ours, pipeline.expecting(r"password authentication failed"):
        counted = "SELECT coalesce(sum(next_offset), 0) FROM ingest_offsets WHERE topic = %s"
        before = ours.execute(counted, (TOPIC,)).fetchone()[0]
        wait_until(lambda: ours.execute(counted, (TOPIC,)).fetchone()[0] > before, 30, "windows are written")
        read = {name: pipeline[name].read_to for name in SINKS}
        ours.execute("ALTER ROLE tidewatch PASSWORD 'another'")
        try:
            ours.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tidewatch' AND pid <> pg_backend_pid()")
            for name in SINKS:
                wait_until(lambda: "refuses the credentials" in not_ready(pipeline[name]), 30, f"{name} says what it waits for")
            stood = ours.execute(counted, (TOPIC,)).fetchone()[0]
            sent = len(flow.sent)
            wait_until(lambda: len(flow.sent) >= sent + 100, 30, "records that nobody can write")
            assert ours.execute(counted, (TOPIC,)).fetchone()[0] == stood
        finally:
            ours.execute(psycopg.sql.SQL("ALTER ROLE tidewatch PASSWORD {}").format(password))
        for name in SINKS:
            pipeline[name].await_ready()
        flow.stop()
        play.lag.await_at_most(0, 60)
    for name in SINKS:
        said = [line for line in pipeline[name].process.log.read_bytes()[read[name] :].decode().splitlines() if is_surprise(line)]
        assert len([line for line in said if re.search("write batch", line)]) == 1, said
    wrong = windows.differences(play.flow.tally() | flow.tally(), windows.stored(pipeline))
    assert not wrong, wrong[:10]
    assert topics.ends(pipeline, f"{PREFIX}dead-letter.sink") == letters


def not_ready(service):
    answer = requests.get(f"http://127.0.0.1:{service.admin_port}/readyz", timeout=5)
    return answer.text if answer.status_code != 200 else ""
