"""make bench-fleet: what the analyzer says of a simulated fleet in which forty things of eight kinds go wrong in two days.

In: QUICK=1 for a trial with few servers and one incident of each kind, SEED. Out: a table, bench/results/fleet.json and a line in
bench/RESULTS.md. Keeps: the analyzer's core with the rules it is shipped with, no Kafka; the same seed gives the same figures.
"""

from __future__ import annotations

import os
import shlex
import statistics
import sys

from analyzer import run
from report import Gate, Report, first_line
from rig import PROGRAMS, REPO

QUICK = bool(os.environ.get("QUICK"))
SEED = int(os.environ.get("SEED") or 1)
SHAPE = {"servers": 40, "hours": 14, "calm": 4, "each": 1, "together": 20} if QUICK else {
    "servers": 200, "hours": 48, "calm": 12, "each": 5, "together": 20,
}

# False episodes as detection goals have them; how many are found has no goal of its own yet.
GATES = {
    "fleet.false_alerts": Gate("alerts/server-day", 0.5, 0.1, most=True),
}


def span(seconds: float) -> str:
    for size, unit in ((3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def table(facts: dict) -> str:
    """A row for each kind, as docs/detection.md may take it over."""
    lines = [
        "| kind | incidents | found | missed | to the first alert: median, slowest | first said by | alerts an incident: mean, most |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in facts["kinds"]:
        seconds, alerts = kind["seconds"], kind["alerts"]
        soon = f"{span(statistics.median(seconds))}, {span(max(seconds))}" if seconds else "-"
        by = ", ".join(f"{rule} {count}" for rule, count in kind["found_by"].items()) or "-"
        many = f"{statistics.mean(alerts):.1f}, {max(alerts)}" if alerts else "-"
        lines.append(f"| {kind['kind']} | {kind['incidents']} | {kind['found']} | {kind['missed']} | {soon} | {by} | {many} |")
    wrong = ", ".join(f"{rule} {count}" for rule, count in facts["false_alerts"].items()) or "none"
    lines += [
        "",
        f"{facts['servers']} servers, {facts['hours']} h, {facts['values'] / 1e6:.1f} M values in {facts['cpu_seconds']:.0f} CPU-s, seed {facts['seed']}. "
        f"False alerts: {facts['false_alerts_a_server_day']:.3f} a server-day ({wrong}).",
    ]
    return "\n".join(lines)


def main() -> int:
    told = [f"{name}={shlex.quote(value)}" for name in ("SEED", "PROFILE", "QUICK") if (value := os.environ.get(name))]
    report = Report("fleet" if not QUICK else "fleet-quick", " ".join(["make bench-fleet", *told]), GATES)
    facts = run(PROGRAMS / "rehearse", "--seed", SEED, *(part for name, value in SHAPE.items() for part in (f"--{name}", value)))
    report.runs.append({"contender": "tidewatch"} | facts)
    if facts["failed"]:
        print(f"FAILED: {facts['failed']}", file=sys.stderr)
        report.fail("fleet.false_alerts", {"failed": facts["failed"]})
    else:
        print(table(facts), flush=True)
        incidents = sum(kind["incidents"] for kind in facts["kinds"])
        found = sum(kind["found"] for kind in facts["kinds"])
        report.add("fleet.found", found, {"name": "injected", "incidents": incidents}, unit=f"of {incidents}")
        report.add("fleet.false_alerts", facts["false_alerts_a_server_day"])
        alerts = [count for kind in facts["kinds"] for count in kind["alerts"] if count]
        report.add("fleet.alerts_per_incident", statistics.mean(alerts) if alerts else 0, unit="alerts")
        for kind in facts["kinds"]:
            key = f"fleet.{kind['kind'].replace(' ', '_')}"
            report.add(f"{key}.found", kind["found"], unit=f"of {kind['incidents']}")
            if kind["seconds"]:
                report.add(f"{key}.seconds", statistics.median(kind["seconds"]), unit="s")
    path = report.write({"rustc": first_line(["rustc", "--version"])}, trial=QUICK)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 1 if facts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
