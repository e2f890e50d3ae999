"""make bench-stream: the stream processor side by side with Kafka Streams and Flink, on one Kafka and the same topics.

In: PARTS (frames named rows delivery live recovery sizes; all unless told) and QUICK=1 for a trial with little data. Out:
bench/results/stream.json and a line in bench/RESULTS.md. Keeps: a contender whose windows do not add up to what was sent is
reported as failed and not timed.
"""

from __future__ import annotations

import os
import re
import shlex
import statistics
import sys
from pathlib import Path

from contenders import PEERS, delivery_can_be_set, java_program, run_ours, run_peer
from live import delays, recovery
from measure import Run
from report import Gate, Report, first_line
from rig import REPO, Load, Rig

QUICK = bool(os.environ.get("QUICK"))
THREADS = int(os.environ.get("THREADS") or "1")
PARTS = ("frames", "named", "rows", "delivery", "live", "recovery", "sizes")
PEER_NAMES = (os.environ.get("PEERS") or "kafka-streams-plain kafka-streams-tuned flink-plain flink-tuned").split()
REPEATS = 3 if QUICK else 7

RATE = "samples/CPU-s"
GATES = {
    "frames.exactly_once": Gate(RATE, 15e6, 40e6),
    "rows.exactly_once": Gate(RATE, 1e6, 1.6e6),
    "frames.vs_kafka_streams_plain": Gate("x", 100, 250),
    "rows.vs_kafka_streams_plain": Gate("x", 6, 10),
    "frames.vs_kafka_streams_tuned": Gate("x", 8, 20),
    "frames.vs_flink_plain": Gate("x", 50, 150),
    "rows.vs_flink_plain": Gate("x", 4, 8),
    "frames.vs_flink_tuned": Gate("x", 6, 15),
    "delivery.exactly_once_cost": Gate("% CPU", 5, 2, most=True),
    "live.window_end_to_visible_p99": Gate("s", 4, 2.5, most=True),
    "recovery.restart_to_committed_window": Gate("s", 10, 3, most=True),
    "memory.per_active_series": Gate("B", 400, 250, most=True),
}

# A trial is over before a virtual machine is warm: its ratios say little.
SERVERS = {"frames": 400, "named": 400, "rows": 64} if QUICK else {"frames": 1_000, "named": 1_000, "rows": 1_000}
SECONDS = {"frames": 150, "named": 150, "rows": 150} if QUICK else {"frames": 200, "named": 200, "rows": 150}


class Bench:
    def __init__(self, rig: Rig, report: Report):
        self.rig, self.report = rig, report

    def load(self, name: str, shape: str, servers: int, seconds: int, interval: int = 1) -> Load:
        load = self.rig.fill(Load(name, shape, servers, 100, seconds, interval))
        facts = load.facts or {}
        size, seconds_ = facts["bytes"] / 1e6, facts["seconds"]
        print(f"{name}: {facts['records']} records, {facts['samples']} samples, {size:.0f} MB in {seconds_:.1f} s", flush=True)
        return load

    def tell(self, run: Run) -> Run:
        self.report.runs.append(run.facts())
        if run.failed:
            print(f"  {run.contender} FAILED: {run.failed}", flush=True)
        else:
            print(
                f"  {run.contender}: {run.warm_per_cpu_second / 1e6:.3f} M samples/CPU-s warm, {run.per_cpu_second / 1e6:.3f} M whole; "
                f"{run.cpu_seconds:.1f} CPU-s, {run.wall_seconds:.1f} s, {run.peak_bytes / 2**20:.0f} MiB, "
                f"{run.kafka_bytes / 2**20:.0f} MiB to Kafka",
                flush=True,
            )
        return run

    def shape(self, shape: str, peers: list[str]) -> None:
        """One shape of record: ours, then each peer, one after the other."""
        load = self.load(shape, shape, SERVERS[shape], SECONDS[shape])
        ours = [self.tell(run_ours(self.rig, load)) for _ in range(3)]
        good = sorted((run.warm_per_cpu_second for run in ours if not run.failed), reverse=True)
        mine = statistics.median(good) if good else 0.0
        self.report.add(f"{shape}.exactly_once", mine, unit=RATE)
        for name in peers:
            run = self.tell(run_peer(self.rig, load, name, THREADS))
            key = f"{shape}.vs_{name.replace('-', '_')}"
            if run.failed:
                self.report.fail(key, {"name": name, "failed": run.failed})
            else:
                peer = {"name": name, "samples_per_cpu_second": round(run.warm_per_cpu_second), "threads": THREADS}
                self.report.add(key, mine / run.warm_per_cpu_second, peer, "x")
        self.rig.delete(self.rig.topics(load.prefix))

    def frames(self) -> None:
        self.shape("frames", PEER_NAMES)

    def named(self) -> None:
        """Frames of our own collectors, whose layouts are announced once. A peer would have to look them up, and has nowhere to."""
        self.shape("named", [])

    def rows(self) -> None:
        self.shape("rows", PEER_NAMES)

    def delivery(self) -> None:
        """Exactly once against at least once: alternating, because a machine drifts."""
        if not delivery_can_be_set():
            print("  this build cannot be told at-least-once: the part is left out", flush=True)
            return
        load = self.load("delivery", "frames", SERVERS["frames"], SECONDS["frames"])
        costs: dict[str, list[float]] = {"exactly-once": [], "at-least-once": []}
        for _ in range(REPEATS):
            for delivery, cost in costs.items():
                run = self.tell(run_ours(self.rig, load, delivery))
                if not run.failed:
                    cost.append(run.cpu_seconds)
        if all(costs.values()):
            exactly, least = (statistics.median(cost) for cost in costs.values())
            peer = {"name": "at-least-once", "cpu_seconds": least, "runs": costs}
            self.report.add("delivery.exactly_once_cost", 100 * (exactly / least - 1), peer)
        self.rig.delete(self.rig.topics(load.prefix))

    def live(self) -> None:
        load = Load("live", "frames", SERVERS["frames"], 100, 40 if QUICK else 90)
        found = delays(self.rig, load)
        self.report.add("live.window_end_to_visible_p50", found["p50"], unit="s")
        self.report.add("live.window_end_to_visible_p99", found["p99"])
        self.rig.delete(self.rig.topics(load.prefix))

    def recovery(self) -> None:
        load = self.load("recovery", "frames", 1_000 if QUICK else 10_000, 240, 10)
        found = recovery(self.rig, load)
        self.report.add("recovery.restart_to_committed_window", found["seconds"], {"replayed_records": found["replayed"]})
        series = load.servers * load.series
        for key, bytes_ in (("memory.per_active_series", found["peak"]), ("memory.per_active_series_steady", found["steady"])):
            self.report.add(key, (bytes_ - found["idle"]) / series, {"idle_bytes": found["idle"], "series": series}, unit="B")
        self.rig.delete(self.rig.topics(load.prefix))

    def sizes(self) -> None:
        """Ours alone: what more series, other frames and more partitions cost. One of them changes at a time."""
        seconds = SECONDS["frames"]
        loads = [Load(f"series-{n}", "frames", n // 100, 100, seconds, 10 if n >= 1_000_000 else 1) for n in (10_000, 100_000, 1_000_000)]
        loads += [Load(f"values-{n}", "frames", 100_000 // n, n, seconds) for n in (10, 1_000)]
        loads += [Load(f"partitions-{n}", "frames", 1_000, 100, seconds, partitions=n) for n in (1, 64)]
        for load in loads[:2] if QUICK else loads:
            self.rig.fill(load)
            run = self.tell(run_ours(self.rig, load))
            if not run.failed:
                self.report.add(f"sizes.{load.name}", run.warm_per_cpu_second, {"peak_bytes": run.peak_bytes}, unit=RATE)
            self.rig.delete(self.rig.topics(load.prefix))


def versions() -> dict[str, str]:
    def of(pom: Path, name: str) -> str:
        found = re.search(rf"<{name}>([^<]+)<", pom.read_text())
        return found[1] if found else "unknown"

    return {
        "broker": of(REPO / "deploy" / "local" / "pom.xml", "kafka.version"),
        "kafka-streams": of(PEERS / "pom.xml", "kafka.version"),
        "flink": of(PEERS / "pom.xml", "flink.version"),
        "flink-connector-kafka": of(PEERS / "pom.xml", "flink.kafka.version"),
        "java": first_line([java_program(), "-version"]),
        "rustc": first_line(["rustc", "--version"]),
    }


def main() -> int:
    asked = os.environ.get("PARTS", "").split() or list(PARTS)
    if unknown := set(asked) - set(PARTS):
        print(f"there is no part named {' '.join(unknown)}: {' '.join(PARTS)}", file=sys.stderr)
        return 64
    told = [f"{name}={shlex.quote(value)}" for name in ("PARTS", "PROFILE", "QUICK", "THREADS", "PEERS") if (value := os.environ.get(name))]
    report = Report("stream" if not QUICK else "stream-quick", " ".join(["make bench-stream", *told]), GATES)
    with Rig() as rig:
        for part in asked:
            print(f"== {part}", flush=True)
            getattr(Bench(rig, report), part)()
    path = report.write(versions(), trial=QUICK)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 1 if any(run["failed"] for run in report.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
