"""make bench-sink: the sink's rows a second beside psql's `\\copy` of the same rows into the same table, one after the other.

In: QUICK=1 for a trial with few rows. Out: bench/results/sink.json and a line in bench/RESULTS.md. Keeps: a run whose rows do not
add up to what was sent is reported as failed and not timed; both write into one database that nobody tunes for either.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg

import services
from report import Gate, Report, first_line
from rig import REPO, Load, Rig, bound

QUICK = bool(os.environ.get("QUICK"))
REPEATS = 2 if QUICK else 3
SERVERS, WINDOWS = (200, 20) if QUICK else (1_000, 30)
SERIES = 100
TABLE = "samples_10s"

GATES = {
    "sink.vs_copy": Gate("x", 0.7, 0.9),
}


class Bench:
    def __init__(self, rig: Rig, report: Report):
        self.rig, self.report = rig, report
        self.load = Load("sink", "windows", SERVERS, SERIES, 0)
        self.facts: dict = {}
        self.psql = shutil.which("psql") or "psql"

    def fill(self) -> None:
        self.rig.create_ours(self.load)
        self.facts = json.loads(self.rig.run_program(
            "windows", "--brokers", self.rig.kafka, "--topic", f"{self.load.prefix}metrics.10s", "--servers", str(SERVERS),
            "--series", str(SERIES), "--windows", str(WINDOWS),
        ))
        print(f"{self.facts['records']} records of {SERIES} series, {self.facts['rows']} rows", flush=True)

    def reset(self) -> None:
        """As if nothing had been written: what the rows refer to stays, as it is there for the peer, too."""
        if self.rig.sql("SELECT to_regclass('ingest_offsets')") == [(None,)]:
            return
        self.rig.sql(f"TRUNCATE {TABLE}, ingest_offsets")
        self.rig.sql("UPDATE servers SET first_seen = '2000-01-01', last_seen = '2000-01-01'")
        self.rig.sql("VACUUM ANALYZE")

    def check(self) -> str | None:
        rows, count, total = self.rig.sql(f"SELECT count(*), sum(count)::bigint, sum(sum) FROM {TABLE}")[0]
        wanted = (self.facts["rows"], self.facts["count"], self.facts["sum"])
        return None if (rows, count, total) == wanted else f"{rows} rows, {count} samples, sum {total}; expected {wanted}"

    def sink(self) -> dict:
        """Rows a second between the first commit and the last: neither the start nor the way into the group counts."""
        self.reset()
        process = services.start(self.rig, "sink", self.load.prefix)
        records, first = self.facts["records"], None
        until = time.monotonic() + 600
        with psycopg.connect(self.rig.stack.postgres_url, autocommit=True) as watch:
            query = "SELECT coalesce(sum(next_offset), 0)::bigint FROM ingest_offsets WHERE topic = %s"
            while (done := self.committed(watch, query)) < records:
                if first is None and done:
                    first = (time.monotonic(), done, process.cpu())
                if not process.alive() or time.monotonic() > until:
                    return {"contender": "tidewatch", "failed": f"at record {done} of {records}: {process.tail()}"}
                time.sleep(0.02)
        ended = time.monotonic()
        assert first
        cpu, peak = process.cpu() - first[2], process.memory()
        process.end()
        rows = (records - first[1]) * SERIES
        return self.told("tidewatch", rows, ended - first[0], {"cpu_seconds": cpu, "peak_bytes": peak})

    def committed(self, connection: psycopg.Connection, query: str) -> int:
        try:
            found = connection.execute(query, (f"{self.load.prefix}metrics.10s",)).fetchone()
        except psycopg.errors.UndefinedTable:
            return 0
        return found[0] if found else 0

    def told(self, contender: str, rows: int, seconds: float, more: dict) -> dict:
        failed = self.check()
        run = {"contender": contender, "rows": rows, "seconds": seconds, "rows_per_second": rows / seconds, "failed": failed} | more
        told = f"FAILED: {failed}" if failed else f"{rows / seconds / 1e3:.1f} k rows/s, {rows} rows in {seconds:.1f} s"
        print(f"  {contender}: {told} {' '.join(f'{name}={value:.4g}' for name, value in more.items())}", flush=True)
        return run

    def file(self, form: str) -> Path:
        return self.rig.work / f"rows.{form}"

    def export(self) -> None:
        """The rows as they came: window by window."""
        for form in ("text", "binary"):
            self.run_psql(f"\\copy (SELECT * FROM {TABLE} ORDER BY ts, series_id) TO '{self.file(form)}' (FORMAT {form})")

    def copy(self, form: str) -> dict:
        self.reset()
        began = time.monotonic()
        self.run_psql(f"\\copy {TABLE} FROM '{self.file(form)}' (FORMAT {form})")
        return self.told(f"psql-copy-{form}", self.facts["rows"], time.monotonic() - began, {})

    def run_psql(self, command: str) -> None:
        subprocess.run(
            bound([self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.rig.stack.postgres_url, "-c", command], "KILL"),
            check=True, timeout=600, env=self.rig.env(),
        )

    def run(self) -> None:
        self.fill()
        runs = [self.sink()]
        if not runs[0]["failed"]:
            self.export()
        rates: dict[str, list[float]] = {}
        # alternating, for a machine drifts; the first run of the sink made the tables and is not counted
        for _ in range(0 if runs[0]["failed"] else REPEATS):
            runs += [self.sink(), self.copy("text"), self.copy("binary")]
        for run in runs[1:]:
            if not run["failed"]:
                rates.setdefault(run["contender"], []).append(run["rows_per_second"])
        self.report.runs += runs
        if not {"tidewatch", "psql-copy-text", "psql-copy-binary"} <= set(rates):
            self.report.fail("sink.vs_copy", {"name": "psql-copy", "failed": [run["failed"] for run in runs if run["failed"]]})
            return
        median = {name: statistics.median(found) for name, found in rates.items()}
        self.report.add("sink.rows", median["tidewatch"], unit="rows/s")
        for form in ("text", "binary"):
            peer = {"name": f"psql \\copy, {form}", "rows_per_second": round(median[f"psql-copy-{form}"])}
            key = "sink.vs_copy" if form == "text" else "sink.vs_copy_binary"
            self.report.add(key, median["tidewatch"] / median[f"psql-copy-{form}"], peer, unit="x")


def main() -> int:
    told = [f"{name}={shlex.quote(value)}" for name in ("PROFILE", "QUICK") if (value := os.environ.get(name))]
    report = Report("sink" if not QUICK else "sink-quick", " ".join(["make bench-sink", *told]), GATES)
    with Rig(parts=("kafka", "postgres", "redis")) as rig:
        bench = Bench(rig, report)
        bench.run()
        versions = {
            "postgresql": bench.rig.sql("SHOW server_version")[0][0], "rustc": first_line(["rustc", "--version"]),
        }
    path = report.write(versions, trial=QUICK)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 1 if any(run["failed"] for run in report.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
