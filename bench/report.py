"""Figures against what is asked of them: bench/results/<name>.json, and a line in bench/RESULTS.md."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
RESULTS = REPO / "bench" / "results"
HISTORY = REPO / "bench" / "RESULTS.md"
HEADER = """# Benchmark results

One line for each run, appended by the benchmark itself; the newest run's figures are in `bench/results/`. A ratio was taken side by
side on one machine in one run. `!` = below its gate, `*` = beyond its stretch.

| date | benchmark | commit | machine | figures |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Gate:
    """What a figure has to be; `most` = no more than that, otherwise no less."""

    unit: str
    gate: float
    stretch: float
    most: bool = False

    def met(self, value: float, bound: float) -> bool:
        return value <= bound if self.most else value >= bound


class Report:
    """The results of one run of one benchmark."""

    def __init__(self, name: str, command: str, gates: dict[str, Gate]):
        self.name, self.command, self.gates = name, command, gates
        self.results: list[dict] = []
        self.runs: list[dict] = []

    def add(self, key: str, value: float, peer: object = None, unit: str | None = None) -> None:
        """A figure; one without a gate is told and judged by nobody."""
        gate = self.gates.get(key)
        value = round(value, 4) if abs(value) < 1_000 else round(value)
        self.results.append({
            "id": key, "value": value, "unit": gate.unit if gate else unit,
            "gate": gate and gate.gate, "stretch": gate and gate.stretch, "peer": peer,
            "met": gate and gate.met(value, gate.gate),
        })
        print(f"  {self.line(self.results[-1])}", flush=True)

    def fail(self, key: str, peer: dict) -> None:
        """A comparison that could not be made."""
        gate = self.gates.get(key)
        self.results.append({
            "id": key, "value": None, "unit": gate and gate.unit, "gate": gate and gate.gate, "stretch": gate and gate.stretch,
            "peer": peer, "met": None,
        })

    def line(self, result: dict) -> str:
        mark = ""
        if result["value"] is None:
            return f"{result['id']} failed"
        if gate := self.gates.get(result["id"]):
            mark = "!" if not result["met"] else "*" if gate.met(result["value"], gate.stretch) else ""
        return f"{result['id']} {shown(result['value'])} {result['unit']}{mark}"

    def write(self, versions: dict[str, str], trial: bool = False) -> Path:
        """A trial leaves no line in the history."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC)
        whole = {
            "name": self.name, "commit": commit(), "date": now.isoformat(timespec="seconds"), "machine": machine(),
            "versions": versions, "command": self.command, "results": self.results, "runs": self.runs,
        }
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(whole, indent=2) + "\n")
        if trial:
            return path
        if not HISTORY.exists():
            HISTORY.write_text(HEADER)
        figures = "; ".join(self.line(result) for result in self.results)
        with HISTORY.open("a") as history:
            history.write(f"| {now:%Y-%m-%d %H:%M} | `{self.command}` | {whole['commit']} | {machine()} | {figures} |\n")
        return path

    def missed(self) -> list[str]:
        return [result["id"] for result in self.results if result["met"] is False]


def shown(value: float) -> str:
    for size, letter in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (size if letter == ' M' else 1e3):.2f}{letter}"
    return f"{value:.3g}"


def first_line(command: Iterable[str]) -> str:
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, cwd=REPO, check=False)
    except OSError:
        return "unknown"
    return (done.stdout or done.stderr).strip().split("\n")[0]


def commit() -> str:
    dirty = first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return first_line(["git", "rev-parse", "--short=12", "HEAD"]) + ("+" if dirty else "")


def machine() -> str:
    processors = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cores, model = len(processors), (processors or ["?"])[0]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return f"{cores} x {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}"
