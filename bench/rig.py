"""The ground that a benchmark stands on: a private Kafka, topics, loads, and the check of what came out.

In: the scripts of deploy/local and the built programs. Out: topics filled and added up. Keeps: nothing of it outlives the run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests" / "e2e"))

from stack import PROGRAMS, Stack, bound, free_ports, wait_until  # noqa: E402, F401 - the path above; some are for the others here

PARTITIONS = 8
TIERS = {"10s": 10_000, "1m": 60_000}


@dataclass
class Load:
    """A filled topic, `<name>.metrics.raw`, and what its windows have to add up to."""

    name: str
    shape: str
    servers: int
    series: int
    seconds: int
    interval: int = 1
    facts: dict | None = None
    partitions: int = PARTITIONS

    @property
    def prefix(self) -> str:
        return f"{self.name}."

    @property
    def topic(self) -> str:
        return f"{self.prefix}metrics.raw"

    @property
    def layouts(self) -> str:
        return f"{self.prefix}metrics.layouts"

    @property
    def values_per_record(self) -> int:
        return 1 if self.shape == "rows" else self.series


class Rig:
    """One Kafka for the whole run, and what else is asked for."""

    def __init__(self, parts: tuple[str, ...] = ("kafka",)) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidewatch-bench-"))
        # PostgreSQL, which never runs as root, has to walk through.
        self.folder.chmod(0o755)
        self.stack = Stack(parts=parts, directory=self.folder / "stack")
        self.work = self.folder / "work"
        self.work.mkdir()

    def __enter__(self) -> Rig:
        self.stack.__enter__()
        self.admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 2})
        return self

    def __exit__(self, *error: object) -> None:
        del self.admin
        # Gigabytes that nobody will look at, even after a failure.
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def kafka(self) -> str:
        return self.stack.kafka

    # Topics

    def create(self, topics: dict[str, int], **config: str) -> None:
        new = [NewTopic(name, partitions, 1, config=config) for name, partitions in topics.items()]
        for done in self.admin.create_topics(new).values():
            done.result(30)

    def topics(self, prefix: str) -> list[str]:
        return [name for name in self.admin.list_topics(timeout=30).topics if name.startswith(prefix)]

    def delete(self, topics: list[str]) -> None:
        if not topics:
            return
        for done in self.admin.delete_topics(topics).values():
            done.result(30)
        wait_until(lambda: not set(topics) & set(self.topics("")), 30, "topics that are gone")

    def create_ours(self, load: Load) -> None:
        """Every topic of the product that is not there yet."""
        self.run_program(
            "tidewatch", "topics", "create", "--kafka-brokers", self.kafka, "--topic-prefix", load.prefix,
            "--partitions", str(load.partitions), "--replication", "1",
        )

    def reset_ours(self, load: Load) -> None:
        """As if the stream processor had never run: its input stays, its output and its place in it go."""
        wait_until(lambda: self.forget_group(f"{load.prefix}stream-processor"), 60, "a group without members", 0.5)
        self.delete([topic for topic in self.topics(load.prefix) if topic not in (load.topic, load.layouts)])
        self.create_ours(load)

    def forget_group(self, group: str) -> bool:
        try:
            self.admin.delete_consumer_groups([group])[group].result(30)
        except KafkaException as error:
            return error.args[0].name() == "GROUP_ID_NOT_FOUND"
        return True

    def ends(self, topic: str) -> dict[int, int]:
        partitions = self.admin.list_topics(topic, timeout=30).topics[topic].partitions
        asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in partitions}
        answers = self.admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {place.partition: answer.result(30).offset for place, answer in answers.items()}

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Of the partitions that have a commit."""
        asked = ConsumerGroupTopicPartitions(group, None)
        found = self.admin.list_consumer_group_offsets([asked])[group].result(30)
        return {place.partition: place.offset for place in found.topic_partitions if place.topic == topic}

    def consumer(self, *topics: str) -> Consumer:
        """A `read_committed` reader of all that comes from now on."""
        consumer = Consumer({
            "bootstrap.servers": self.kafka, "group.id": "bench-watch", "isolation.level": "read_committed",
            "enable.auto.commit": False, "fetch.wait.max.ms": 10, "log_level": 2,
        })
        consumer.assign([TopicPartition(topic, place, end) for topic in topics for place, end in self.ends(topic).items()])
        return consumer

    # PostgreSQL

    def sql(self, query: str, *args: object) -> list[tuple]:
        with psycopg.connect(self.stack.postgres_url, autocommit=True, options="-c timezone=UTC") as connection:
            done = connection.execute(query, args or None)
            return done.fetchall() if done.description else []

    # Loads

    def fill(self, load: Load) -> Load:
        # The raw topic's own stamp would be the time of the load: the clock of a log that was written in seconds.
        self.create({load.topic: load.partitions}, **{
            "message.timestamp.type": "CreateTime", "retention.ms": "-1", "max.message.bytes": "2000000",
        })
        self.create_ours(load)
        load.facts = self.preload(load)
        return load

    def preload(self, load: Load, *args: str) -> dict:
        return json.loads(self.run_program("preload", *self.load_args(load), *args))

    def load_args(self, load: Load) -> list[str]:
        return [
            "--brokers", self.kafka, "--topic", load.topic, "--shape", load.shape, "--servers", str(load.servers),
            "--series", str(load.series), "--seconds", str(load.seconds), "--interval", str(load.interval),
            "--partitions", str(load.partitions), "--layouts", load.layouts,
        ]

    def check(self, load: Load, prefix: str, form: str) -> str | None:
        """What is wrong with the windows under a prefix; None = they add up."""
        assert load.facts
        for tier, window_ms in TIERS.items():
            wanted = load.facts["reference"][tier]
            found = json.loads(self.run_program(
                "verify", "--brokers", self.kafka, "--topic", f"{prefix}metrics.{tier}", "--format", form,
                "--window-ms", str(window_ms), "--until", str(wanted["until"]),
            ))
            if (found["count"], found["sum"]) != (wanted["count"], wanted["sum"]):
                return f"{tier}: {found['count']} samples with sum {found['sum']}, expected {wanted['count']} with {wanted['sum']}"
        return None

    def run_program(self, program: str, *args: str) -> str:
        done = subprocess.run(
            bound([str(PROGRAMS / program), *args], "KILL"), env=self.env(), capture_output=True, text=True, timeout=900, check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")
        return done.stdout

    def env(self) -> dict[str, str]:
        """The environment without the caller's settings."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("TIDEWATCH_", "RUST_LOG"))}

    # The disk

    @property
    def log_folder(self) -> Path:
        return self.stack.directory / "kafka" / "data"

    def fresh_folder(self, name: str) -> Path:
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


class Written:
    """Bytes that Kafka wrote for some topics: a segment counts with the largest size it was seen at, deleted or not."""

    def __init__(self, rig: Rig, prefix: str, but: str):
        self.folder, self.prefix, self.but = rig.log_folder, prefix, f"{but}-"
        self.sizes: dict[str, int] = {}
        self.before = self.look()
        self.sizes = {}

    def look(self) -> dict[str, int]:
        for partition in self.folder.iterdir():
            if not partition.name.startswith(self.prefix) or partition.name.startswith(self.but):
                continue
            try:
                for segment in partition.glob("*.log"):
                    name = f"{partition.name}/{segment.name}"
                    self.sizes[name] = max(self.sizes.get(name, 0), segment.stat().st_size)
            except OSError:
                continue
        return dict(self.sizes)

    def total(self) -> int:
        self.look()
        return sum(size - self.before.get(name, 0) for name, size in self.sizes.items())
