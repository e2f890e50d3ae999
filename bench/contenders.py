"""How each contender is started, and how it is seen that it is through. The peers are in bench/peers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from measure import Process, Run, watch
from rig import PARTITIONS, PROGRAMS, REPO, Load, Rig, Written, bound, free_ports

PEERS = REPO / "bench" / "peers"
TOOLS = Path(os.environ.get("TIDEWATCH_TOOLS", REPO / ".tidewatch" / "tools"))
FORMATS = {"plain": "stats", "tuned": "columns"}
# Re-keyed records of one partition wait for those of others: a window must stay open for that long, in event time.
GRACE_MS = {"kafka-streams-plain": 20_000}
# Flink reads private fields of the class library.
OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.lang.invoke", "java.net", "java.io", "java.nio", "java.time", "java.util", "java.util.concurrent")
]


def java_program() -> str:
    """Of version 17 or later, as scripts/bench.sh found it."""
    return os.environ.get("TIDEWATCH_BENCH_JAVA", "java")


def build_peers() -> Path:
    """The folder with the peers' jars; built once for each content of their sources."""
    sources = sorted(path for kind in ("*.java", "pom.xml") for path in PEERS.rglob(kind) if "target" not in path.parts)
    content = b"".join(path.read_bytes() for path in [*sources, REPO / "schemas" / "avro" / "metric_frame.avsc"])
    folder = TOOLS / f"peers-{hashlib.sha256(content).hexdigest()[:12]}"
    if folder.exists():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    print("building the peers with Maven (150 MB from Maven Central the first time)", flush=True)
    # A repository of its own, as deploy/local/kafka.sh has it, but kept: a change of one line should not fetch all of it again.
    done = subprocess.run(
        bound([
            "mvn", "-B", "-ntp", "-q", f"-Dmaven.repo.local={TOOLS / 'peers-repository'}", f"-Dpeers.target={part}",
            "-f", str(PEERS / "pom.xml"), "package",
        ], "KILL"), capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the peers could not be built: {done.stdout[-2000:]}")
    part.rename(folder)
    return folder


def run_peer(rig: Rig, load: Load, name: str, threads: int = 1, collector: str | None = None) -> Run:
    jars = build_peers()
    framework, flavour = name.rsplit("-", 1)
    module = {"kafka-streams": "streams", "flink": "flink"}[framework]
    main = {"streams": "StreamsMain", "flink": "FlinkMain"}[module]
    prefix = f"{load.name}-{name}-{int(time.time())}."
    rig.create({f"{prefix}metrics.10s": PARTITIONS, f"{prefix}metrics.1m": PARTITIONS}, **{"max.message.bytes": "2000000"})
    work = rig.fresh_folder(f"work-{name}")
    command = [
        java_program(), "-XX:-UsePerfData", f"-Djava.io.tmpdir={work}", collector or "-XX:+UseParallelGC", "-Xms2g", "-Xmx4g",
        "-XX:+ExitOnOutOfMemoryError", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *(OPENS if module == "flink" else []),
        "-cp", f"{jars / module}/{module}-1.jar:{jars / module}/libs/*", f"io.tidewatch.bench.{main}",
        name, "--bootstrap", rig.kafka, "--input", load.topic, "--output", prefix, "--shape", load.shape,
        "--threads", str(threads), "--work", str(work), "--grace-ms", str(GRACE_MS.get(name, 2_000)),
    ]
    run = begin(rig, load, name)
    written = Written(rig, prefix, load.topic)
    process = Process(command, rig.env(), rig.work / f"{name}.log", lines=True)
    watch(process, run, lambda: process.records, written.look)
    run.kafka_bytes = written.total()
    if not run.failed:
        run.failed = rig.check(load, prefix, FORMATS[flavour])
    rig.delete(rig.topics(prefix))
    return run


def delivery_can_be_set() -> bool:
    """Whether the built stream processor can be told at-least-once."""
    told = subprocess.run([PROGRAMS / "tidewatch-stream-processor", "--help"], capture_output=True, text=True, check=False)
    return "TIDEWATCH_STREAM_PROCESSOR_DELIVERY" in told.stdout


class Ours:
    """A stream processor on a load's topics."""

    def __init__(self, rig: Rig, load: Load, delivery: str = "exactly-once", **env: str):
        self.rig, self.load = rig, load
        port = free_ports(1)[0]
        self.metrics_url = f"http://127.0.0.1:{port}/metrics"
        self.env = rig.env() | {
            "TIDEWATCH_KAFKA_BROKERS": rig.kafka,
            "TIDEWATCH_TOPIC_PREFIX": load.prefix,
            "TIDEWATCH_ADMIN_LISTEN": f"127.0.0.1:{port}",
            "TIDEWATCH_STREAM_PROCESSOR_INSTANCE": "bench",
            # the peers make 10 s and 1 m, too
            "TIDEWATCH_WINDOW_ROLLUPS": "none",
            "TIDEWATCH_STREAM_PROCESSOR_DELIVERY": delivery,
            # The shortest a broker takes: a member that left is forgotten sooner between two runs.
            "TIDEWATCH_KAFKA_SESSION_TIMEOUT": "6s",
            "TIDEWATCH_LOG_FORMAT": "json",
            "TIDEWATCH_STATE": str(rig.work / "ours-state"),
        } | env
        self.start()

    def start(self) -> None:
        self.process = Process([str(PROGRAMS / "tidewatch-stream-processor")], self.env, self.rig.work / f"ours-{self.load.name}.log")

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 while it does not answer."""
        try:
            with urllib.request.urlopen(self.metrics_url, timeout=1) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0
        lines = re.finditer(rf"^tidewatch_stream_processor_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(float(line[1]) for line in lines)

    def records(self) -> int:
        return int(self.metric("records_total"))

    def is_committed_to(self, ends: dict[int, int]) -> bool:
        committed = self.rig.committed(f"{self.load.prefix}stream-processor", self.load.topic)
        return all(committed.get(partition, 0) >= end for partition, end in ends.items())


def run_ours(rig: Rig, load: Load, delivery: str = "exactly-once") -> Run:
    rig.reset_ours(load)
    run = begin(rig, load, "tidewatch" if delivery == "exactly-once" else f"tidewatch-{delivery}")
    ends = rig.ends(load.topic)
    written = Written(rig, load.prefix, load.topic)
    ours = Ours(rig, load, delivery)
    watch(ours.process, run, ours.records, written.look, lambda: ours.is_committed_to(ends))
    run.kafka_bytes = written.total()
    if not run.failed:
        run.failed = rig.check(load, load.prefix, "aggregate")
    return run


def begin(rig: Rig, load: Load, contender: str) -> Run:
    assert load.facts
    # The end may have grown by the ticks of a run before.
    return Run(contender, load.name, samples=load.facts["samples"], records=sum(rig.ends(load.topic).values()))
