"""make check-plans: what the sink, the visualizer and the export ask of PostgreSQL when they are used is planned on a database of 50 M rows,
and nothing may read a large table from end to end. Bands, anomalies, alerts and histograms are read but not written here.

In: QUICK=1 for a trial with a small fleet (`LARGE` rows make a table large). Out: each statement with its scans; status 1 when one of them
walks through a large table. Keeps: the statements are those that the services make when they are used, as PostgreSQL's auto_explain
logs them; a walk made on purpose has to be found, or the check itself has failed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

import services
from history import History
from rig import PROGRAMS, Rig, free_ports, wait_until

QUICK = bool(os.environ.get("QUICK"))
LARGE = 2_000 if QUICK else 20_000
SETTINGS = """
session_preload_libraries = 'auto_explain'
auto_explain.log_min_duration = 0
auto_explain.log_format = 'json'
auto_explain.log_nested_statements = on
"""
PROBE = "SELECT count(*) AS probe FROM servers"
METRIC = "node_memory_MemAvailable_bytes"
# What may read a table from end to end, and why.
ALLOWED = {
    r"^\s*(VACUUM|ANALYZE)": "upkeep",
    r"^SELECT server_id, count\(\*\) FROM series GROUP BY": "all series are what it counts, twice a minute",
}


@dataclass
class Statement:
    """One statement's text, and the scans of its plans."""

    times: int = 0
    cost: float = 0.0
    scans: set[tuple[str, str]] = field(default_factory=set)


def nodes(plan: dict):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


class Log:
    """What auto_explain wrote into the server's log."""

    def __init__(self, path: Path):
        self.path, self.offset = path, path.stat().st_size

    def statements(self) -> dict[str, Statement]:
        with self.path.open(errors="replace") as log:
            log.seek(self.offset)
            text = log.read()
        found: dict[str, Statement] = defaultdict(Statement)
        # the lines of an entry begin with a tab, but for the first
        for entry in re.findall(r"duration: \d+\.\d+ ms  plan:\n((?:\t.*\n)+)", text):
            whole = json.loads(entry)
            statement = found[" ".join(whole["Query Text"].split())]
            statement.times += 1
            statement.cost = max(statement.cost, whole["Plan"]["Total Cost"])
            for node in nodes(whole["Plan"]):
                if name := node.get("Relation Name"):
                    statement.scans.add((node["Node Type"], name))
        return found


class Check:
    def __init__(self, rig: Rig, history: History):
        self.rig, self.history = rig, history
        web = f"127.0.0.1:{free_ports(1)[0]}"
        self.url = f"http://{web}"
        self.fill_closed_day()
        self.log = Log(next(rig.stack.directory.rglob("postgres.log")))
        self.explain()
        # what is known from before would not be asked for
        history.sink.end()
        history.sink = services.start(rig, "sink", history.load.prefix, SINK_PACK_AFTER="1h")
        self.visualizer = services.start(
            rig, "visualizer", history.load.prefix, VISUALIZER_LISTEN=web, REDIS_URL="redis://127.0.0.1:1/"
        )

    def explain(self) -> None:
        """The settings for sessions that begin from now on."""
        where = self.rig.stack.directory / "postgres.path"
        data = Path(where.read_text().strip()) if where.exists() else self.rig.stack.directory / "postgres"
        with (data / "cluster" / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        os.kill(int((data / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
        wait_until(lambda: self.rig.sql(PROBE) and PROBE in self.log.statements(), 10, "auto_explain", 0.5)

    def ask(self, path: str, **params: str | list[str]) -> bytes:
        query = urllib.parse.urlencode(params, doseq=True)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=60) as answer:
            assert answer.status == 200, answer.status
            return answer.read()

    def use(self) -> None:
        """Everything that people and programs ask for, and what comes in meanwhile."""
        servers = json.loads(wait_until(lambda: self.ask("servers"), 60, "a visualizer that answers"))
        for path in ("incidents", "silences"):
            self.ask(path)
        self.ask("incidents", state="firing", server=servers[0]["name"])
        name = servers[len(servers) // 2]["name"]
        for since in ("now-10m", "now-5h", "now-24h", "now-20d"):
            span = {"from": since}
            self.ask(f"metrics/{name}", limit="100", **span)
            self.ask(f"metrics/{name}", metric=METRIC, limit="100", step="60", **span)
            self.ask(f"metrics/{name}", metric=METRIC, limit="100", step="3600", **span)
            self.ask("query", server=name, metric=METRIC, **span)
            self.ask("query", server=name, **span)
            self.ask("query", metric=METRIC, agg="avg", by="server.dc", **span)
            self.ask("query", metric="node_cpu_seconds_total", match=f"server.name={name}", by="mode", **span)
            self.ask("fleet", **span)
            self.ask("alerts", **span)
            self.ask("anomalies", server=name, **span)
        for path, params in (("alerts", {}), ("alerts", {"status": "firing"}), ("alerts", {"server": name}), ("anomalies", {})):
            self.ask(path, **params)
        # as people and Grafana ask
        with psycopg.connect(self.rig.stack.postgres_url, autocommit=True) as connection:
            for hours in (1, 24):
                connection.execute(
                    "SELECT time, value, labels FROM metrics WHERE server_id = %s AND metric_name = %s AND timestamp BETWEEN %s AND %s "
                    "ORDER BY time",
                    (servers[0]["id"], METRIC, *self.past(hours)),
                ).fetchall()
        # windows that are there already are read, merged and written back; a packed hour is unpacked
        self.history.send(3, int(time.time()) - 600)
        self.history.send(1, self.closed_day + 3_600)
        ends = self.rig.ends(f"{self.history.load.prefix}metrics.10s")
        query = "SELECT coalesce(sum(next_offset), 0)::bigint FROM ingest_offsets WHERE topic LIKE '%metrics.10s'"
        wait_until(lambda: self.rig.sql(query)[0][0] >= sum(ends.values()), 600, "a sink that has written all", 0.5)
        self.rig.run_program(
            "tidewatch", "export", "--postgres-url", self.rig.stack.postgres_url, "--server", name, "--from", self.past(2)[0], "--to",
            self.past(0)[0], "--output", str(self.rig.work / "export.csv"),
        )

    def past(self, hours: int) -> tuple[str, str]:
        now = time.time()
        return tuple(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (now - hours * 3_600, now))

    @property
    def closed_day(self) -> int:
        return (int(time.time()) // 86_400 - 1) * 86_400

    def fill_closed_day(self) -> None:
        """Of each of yesterday's hours a few 10 s windows, for the packer: a day of packed hours."""
        self.rig.sql("SELECT tidewatch_ensure_partition('samples_10s', to_timestamp(%s)::date, to_timestamp(%s)::date + 1)", *[self.closed_day] * 2)
        with psycopg.connect(self.rig.stack.postgres_url, autocommit=True) as connection:
            hours = [self.closed_day + hour * 3_600 for hour in range(24)]
            for ts in [hour + window * 10 for hour in hours for window in range(5 if QUICK else 2)]:
                connection.execute(
                    "INSERT INTO samples_10s SELECT id, to_timestamp(%s), 1, id, id, id, id, id, 500, 500, 0, 0, 0, id %% 8, %s FROM series ORDER BY id",
                    (ts, ts // 10),
                )
            connection.execute("VACUUM ANALYZE samples_10s")

    def await_packed(self) -> None:
        child = time.strftime("samples_10s_%Y%m%d", time.gmtime(self.closed_day))
        wait_until(lambda: self.rig.sql(f"SELECT pg_relation_size('{child}') = 0")[0][0], 900, "a packed day", 0.5)

    def judge(self) -> int:
        sizes = dict(self.rig.sql("SELECT relname::text, reltuples::bigint FROM pg_class WHERE relkind = 'r'"))
        self.rig.sql("SELECT max(sum) FROM samples_1m")
        found = self.log.statements()
        walks = {text: self.walks(statement, sizes) for text, statement in found.items()}
        probe = walks.pop("SELECT max(sum) FROM samples_1m", [])
        assert probe, "a walk through a large table was not seen: the check is broken"
        bad = 0
        for text, statement in sorted(found.items(), key=lambda item: -item[1].cost):
            if text not in walks:
                continue
            reason = next((reason for pattern, reason in ALLOWED.items() if re.search(pattern, text)), None)
            mark = "BAD " if walks[text] and not reason else "    "
            bad += mark == "BAD "
            scans = ", ".join(sorted({f"{kind} {re.sub(r'_[0-9]{8}$', '', name)}" for kind, name in statement.scans}))
            print(f"{mark}{statement.times:5}x cost {statement.cost:11.0f}  {text[:150]}\n{'':10}{scans or 'no table'}")
        print(f"{len(walks)} statements, {bad} of them walk through a table of {LARGE} rows or more")
        return bad

    def walks(self, statement: Statement, sizes: dict[str, int]) -> list[str]:
        return [name for kind, name in statement.scans if kind == "Seq Scan" and sizes.get(name, 0) >= LARGE]

    def end(self) -> None:
        self.visualizer.end()


def main() -> int:
    size = {"servers": 100, "series": 50, "hours": 2} if QUICK else {}
    with Rig(parts=("kafka", "postgres", "redis")) as rig, History(rig, **size) as history:
        print(f"{history.fill_minutes()} rows of {history.servers} servers x {history.series} series", flush=True)
        check = Check(rig, history)
        check.await_packed()
        check.use()
        bad = check.judge()
        check.end()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
