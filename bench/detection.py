"""make eval-detection: how well the detector hears, on labelled series, with the shipped configuration at threshold 1.0.

In: TIDEWATCH_EVAL (score.py, the references), TIDEWATCH_EVAL_DATA (the series), the built program. Out: a table beside the references
and simple peers, bench/results/detection.json and a line in bench/RESULTS.md. Keeps: what judges is score.py as it is; peers get their
best threshold on these very files, tidewatch has 1.0.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import numpy
import pandas

import ears
import halves
from report import REPO, Gate, Report, first_line

KINDS = ("nab", "web", "servers")
UNITS = {"nab": "points", "web": "F1", "servers": "F1"}
WEEK, DAY = 7 * 86_400, 86_400
GATES = {
    "detection.nab": Gate("points", 78, 80),
    "detection.web": Gate("F1", 0.80, 0.85),
    "detection.web_false": Gate("a series-week", 0.5, 0.3, most=True),
    "detection.servers": Gate("F1", 0.65, 0.75),
    "detection.servers_false": Gate("a server-day", 0.5, 0.3, most=True),
}


def judged(folder: Path, data: Path, kind: str, scores: Path) -> tuple[float, float, str]:
    """At threshold 1.0, at the best one, and all that score.py says."""
    command = [sys.executable, folder / "score.py", kind, data / kind, scores]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if kind == "nab":
        found = re.search(r"standard\s+at threshold 1\.0:\s*(\S+)\s+best:\s*(\S+)", text)
        figures = found.groups() if found else ()
    else:
        figures = re.findall(r"F1 (\S+)", text)
    if len(figures) != 2:
        sys.exit(f"score.py says something else than it used to:\n{text}")
    return float(figures[0]), float(figures[1]), text


class Eval:
    def __init__(self, folder: Path, data: Path, report: Report):
        self.folder, self.data, self.report = folder, data, report
        self.judge = ears.load(folder / "score.py")
        # name -> kind -> (at 1.0, best)
        self.found: dict[str, dict[str, tuple[float, float]]] = {}
        self.counted: dict[str, halves.Counted] = {}

    def hear(self, name: str, ear: ears.Python | ears.Tidewatch, work: Path) -> None:
        self.found[name] = {}
        for kind in KINDS:
            out = work / name.replace(" ", "-") / kind
            ear.hear(self.data, kind, out)
            at_one, best, text = judged(self.folder, self.data, kind, out)
            self.found[name][kind] = (at_one, best)
            counted = self.count(kind, out)
            if abs(counted.whole() - at_one) > (0.01 if kind == "nab" else 0.001):
                sys.exit(f"{name}, {kind}: {counted.whole()} here, {at_one} by score.py")
            mean, spread = counted.halves()
            self.report.runs.append({
                "contender": name, "set": kind, "at_one": at_one, "best": best, "halves_mean": round(mean, 4), "halves_spread": round(spread, 4),
                "false": counted.false, "score": text.splitlines(),
            })
            if name == "tidewatch":
                self.counted[kind] = counted
        print(f"  {name:18} {self.row(name)}", flush=True)

    def count(self, kind: str, scores: Path) -> halves.Counted:
        return halves.nab(self.judge, self.data, scores) if kind == "nab" else halves.events(kind, self.data, scores)

    def row(self, name: str) -> str:
        # a peer's first figure says nothing: its scores have no bar at 1
        return "   ".join(f"{at_one:6.3f} / {best:6.3f}" for at_one, best in self.found[name].values())

    def peers(self, kind: str) -> dict:
        others = {name: found[kind] for name, found in self.found.items() if name != "tidewatch"}
        return {name: {"at_one": at_one, "best": best} for name, (at_one, best) in others.items()}

    def tell(self) -> None:
        for kind in KINDS:
            self.report.add(f"detection.{kind}", self.found["tidewatch"][kind][0], self.peers(kind))
            mean, spread = self.counted[kind].halves()
            self.report.add(f"detection.{kind}_halves", mean, {"spread": round(spread, 4), "halves": halves.HALVES}, unit=UNITS[kind])
        for kind, span in (("web", WEEK), ("servers", DAY)):
            counted = self.counted[kind]
            self.report.add(f"detection.{kind}_false", counted.false / (counted.length / span))


def values_in(data: Path) -> int:
    return sum(
        sum(len(column) for column in ears.columns(pandas.read_csv(data / kind / file))) for kind in KINDS for file in ears.files(data, kind)
    )


def main() -> int:
    folder, data = Path(os.environ["TIDEWATCH_EVAL"]), Path(os.environ["TIDEWATCH_EVAL_DATA"])
    program = Path(os.environ["TIDEWATCH_TEST_PROGRAMS"]) / "tidewatch"
    if not program.exists():
        sys.exit(f"{program} is missing: build it, or leave TIDEWATCH_TEST_PROGRAMS unset")
    told = [f"{name}={shlex.quote(value)}" for name in ("PROFILE",) if (value := os.environ.get(name))]
    report = Report("detection", " ".join(["make eval-detection", *told]), GATES)
    with tempfile.TemporaryDirectory() as work:
        # numba would write its cache beside the references, which are not ours
        numba.config.CACHE_DIR = str(Path(work) / "numba")
        whole = Eval(folder, data, report)
        print(f"at threshold 1.0 / at the best one{'':6}" + "".join(f"{kind:18}" for kind in KINDS), flush=True)
        tidewatch = ears.Tidewatch(program)
        whole.hear("tidewatch", tidewatch, Path(work))
        for name, ear in ears.peers(folder).items():
            whole.hear(name, ear, Path(work))
        whole.tell()
        report.add("detection.cost", tidewatch.seconds / values_in(data) * 1e6, unit="us CPU/value, files read and written")
    versions = {
        "rustc": first_line(["rustc", "--version"]), "python": sys.version.split()[0], "numpy": numpy.__version__,
        "numba": numba.__version__,
    }
    path = report.write(versions)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
