"""Stream processors that come, go, hang, die and are mistaken for each other, on a Kafka that restarts: one seed is one run.

In: a cluster and a seed. Out: what the run's topics hold in the end, and what is wrong with it. Keeps: each run has topics, a group
and processes of its own; a fault waits for what it is meant to bring about (another owner, an open transaction) and not for a time.
"""

import random
import statistics
import struct
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

import mishaps
import reckoning
from pipeline import clean_environment
from reckoning import Evidence, Record, Rules
from stack import PROGRAMS, Service, Stack, text_of, wait_until
from traffic import Feeder

PARTITIONS = 4
RULES = Rules()
IDLE_MS = 1_500
SETTINGS = {
    "TIDEWATCH_WINDOW_TIERS": "1s,4s",
    "TIDEWATCH_WINDOW_ROLLUPS": "none",
    "TIDEWATCH_WINDOW_GRACE": "300ms",
    "TIDEWATCH_WINDOW_IDLE": f"{IDLE_MS}ms",
    "TIDEWATCH_WINDOW_LATENESS": f"{RULES.lateness}ms",
    "TIDEWATCH_STREAM_PROCESSOR_COMMIT_INTERVAL": "100ms",
    "TIDEWATCH_KAFKA_SESSION_TIMEOUT": "6s",
}
TIERS = ("metrics.1s", "metrics.4s")
LATE, LETTERS, LAYOUTS = "metrics.late", "dead-letter.stream-processor", "metrics.layouts"
# of traffic at least: longer than the lateness, so that some of it is late
LOAD_SECONDS = 12.0
# a transaction that nobody ends is aborted by the broker after 15 s, which it looks for every 10 s; a restart comes on top
PATIENCE = 150.0
ANSWER = 10.0


class Cluster:
    """One Kafka for all runs; a restart that several ask for at once is one."""

    def __init__(self):
        self.stack = Stack(("kafka",))
        self.restarts = 0
        self.changed = threading.Condition()
        # whether it is being restarted, and how many wait for an answer of it
        self.away, self.asking = False, 0

    def __enter__(self):
        self.stack.__enter__()
        return self

    def __exit__(self, *error):
        self.stack.__exit__(*error)

    @property
    def brokers(self):
        return self.stack.kafka

    def client(self):
        """Settings of a client that comes back soon after an outage, and keeps quiet about it."""
        return {"bootstrap.servers": self.brokers, "reconnect.backoff.max.ms": 1_000, "log_level": 0}

    def restart(self):
        """Kills Kafka between two questions of ours, and starts it again."""
        with self.changed:
            before = self.restarts
            if self.away:
                self.changed.wait_for(lambda: not self.away)
            if self.restarts > before:
                return
            self.away = True
            self.changed.wait_for(lambda: not self.asking)
        try:
            self.stack.kill_part("kafka")
            self.stack.start_part("kafka")
        finally:
            with self.changed:
                self.restarts += 1
                self.away = False
                self.changed.notify_all()

    @contextmanager
    def present(self):
        """Kafka is there and stays while this holds."""
        with self.changed:
            self.changed.wait_for(lambda: not self.away)
            self.asking += 1
        try:
            yield
        finally:
            with self.changed:
                self.asking -= 1
                self.changed.notify_all()


@dataclass
class Outcome:
    seed: int
    faults: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    # what of it the records alone say, all of the log having been worked off: no matter of a machine's pace
    proof: list = field(default_factory=list)
    evidence: Evidence | None = None
    seconds: float = 0.0
    frames: int = 0
    warnings: int = 0
    # every mishap by its name
    done: list = field(default_factory=list)


class Run:
    """The topics, the processes and the traffic of one seed."""

    # whose runs they are, the topic it reads, and those it writes in transactions
    STAGE, INPUT, WRITTEN = "stream-processor", "metrics.raw", (*TIERS, LATE, LETTERS)

    def __init__(self, cluster, seed, prefix=None, settings=None, partitions=PARTITIONS):
        self.cluster, self.seed, self.partitions = cluster, seed, partitions
        self.prefix = prefix or f"move-{seed}."
        self.group = f"{self.prefix}{self.STAGE}"
        self.raw = f"{self.prefix}{self.INPUT}"
        self.folder = cluster.stack.directory / "moving" / self.prefix.rstrip(".")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = SETTINGS | (settings or {})
        # for plain questions: those that answer by futures can abort the whole process when the broker has been away
        self.admin = AdminClient(cluster.client())
        self.clients = {how: self.consumer(self.group, how) for how in ("read_uncommitted", "read_committed")}
        self.processes = []
        # instance -> the process that is meant to be it
        self.members = {}
        self.done = []

    # Topics

    def topic(self, name):
        return f"{self.prefix}{name}"

    def ask(self, question, what):
        """What the broker answers; an outage is waited for."""

        def answered():
            with self.cluster.present():
                return [question()]

        return wait_until(answered, PATIENCE, what, every=0.3)[0]

    def consumer(self, group, isolation):
        own = {"group.id": group, "isolation.level": isolation, "enable.auto.commit": False, "enable.partition.eof": True}
        return Consumer(self.cluster.client() | own)

    def administer(self, change, fine):
        """Creates or deletes topics; `fine` is the error of one that was already."""

        def changed():
            with self.cluster.present():
                for future in change(self.admin).values():
                    try:
                        future.result()
                    except KafkaException as error:
                        if error.args[0].code() != fine:
                            raise
            return True

        wait_until(changed, PATIENCE, f"the topics of {self.prefix}", every=0.5)

    def create_topics(self):
        wanted = [NewTopic(self.raw, self.partitions, 1, config={"message.timestamp.type": "LogAppendTime"})]
        wanted += [NewTopic(self.topic(name), self.partitions, 1) for name in (*TIERS, LATE, LETTERS)]
        wanted.append(NewTopic(self.topic(LAYOUTS), 1, 1, config={"cleanup.policy": "compact"}))

        self.administer(lambda admin: admin.create_topics(wanted), KafkaError.TOPIC_ALREADY_EXISTS)

    def delete_topics(self):
        """Or a broker that was killed would have to look through all of them."""
        names = [self.raw, *map(self.topic, (*TIERS, LATE, LETTERS, LAYOUTS))]
        self.administer(lambda admin: admin.delete_topics(names), KafkaError.UNKNOWN_TOPIC_OR_PART)

    # Processes

    def environment(self, instance):
        """What only this stage wants to know."""
        # one in four, so that partitions also move between the two ways of reading them
        consumer = "auto" if (self.seed + len(self.processes)) % 4 else "librdkafka"
        return {
            "TIDEWATCH_STREAM_PROCESSOR_INSTANCE": instance,
            "TIDEWATCH_STREAM_PROCESSOR_CONSUMER": consumer,
        } | self.settings

    def start(self, instance):
        env = clean_environment(
            TIDEWATCH_KAFKA_BROKERS=self.cluster.brokers,
            TIDEWATCH_TOPIC_PREFIX=self.prefix,
            TIDEWATCH_ADMIN_LISTEN="127.0.0.1:0",
            TIDEWATCH_LOG_FORMAT="json",
            **self.environment(instance),
        )
        name = f"{instance}-{len(self.processes)}"
        program = PROGRAMS / f"tidewatch-{self.STAGE}"
        process = Service(name, [str(program)], env, self.folder / f"{name}.log")
        self.processes.append(process)
        self.members[instance] = process
        return process

    def end(self, process, gently):
        if gently:
            # a drain that Kafka does not answer gives up after 15 s, and says so by its status
            process.stop(25)
        else:
            process.kill()

    def up(self):
        return [name for name, process in self.members.items() if process is not None]

    # What the broker says

    def describe(self):
        """The group's state and its members: instance -> (member id, partitions)."""

        def described():
            [group] = self.admin.list_groups(self.group, timeout=ANSWER)
            # the broker makes a static member's id of its instance's name
            return group.state, {m.id.split("-")[0]: (m.id, assigned(m.assignment)) for m in group.members}

        return self.ask(described, "the group's description")

    def owned(self, instance):
        """The member's id and its partitions, as the group has them; None when the group does not know it."""
        return self.describe()[1].get(instance)

    def await_owner(self, instance, all_of_it=False, other_than=None):
        """Until the instance has partitions, under another member id than `other_than`."""

        process = self.members[instance]

        def owns():
            assert process.alive, f"{process.name} ended: {process.tail()}"
            member = self.owned(instance)
            if member is None or member[0] == other_than:
                return False
            return len(member[1]) == self.partitions if all_of_it else bool(member[1])

        wait_until(owns, PATIENCE, f"{instance} has partitions", every=0.2)

    def await_expelled(self, instance):
        wait_until(lambda: self.owned(instance) is None, PATIENCE, f"the group does without {instance}", every=0.2)

    def await_empty(self):
        wait_until(lambda: self.describe()[0] == "Empty", PATIENCE, "a group without members", every=0.1)

    def ends(self, topic, partitions, isolation="read_uncommitted"):
        client = self.clients[isolation]

        def listed():
            return {n: client.get_watermark_offsets(TopicPartition(topic, n), timeout=ANSWER)[1] for n in partitions}

        return self.ask(listed, f"the ends of {topic}")

    def open_transactions(self, partitions):
        """Partitions of the written topics that hold records not decided yet."""
        found = set()
        for topic in map(self.topic, self.WRITTEN):
            stable = self.ends(topic, partitions, "read_committed")
            found |= {(topic, number) for number, end in self.ends(topic, partitions).items() if stable[number] < end}
        return found

    def await_decided(self):
        """Until all that was written is committed or aborted: what stands behind an open transaction nobody reads."""
        wait_until(lambda: not self.open_transactions(range(self.partitions)), PATIENCE, "every transaction is decided", every=0.3)

    def committed(self):
        wanted = [TopicPartition(self.raw, number) for number in range(self.partitions)]
        client = self.clients["read_committed"]
        found = self.ask(lambda: client.committed(wanted, timeout=ANSWER), "the group's offsets")
        return {part.partition: part.offset for part in found}

    def has_committed_all(self):
        return self.committed() == self.ends(self.raw, range(self.partitions))

    def read(self, names, isolation):
        """Every record of these topics up to their ends now; an outage is waited for."""
        client = self.consumer("somebody-else", isolation)
        try:
            count = {LAYOUTS: 1}
            waiting = {(self.topic(name), n) for name in names for n in range(count.get(name, self.partitions))}
            client.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in waiting])
            found, deadline = {self.topic(name): [] for name in names}, time.monotonic() + PATIENCE
            while waiting:
                assert time.monotonic() < deadline, f"no end of {waiting} within {PATIENCE:g} s"
                for message in client.consume(1_000, timeout=0.5):
                    if message.error() is None:
                        found[message.topic()].append(as_record(message))
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        waiting.discard((message.topic(), message.partition()))
            return [found[self.topic(name)] for name in names]
        finally:
            client.close()

    # The end

    def await_closed(self, rules=RULES):
        """Until all that was sent is committed and the window topics hold as many samples as the log."""
        raw, layouts = self.read(["metrics.raw", LAYOUTS], "read_uncommitted")
        expected = reckoning.expected_samples(reckoning.reckon(raw, layouts, rules))

        def closed():
            if not self.has_committed_all():
                return False
            tiers = self.read(TIERS, "read_committed")
            return reckoning.samples(map(reckoning.read_window, tiers[0] + tiers[1])) >= expected

        wait_until(closed, PATIENCE, "every window is closed and committed", every=0.3)

    def gather(self):
        raw, layouts, *tiers, late, letters = self.read(["metrics.raw", LAYOUTS, *TIERS, LATE, LETTERS], "read_committed")
        attempts = self.read(TIERS, "read_uncommitted")
        windows = [reckoning.read_window(record) for tier in tiers for record in tier]
        attempts = [reckoning.read_window(record) for tier in attempts for record in tier]
        return Evidence(self.raw, raw, layouts, windows, late, letters, attempts)

    def close(self):
        for process in self.processes:
            process.kill()
        for client in self.clients.values():
            client.close()

    def wrong_logs(self):
        """ERROR lines and panics; of a process that was killed the last line may be cut off."""
        wrong = []
        for process in self.processes:
            cut = not process.log.read_bytes().endswith(b"\n")
            lines = process.lines()
            for entry in lines[:-1] if cut else lines:
                if entry.get("level") == "ERROR":
                    wrong.append(f"log of {process.name}: {text_of(entry)[:500]}")
        return wrong

    def warnings(self):
        return sum(entry.get("level") == "WARN" for process in self.processes for entry in process.lines())


def assigned(assignment, only=None):
    """The partitions of a group member's assignment, in the consumer protocol's own encoding; of one topic or of all."""
    partitions, at = set(), 6
    for _ in range(struct.unpack_from(">i", assignment, 2)[0] if assignment else 0):
        [length] = struct.unpack_from(">h", assignment, at)
        topic, at = assignment[at + 2 : at + 2 + length].decode(), at + 2 + length
        [count] = struct.unpack_from(">i", assignment, at)
        if only in (None, topic):
            partitions |= set(struct.unpack_from(f">{count}i", assignment, at + 4))
        at += 4 + 4 * count
    return partitions


def as_record(message):
    headers = tuple((name, value or b"") for name, value in message.headers() or ())
    return Record(
        message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value() or b"", headers
    )


def play(cluster, seed):
    """One run from its topics to the verdict."""
    run, outcome, began = Run(cluster, seed), Outcome(seed), time.monotonic()
    try:
        settled = live_through(run, outcome)
        for process in run.processes:
            if process.alive:
                run.end(process, gently=True)
        run.await_decided()
        outcome.evidence = run.gather()
        said = reckoning.wrongs(outcome.evidence, RULES)
        outcome.proof = said if settled else []
        outcome.wrong += said + run.wrong_logs()
        outcome.warnings = run.warnings()
    except Exception as error:  # noqa: BLE001 - told with the seed
        outcome.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        run.close()
    outcome.seconds = time.monotonic() - began
    if not outcome.wrong:
        run.delete_topics()
    return outcome


def live_through(run, outcome):
    """The mishaps under traffic, and then peace until everything is closed; whether all of the log is committed in the end."""
    rng = random.Random(f"play {run.seed}")
    first, steps = mishaps.plan(run.seed)
    run.create_topics()
    feeder = Feeder(run.cluster, run.raw, run.topic(LAYOUTS), run.seed, RULES.lateness / 1_000)
    for instance in sorted(first):
        run.start(instance)
    run.await_owner("a")
    for step in steps:
        time.sleep(step.pause)
        outcome.faults.append(f"{feeder.seconds:.1f} s {step}")
        mishaps.MISHAPS[step.what].act(run, step.who, rng)
        run.done.append(step.what)
    time.sleep(max(0.0, LOAD_SECONDS - feeder.seconds))
    outcome.frames = feeder.stop()
    for instance in run.up():
        assert run.members[instance].alive, f"{instance} ended: {run.members[instance].tail()}"
    try:
        run.await_closed()
    except TimeoutError as error:
        # what is missing is told by the reckoning
        outcome.wrong.append(str(error))
    outcome.done = run.done
    return run.has_committed_all()


def campaign(cluster, seeds, parallel, seconds=None, told=print):
    """Runs side by side; with `seconds`, none is begun that is not likely to end in time."""
    began, outcomes = time.monotonic(), []
    waiting, seeds = set(), iter(seeds)
    with ThreadPoolExecutor(parallel) as pool:
        while True:
            needs = 1.3 * statistics.fmean(outcome.seconds for outcome in outcomes) if outcomes else 0.0
            left = seconds is None or time.monotonic() - began + needs < seconds
            while left and len(waiting) < parallel and (seed := next(seeds, None)) is not None:
                waiting.add(pool.submit(play, cluster, seed))
            if not waiting:
                return outcomes
            ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ended:
                outcomes.append(future.result())
                told(outcomes[-1])
