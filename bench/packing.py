"""make bench-packing: what a window of a closed day takes on the disk before and after packing, and how long a read of it takes.

In: QUICK=1 for a trial with few series. Out: bench/results/packing.json and a line in bench/RESULTS.md. Keeps: every row that is read
afterwards is the one from before (a digest over all of them), or the run has failed; sizes count tables, TOAST and indexes after VACUUM.
"""

from __future__ import annotations

import datetime
import os
import random
import shlex
import statistics
import sys
import time
from collections.abc import Iterator

import psycopg

import services
from measure import Process
from report import Gate, Report, first_line
from rig import REPO, Rig, wait_until

QUICK = bool(os.environ.get("QUICK"))
SERVERS = 1 if QUICK else 3
# Of a server: what a node exporter shows, counters and gauges as bench/src/fleet.rs has them, about a third of them still.
KINDS = ["cpu"] * 16 + ["bytes"] * 10 + ["operations"] * 7 + ["still"] * 5 + ["memory"] * 7 + ["percent"] * 2 + ["load", "size", "size"]
WINDOWS = 8_640
DAY = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - datetime.timedelta(days=2)
CHILD = f"{DAY:%Y%m%d}"
READS = 30

GATES = {
    "packing.bytes_per_row": Gate("B", 40, 20, most=True),
}


def samples(kind: str, rng: random.Random, count: int) -> Iterator[float]:
    """A day of a series, a sample at a time."""
    value, rate = float(rng.randrange(10**6)), rng.random()
    if kind == "cpu":
        ticks = rng.randrange(10**8)
        for _ in range(count):
            ticks += min(1, rng.randrange(3)) + int(100 * rate * rng.random())
            yield ticks / 100
    elif kind in ("bytes", "operations"):
        most = 10**7 if kind == "bytes" else 900
        total = rng.randrange(10**11 if kind == "bytes" else 10**8)
        for _ in range(count):
            total += rng.randrange(int(most * rate) + 1)
            yield float(total)
    elif kind == "memory":
        pages = rng.randrange(10**6) + 10**5
        for _ in range(count):
            pages = max(0, pages + rng.randrange(-300, 301))
            yield pages * 4096.0
    elif kind == "percent":
        for _ in range(count):
            yield 100 * rng.random()
    elif kind == "load":
        for _ in range(count):
            value = max(0.0, 0.98 * value + rng.random() * 0.1)
            yield round(value, 2)
    else:
        for _ in range(count):
            yield value


def rows(series: int, kind: str, per_window: int) -> Iterator[tuple]:
    """Its windows, as the stream processor makes them."""
    rng = random.Random(series * 100 + per_window)
    source = samples(kind, rng, WINDOWS * per_window)
    counter = kind in ("cpu", "bytes", "operations", "still")
    phase, offset = rng.randrange(1_000), rng.randrange(10**6)
    # frames of one server: its series share times and offsets
    clock, log = random.Random(series // len(KINDS)), random.Random(series // len(KINDS) + 1)
    for n in range(WINDOWS):
        values = [next(source) for _ in range(per_window)]
        mean, m2, total = 0.0, 0.0, 0.0
        for place, value in enumerate(values, 1):
            delta = value - mean
            mean += delta / place
            m2 += delta * (value - mean)
            total += value
        increase = 0.0
        if counter:
            for a, b in zip(values, values[1:]):
                increase += b - a
        offset += 10 * 400 + log.randrange(-40, 41)
        first_at = phase + clock.randrange(12)
        last_at = first_at if per_window == 1 else first_at + 9_000 + clock.randrange(12)
        yield (
            series, DAY + datetime.timedelta(seconds=10 * n), per_window, total, min(values), max(values), values[0], values[-1],
            first_at, last_at, m2, increase, 0, series % 8, offset,
        )


class Bench:
    def __init__(self, rig: Rig, report: Report):
        self.rig, self.report = rig, report
        self.series = SERVERS * len(KINDS)

    def sink(self, after: str) -> Process:
        return services.start(self.rig, "sink", KAFKA_BROKERS="127.0.0.1:1", SINK_PACK_AFTER=after)

    def migrate(self) -> None:
        process = self.sink("off")
        wait_until(lambda: self.rig.sql("SELECT to_regclass('packed_10s')") != [(None,)], 60, "tables")
        wait_until(lambda: self.rig.sql("SELECT count(*) > 3 FROM tidewatch_partitions")[0][0], 60, "partitions")
        process.end()

    def fill(self, per_window: int) -> None:
        """Window by window, as rows come: those of one series are far from each other."""
        self.rig.sql("TRUNCATE samples_10s, packed_10s")
        self.rig.sql("SELECT tidewatch_ensure_partition('samples_10s', %s::date, %s::date + 1)", DAY, DAY)
        sources = [rows(series, KINDS[series % len(KINDS)], per_window) for series in range(self.series)]
        with psycopg.connect(self.rig.stack.postgres_url) as connection, connection.cursor() as cursor:
            with cursor.copy("COPY samples_10s FROM STDIN") as copy:
                for window in zip(*sources):
                    for row in window:
                        copy.write_row(row)
        self.rig.sql("VACUUM ANALYZE samples_10s")

    def size(self) -> int:
        found = self.rig.sql(
            "SELECT sum(pg_total_relation_size(child::regclass))::bigint FROM tidewatch_partitions WHERE child IN (%s, %s)",
            f"samples_10s_{CHILD}", f"packed_10s_{CHILD}",
        )
        return found[0][0]

    def digest(self) -> tuple:
        return self.rig.sql("SELECT count(*), sum(hashtextextended(w::text, 0)) FROM (SELECT * FROM windows_10s ORDER BY 1, 2) AS v, LATERAL ("
                        "SELECT ROW(series_id, ts, count, sum, min, max, first, last, first_at, last_at, m2, increase, resets, "
                        "origin_partition, origin_offset) AS w) AS r")[0]

    def read(self, hours: int) -> float:
        """Milliseconds, median over series: the question that the store asks."""
        query = ("SELECT series_id, ts, count, sum, min, max, first, last, first_at, last_at, m2, increase, resets, origin_partition, "
                 "origin_offset FROM windows_10s WHERE series_id = ANY(%s) AND ts >= %s AND ts < %s AND hour >= %s AND hour < %s "
                 "ORDER BY series_id, ts LIMIT 500001")
        rng = random.Random(hours)
        took = []
        with psycopg.connect(self.rig.stack.postgres_url, autocommit=True) as connection:
            for _ in range(READS):
                begin = DAY + datetime.timedelta(hours=rng.randrange(25 - hours))
                end = begin + datetime.timedelta(hours=hours)
                series = rng.randrange(self.series)
                began = time.perf_counter()
                with connection.cursor(binary=True) as cursor:
                    cursor.execute(query, ([series], begin, end, begin, end))
                    found = cursor.pgresult.ntuples
                took.append((time.perf_counter() - began) * 1e3)
                assert found == hours * 360, f"{found} windows in {hours} h of series {series}"
        return statistics.median(took)

    def load(self, name: str, per_window: int) -> None:
        self.fill(per_window)
        count = self.series * WINDOWS
        before = (self.size(), self.read(1), self.read(24), self.digest())
        process, began = self.sink("1h"), time.monotonic()
        query = f"SELECT pg_relation_size('samples_10s_{CHILD}') = 0"
        wait_until(lambda: self.rig.sql(query)[0][0], 900, "a packed day", 0.5)
        seconds = time.monotonic() - began
        process.end()
        self.rig.sql("VACUUM ANALYZE packed_10s")
        after = (self.size(), self.read(1), self.read(24), self.digest())
        failed = None if before[3] == after[3] else f"{after[3]} instead of {before[3]}"
        run = {
            "contender": name, "rows": count, "seconds": seconds, "failed": failed, "bytes_per_row_before": before[0] / count,
            "bytes_per_row": after[0] / count, "hour_ms_before": before[1], "hour_ms": after[1], "day_ms_before": before[2],
            "day_ms": after[2],
        }
        self.report.runs.append(run)
        print(f"  {name}: {run}", flush=True)

    def run(self) -> None:
        self.migrate()
        self.load("ten samples a window", 10)
        self.load("one sample a window", 1)
        runs = self.report.runs
        if any(run["failed"] for run in runs):
            self.report.fail("packing.bytes_per_row", {"failed": [run["failed"] for run in runs if run["failed"]]})
            return
        for run, key in zip(runs, ("packing", "packing.one_sample")):
            rows_before = {"name": "rows", "bytes_per_row": round(run["bytes_per_row_before"], 1)}
            self.report.add(f"{key}.bytes_per_row", run["bytes_per_row"], rows_before, unit="B")
            for span in ("hour", "day"):
                self.report.add(f"{key}.read_{span}", run[f"{span}_ms"], {"name": "rows", "ms": round(run[f"{span}_ms_before"], 3)}, unit="ms")
            self.report.add(f"{key}.rows_per_second", run["rows"] / run["seconds"], unit="rows/s")


def main() -> int:
    told = [f"{name}={shlex.quote(value)}" for name in ("PROFILE", "QUICK") if (value := os.environ.get(name))]
    report = Report("packing" if not QUICK else "packing-quick", " ".join(["make bench-packing", *told]), GATES)
    with Rig(parts=("postgres", "redis")) as rig:
        bench = Bench(rig, report)
        bench.run()
        versions = {"postgresql": bench.rig.sql("SHOW server_version")[0][0], "rustc": first_line(["rustc", "--version"])}
    path = report.write(versions, trial=QUICK)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 1 if any(run["failed"] for run in report.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
