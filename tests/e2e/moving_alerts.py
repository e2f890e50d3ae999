"""Analyzers that come, go, hang, die and are mistaken for each other while their log is written, and the same log once more for one that
is left alone.

In: a cluster, a fleet, a seed. Out: two runs whose topics hold all that was said. Keeps: both read the same records, at the same
offsets and with the same stamps; the replay covers all of the log, as in `analysis/tests/crash.rs`, for what the detector says depends on
how far back it has learned.
"""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from hashlib import sha256

import mishaps
import moving
import topics
import trouble
from mishaps import BOTH, Step, other
from moving import PATIENCE
from pipeline import PROGRAM, clean_environment
from stack import wait_until
from transitions import Evidence

# of the time in which the log is written, for the hours before the first incident
CALM = 0.1
WRITTEN = ("alerts", "anomalies", "metrics.expected", "dead-letter.analyzer")


class Run(moving.Run):
    """Analyzers of one prefix."""

    STAGE, INPUT, WRITTEN = "analyzer", "metrics.10s", WRITTEN

    def __init__(self, cluster, seed, prefix, partitions, session="6s"):
        super().__init__(cluster, seed, prefix, partitions=partitions)
        self.session, self.kills = session, 0
        self.rules = self.folder / "rules.yaml"
        self.rules.write_text(trouble.RULES)

    def create_topics(self):
        """As whoever installs the product does."""
        env = clean_environment(TIDEWATCH_KAFKA_BROKERS=self.cluster.brokers, TIDEWATCH_TOPIC_PREFIX=self.prefix)
        words = ["topics", "create", "--partitions", str(self.partitions), "--replication", "1"]
        done = subprocess.run([PROGRAM, *words], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def environment(self, instance):
        return {
            "TIDEWATCH_ANALYZER_INSTANCE": instance,
            "TIDEWATCH_ANALYZER_RULES": self.rules,
            "TIDEWATCH_ANALYZER_REPLAY": "1d",
            "TIDEWATCH_ANALYZER_COMMIT_INTERVAL": "100ms",
            "TIDEWATCH_KAFKA_SESSION_TIMEOUT": self.session,
        }

    def end(self, process, gently):
        self.kills += not gently
        super().end(process, gently)

    def position(self):
        return sum(self.committed().values())

    def await_progress(self):
        """Until more is committed, or all there is."""
        before = self.position()
        wait_until(lambda: self.position() > before or self.has_committed_all(), PATIENCE, "something more is committed", every=0.2)

    def finish(self):
        """All of the log worked off, everybody gone, and nothing left that is neither committed nor aborted."""
        wait_until(self.has_committed_all, 2 * PATIENCE, "all of the log is committed", every=0.3)
        for process in self.processes:
            if process.alive:
                self.end(process, gently=True)
        self.await_decided()

    def log(self):
        [records] = self.read([self.INPUT], "read_uncommitted")
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def evidence(self):
        return Evidence.of(*self.read(WRITTEN, "read_committed"))

    def taken_over(self):
        """How often a partition was given to somebody."""
        return sum("partition assigned" in str(entry) for process in self.processes for entry in process.lines())


class Writer:
    """Writes the log within about so many seconds, each server into its partition, with stamps of the hours it tells of."""

    def __init__(self, run, fleet, seed, seconds):
        self.client = topics.producer(run.cluster, **run.cluster.client(), **{"linger.ms": 5})
        self.topic, self.seconds = run.raw, seconds
        self.sent, self.failed, self.garbage = 0, [], Counter()
        self.wish = threading.Event()
        self.begin = time.monotonic()
        self.thread = threading.Thread(target=self._run, args=(trouble.records(fleet, seed),), daemon=True)
        self.thread.start()

    def _run(self, records):
        try:
            for index, server, value, stamp in records:
                while not self.wish.is_set() and (left := self.begin + self.due(index) - time.monotonic()) > 0:
                    self.client.poll(min(left, 0.05))
                if self.wish.is_set():
                    return
                self._send(server, value, stamp)
        except Exception as error:  # noqa: BLE001 - told by the test's thread
            self.failed.append(repr(error))

    def due(self, index):
        if index < trouble.WARM_UP:
            return self.seconds * CALM * index / trouble.WARM_UP
        return self.seconds * (CALM + (1 - CALM) * (index - trouble.WARM_UP) / (trouble.WINDOWS - trouble.WARM_UP))

    def _send(self, server, value, stamp):
        key = server.name.encode()
        write(self.client, self.topic, server.partition, key, value, stamp, self._delivered)
        self.sent += 1
        if trouble.is_garbage(value):
            self.garbage[server.partition, key, value] += 1

    def _delivered(self, error, _):
        if error is not None:
            self.failed.append(str(error))

    def give_up(self):
        self.wish.set()

    @property
    def is_done(self):
        return not self.thread.is_alive()

    @property
    def elapsed(self):
        return time.monotonic() - self.begin

    def finish(self):
        self.thread.join()
        left = self.client.flush(60)
        assert left == 0 and not self.failed, f"{left} records not acknowledged, failed: {self.failed[:3]}"


def write(client, topic, partition, key, value, stamp, delivered):
    """A full queue is waited for."""
    while True:
        try:
            client.produce(topic, key=key, value=value, partition=partition, timestamp=stamp, on_delivery=delivered)
            break
        except BufferError:
            client.poll(0.05)
    client.poll(0)


# Mishaps


def stop_saying(run, who, rng):
    """Hangs it with an alert of its own written and not decided; tries until one is, or stops it somewhere."""
    process, alerts = run.members[who], run.topic("alerts")

    def is_undecided(numbers):
        return run.ends(alerts, numbers, "read_committed") != run.ends(alerts, numbers)

    for _ in range(60):
        owned = run.owned(who)
        process.signal(signal.SIGSTOP)
        # its last request may still be on its way
        if owned and is_undecided(owned[1]) and (time.sleep(0.05) or is_undecided(owned[1])):
            run.done.append("caught saying an alert")
            return
        process.signal(signal.SIGCONT)
        time.sleep(rng.uniform(0.0, 0.1))
    process.signal(signal.SIGSTOP)


def orphan(run, who, rng):
    """One dies while it says an alert, and for good; what the other says from then on stands behind a record that nobody has
    decided about, and it has to find it there when it starts again."""
    run.await_owner(who)
    stop_saying(run, who, rng)
    run.end(run.members[who], gently=False)
    run.members[who] = None
    run.await_owner(other(who), all_of_it=True)
    run.await_progress()
    time.sleep(rng.uniform(0.5, 2.0))
    run.end(run.members[other(who)], gently=False)
    run.start(other(who))


MISHAPS = mishaps.MISHAPS | {"orphan": mishaps.Mishap(orphan, 15, 3, mishaps.both_up, mishaps.without)}
# every run has them, in an order of its own; one more makes two of one
OWED = ("kill", "hang in commit", "double", "broker kill", "leave", "orphan")


def plan(seed):
    """One mishap after the other, without an end: whether it is owed, what, and to whom."""
    rng = random.Random(f"alerts {seed}")
    up, owed = frozenset("a"), ["join", *rng.sample(OWED, len(OWED))]
    while True:
        can = [(name, who) for name, mishap in MISHAPS.items() for who in sorted(BOTH) if mishap.needs(up, who)]
        is_owed = bool(owed)
        if is_owed:
            name = owed[0] if any(name == owed[0] for name, _ in can) else "join"
            who = rng.choice([who for one, who in can if one == name])
            if name == owed[0]:
                owed.pop(0)
        else:
            [(name, who)] = rng.choices(can, [MISHAPS[name].weight for name, _ in can])
        yield is_owed, Step(name, who, rng.uniform(0.2, 1.0))
        up = MISHAPS[name].leaves(up, who)


def live_through(run, writer, told):
    rng = random.Random(f"play {run.seed}")
    run.start("a")
    run.await_owner("a")
    for is_owed, step in plan(run.seed):
        if writer.is_done and not is_owed:
            break
        # most hit somebody who is at work; the others somebody who still reads what was before him
        if rng.random() < 0.7:
            run.await_progress()
        time.sleep(step.pause)
        told.append(f"{writer.elapsed:.1f} s {step}")
        MISHAPS[step.what].act(run, step.who, rng)
        run.done.append(step.what)
    writer.finish()
    for instance in run.up():
        assert run.members[instance].alive, f"{instance} ended: {run.members[instance].tail()}"


# The same log once more


def digest(log):
    """Where each record lies, its stamp, its key and its bytes."""
    total = sha256()
    for record in log:
        total.update(repr((record.partition, record.offset, record.appended, record.key, record.headers)).encode())
        total.update(record.value)
    return len(log), total.hexdigest()


def copy_log(moved, calm):
    """The records of one run, in the same partitions, at the same offsets and with the same stamps, for another. Nothing but the writer wrote
    the log, without transactions, so that its offsets have no gaps: written in their order they are given again."""
    log = moved.log()
    client = topics.producer(calm.cluster, **calm.cluster.client(), **{"linger.ms": 5})
    failed = []

    def delivered(error, _):
        if error is not None:
            failed.append(str(error))

    for record in log:
        write(client, calm.raw, record.partition, record.key, record.value, record.appended, delivered)
    topics.flush(client)
    assert not failed, failed[:3]
    assert digest(calm.log()) == digest(log), "the log was not copied as it was"
