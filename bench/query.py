"""make bench-query: how long the visualizer's answers take, from Redis and from PostgreSQL, and what one of them costs beside a bare GET of
Redis through the same HTTP stack.

In: QUICK=1 for a trial with a small fleet. Out: bench/results/query.json and a line in bench/RESULTS.md. Keeps: while it is asked new
windows come in as in life, so what was answered a window ago is no answer; an answer that is not 200, or comes from elsewhere than
it should, fails the run.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import urllib.request
from collections.abc import Callable

import redis

import services
from history import WINDOW, History
from measure import Process
from report import Gate, Report, first_line
from rig import PROGRAMS, REPO, Rig, free_ports, wait_until

QUICK = bool(os.environ.get("QUICK"))
RATE, SECONDS = 200, 8 if QUICK else 32
REPEATS = 10 if QUICK else 50

GATES = {
    "query.hot.p99": Gate("ms", 5, 2, most=True),
    "query.cold_day.p99": Gate("ms", 25, 10, most=True),
    "query.fleet.p50": Gate("ms", 300, 100, most=True),
    "query.cost": Gate("x", 2, 1.3, most=True),
}

# Everything of a server in the last minute: what a program asks that wants to know how the server is.
HOT = "/api/v1/metrics/{server}?from=now-1m"
HOT_SERIES = "/api/v1/metrics/{server}?metric=node_memory_MemAvailable_bytes&from=now-4m"
COLD_DAY = "/api/v1/query?server={server}&metric=node_memory_MemAvailable_bytes&from=now-24h&step=60000"
FLEET = "/api/v1/query?metric=node_memory_MemAvailable_bytes&agg=avg&group=avg&by=server.dc&from=now-6h&step=60000"
# All but one: another question each time, which nobody has asked before.
FLEET_NEW = FLEET + "&match=server.name!%3D{server}"


class Bench:
    def __init__(self, rig: Rig, report: Report, history: History):
        self.rig, self.report, self.history = rig, report, history
        web, bare = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.url, self.bare_url = f"http://{web}", f"http://{bare}"
        self.visualizer = services.start(rig, "visualizer", history.load.prefix, VISUALIZER_LISTEN=web)
        self.bare = Process(
            [str(PROGRAMS / "bare"), "--listen", bare, "--redis", rig.stack.redis_url], rig.env(), rig.work / "bare.log"
        )
        wait_until(lambda: self.get("/api/v1/servers?limit=1"), 60, "a visualizer that answers")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def ask(self, url: str, path: str, *args: str) -> dict:
        return json.loads(self.rig.run_program("ask", "--url", url, "--path", path, "--servers", str(self.history.servers), *args))

    def run(self) -> None:
        # what a new process has to catch up on is no cost of its answers
        time.sleep(15)
        steady = ("--rate", str(RATE), "--seconds", str(SECONDS))
        hot, hot_cost = self.costed(self.visualizer, lambda: self.ask(self.url, HOT, *steady))
        self.told("hot", hot, "redis", {"cpu_ms": hot_cost})
        value = self.get(HOT.replace("{server}", self.server()))
        self.set_bare(value)
        bare, bare_cost = self.costed(self.bare, lambda: self.ask(self.bare_url, "/bare", *steady))
        self.told("bare", bare, "none", {"cpu_ms": bare_cost})
        self.report.add("query.cost", hot_cost / bare_cost, {"name": "a GET of Redis", "cpu_ms": round(bare_cost, 4), "bytes": len(value)})
        self.told("hot_series", self.ask(self.url, HOT_SERIES, *steady), "redis")
        self.told("cold_day", self.ask(self.url, COLD_DAY, *steady), "postgres")
        self.told("fleet", self.ask(self.url, FLEET_NEW, "--count", str(REPEATS)), "postgres")
        self.told("fleet_again", self.ask(self.url, FLEET, *steady), "postgres redis")
        self.weigh()

    def weigh(self) -> None:
        """What Redis holds of each series once it holds all that it keeps, answers to queries among it."""
        # a quarter of an hour, part of which was there when it began
        full = self.history.began + 15 * 60 - self.history.recent * WINDOW
        time.sleep(0 if QUICK else max(0.0, full - time.monotonic()))
        with redis.Redis.from_url(self.rig.stack.redis_url) as client:
            used, keys = client.info("memory")["used_memory"], client.dbsize()
        series = self.history.servers * self.history.series
        self.report.add("query.redis_memory", used / series, {"MiB": round(used / 2**20, 1), "keys": keys}, unit="B/series")

    def server(self) -> str:
        return json.loads(self.get("/api/v1/servers?limit=1"))[0]["name"]

    def set_bare(self, value: bytes) -> None:
        with redis.Redis.from_url(self.rig.stack.redis_url) as client:
            client.set("bare", value)

    def costed(self, process: Process, ask: Callable[[], dict]) -> tuple[dict, float]:
        """What was asked, and the process' CPU milliseconds for each answer: without what it uses when nobody asks."""
        span = 5 if QUICK else 20
        before = process.cpu()
        time.sleep(span)
        idle = (process.cpu() - before) / span
        before = process.cpu()
        found = ask()
        used = process.cpu() - before - idle * found["seconds"]
        return found, used * 1e3 / (RATE * SECONDS)

    def told(self, name: str, found: dict, sources: str, more: dict | None = None) -> None:
        good = found["statuses"] == {"200": found["answers"]} and set(found["sources"]) <= set(sources.split())
        run = {"contender": name, "failed": None if good else f"{found['statuses']} from {found['sources']}"} | found | (more or {})
        self.report.runs.append(run)
        print(f"  {name}: {run}", flush=True)
        if not good:
            self.report.fail(f"query.{name}.p99", {"failed": run["failed"]})
            return
        for share in ("p50", "p99"):
            self.report.add(f"query.{name}.{share}", found[share], {"bytes": found["bytes"]}, unit="ms")

    def end(self) -> None:
        self.visualizer.end()
        self.bare.end()


def main() -> int:
    told = [f"{name}={shlex.quote(value)}" for name in ("PROFILE", "QUICK") if (value := os.environ.get(name))]
    report = Report("query" if not QUICK else "query-quick", " ".join(["make bench-query", *told]), GATES)
    size = {"servers": 100, "series": 50, "hours": 2} if QUICK else {}
    with Rig(parts=("kafka", "postgres", "redis")) as rig, History(rig, **size) as history:
        rows = history.fill_minutes()
        print(f"{rows} rows of {history.servers} servers x {history.series} series", flush=True)
        bench = Bench(rig, report, history)
        bench.run()
        bench.end()
        versions = {
            "postgresql": rig.sql("SHOW server_version")[0][0], "redis": first_line(["redis-server", "--version"]),
            "rustc": first_line(["rustc", "--version"]),
        }
        report.runs.append({"contender": "history", "rows": rows, "failed": None})
    path = report.write(versions, trial=QUICK)
    print(f"written to {path.relative_to(REPO)}; below their gates: {' '.join(report.missed()) or 'none'}")
    return 1 if any(run["failed"] for run in report.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
