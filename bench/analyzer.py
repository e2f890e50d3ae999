"""make bench-analyzer: what the analyzer's core costs: values a second, bytes a series, snapshots, the silent replay; Random Cut Forest beside it.

In: PARTS (core forest), QUICK=1 for a trial with few series. Out: bench/results/analyzer.json and a line in bench/RESULTS.md. Keeps:
CPU time of one thread, no Kafka; the forest is shown the very values that the core was, one after the other in one run.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from report import Gate, Report, first_line
from rig import PROGRAMS, REPO, bound

QUICK = bool(os.environ.get("QUICK"))
PARTS = ("core", "forest")
FOREST = REPO / "bench" / "peers" / "forest"
# Two hours are replayed by default: 720 windows. The detectors are warm after 300.
SERIES, REPLAY, LIVE = (20_000, 310, 30) if QUICK else (1_000_000, 720, 60)
BESIDE_SERIES, BESIDE_WINDOWS = (30, 1_000) if QUICK else (100, 3_000)
# A forest's cost varies little; ours at so few series is over in a blink.
REPEATS = 1 if QUICK else 3

GATES = {
    "core.values": Gate("values/CPU-s", 500e3, 1e6),
    "core.cpu_per_value": Gate("us", 2, 1, most=True),
    "core.bytes_per_series": Gate("B", 4_096, 2_048, most=True),
}


def run(program: Path, *args: object) -> dict:
    """What a program says of itself; its complaint when it fails."""
    done = subprocess.run(
        bound([str(program), *map(str, args)], "KILL"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=7_200, check=False,
    )
    if done.returncode:
        return {"failed": f"{program.name} ended with status {done.returncode}: {done.stderr.strip()}"}
    return json.loads(done.stdout) | {"failed": None}


class Bench:
    def __init__(self, report: Report):
        self.report = report

    def keep(self, contender: str, load: str, facts: dict) -> dict:
        self.report.runs.append({"contender": contender, "load": load} | facts)
        if facts["failed"]:
            print(f"  {contender}: FAILED: {facts['failed']}", flush=True)
        return facts

    def core(self) -> None:
        facts = self.keep("tidewatch", "core", run(PROGRAMS / "judge", "--series", SERIES, "--replay", REPLAY, "--live", LIVE))
        if facts["failed"]:
            self.report.fail("core.values", {"failed": facts["failed"]})
            return
        live, replay = facts["live"], facts["replay"]
        self.report.add("core.values", live["values"] / live["cpu_seconds"])
        self.report.add("core.cpu_per_value", 1e6 * live["cpu_seconds"] / live["values"])
        told = {"name": "its own sum", "B": facts["told_bytes"] / facts["series"]}
        self.report.add("core.bytes_per_series", facts["resident_bytes"] / facts["series"], told)
        # Of these windows and this many series, on one core: Kafka's part comes on top, and more partitions share it among cores.
        what = {"name": "replayed", "windows": replay["windows"], "series": facts["series"], "values": replay["values"]}
        self.report.add("core.replay", replay["cpu_seconds"], what, unit="CPU-s")
        self.report.add("core.replay_decoding", facts["decode_seconds_a_value"] * replay["values"], what, unit="CPU-s")
        self.report.add("core.go_live", facts["go_live_seconds"], unit="CPU-s")
        memory, every = facts["memory"], {"name": "all servers once", "series": facts["series"]}
        self.report.add("core.snapshot_write", memory["write_seconds"], every, unit="CPU-s")
        self.report.add("core.snapshot_read", memory["read_seconds"], every, unit="CPU-s")
        self.report.add("core.snapshot_bytes", memory["bytes"] / facts["series"], unit="B a series")

    def forest(self) -> None:
        with tempfile.TemporaryDirectory(prefix="tidewatch-bench-") as folder:
            values = Path(folder) / "values"
            ours, theirs = [], []
            # in turn, for a machine drifts
            for _ in range(REPEATS):
                ours.append(self.keep("tidewatch", "beside", run(
                    PROGRAMS / "judge", "--series", BESIDE_SERIES, "--replay", 0, "--live", BESIDE_WINDOWS, "--values", values,
                )))
                if ours[-1]["failed"]:
                    break
                theirs.append(self.keep("random-cut-forest", "beside", run(forest_program(), values, ours[-1]["series"])))
        failed = [facts["failed"] for facts in ours + theirs if facts["failed"]]
        if failed:
            self.report.fail("forest.vs", {"name": "random-cut-forest", "failed": failed})
            return
        us = statistics.median(1e6 * facts["live"]["cpu_seconds"] / facts["live"]["values"] for facts in ours)
        forest_us = statistics.median(1e6 * facts["cpu_seconds"] / facts["values"] for facts in theirs)
        series = ours[0]["series"]
        forest_bytes = statistics.median(facts["resident_bytes"] for facts in theirs) / series
        bytes_ = ours[0]["told_bytes"] / series
        settings = {name: theirs[0][name] for name in ("trees", "sample", "shingle")}
        self.report.add("forest.cpu_per_value", us, unit="us")
        self.report.add("forest.vs", forest_us / us, {"name": f"krcf {version('krcf')}", "us": forest_us} | settings, unit="x")
        self.report.add("forest.vs_bytes", forest_bytes / bytes_, {"name": f"krcf {version('krcf')}", "B": forest_bytes, "ours": bytes_}, unit="x")


def forest_program() -> Path:
    """Built by scripts/bench.sh, with the profile that ours is built with."""
    return FOREST.parent / "target" / "forest" / os.environ.get("PROFILE", "dist") / "tidewatch-bench-forest"


def version(crate: str) -> str:
    """Of the forest's lock file."""
    lines = (FOREST / "Cargo.lock").read_text().splitlines()
    place = lines.index(f'name = "{crate}"')
    return lines[place + 1].split('"')[1]


def main() -> int:
    asked = os.environ.get("PARTS", "").split() or list(PARTS)
    if unknown := set(asked) - set(PARTS):
        print(f"there is no part named {' '.join(unknown)}: {' '.join(PARTS)}", file=sys.stderr)
        return 64
    told = [f"{name}={shlex.quote(value)}" for name in ("PARTS", "PROFILE", "QUICK") if (value := os.environ.get(name))]
    report = Report("analyzer" if not QUICK else "analyzer-quick", " ".join(["make bench-analyzer", *told]), GATES)
    for part in asked:
        print(f"== {part}", flush=True)
        getattr(Bench(report), part)()
    path = report.write({"krcf": version("krcf"), "rustc": first_line(["rustc", "--version"])}, trial=QUICK)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 1 if any(run["failed"] for run in report.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
