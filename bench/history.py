"""A history to ask questions of: a fleet whose last minutes came through the sink, and hours of minutes before them.

In: a rig with Kafka, PostgreSQL and Redis. Out: tables and keys as the product makes them. Keeps: rows lie in the order in which they
would have come, window by window, so that those of one series are far from each other.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field

import psycopg

import services
from measure import Process
from rig import Load, Rig, wait_until

WINDOW = 10
CENTRES = ("ams", "fra", "iad", "sin")


@dataclass
class History:
    """Of `servers` with `series` each: `recent` windows of 10 s, `hours` of minutes of all series, a day of the memory's."""

    rig: Rig
    servers: int = 1_000
    series: int = 100
    recent: int = 30
    hours: int = 6
    day: int = 25
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.load = Load("history", "windows", self.servers, self.series, 0)
        self.sink: Process | None = None
        self.feeder: threading.Thread | None = None
        # when the windows that come as in life begin
        self.began = 0.0

    def __enter__(self) -> History:
        self.rig.create_ours(self.load)
        self.send(self.recent)
        self.sink = services.start(self.rig, "sink", self.load.prefix, SINK_PACK_AFTER="off")
        rows = self.servers * self.series * self.recent
        query = "SELECT coalesce(sum(next_offset), 0)::bigint FROM ingest_offsets WHERE topic LIKE '%metrics.10s'"
        wait_until(lambda: self.rig.sql(query)[0][0] >= self.servers * self.recent, 900, f"{rows} rows in PostgreSQL", 0.5)
        self.label()
        self.began = time.monotonic()
        self.feeder = threading.Thread(target=self.feed, daemon=True)
        self.feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        if self.feeder:
            self.feeder.join(60)
        if self.sink:
            self.sink.end()

    def send(self, windows: int, start: int | None = None) -> dict:
        return json.loads(self.rig.run_program(
            "windows", "--brokers", self.rig.kafka, "--topic", f"{self.load.prefix}metrics.10s", "--servers", str(self.servers),
            "--series", str(self.series), "--windows", str(windows), *(["--start", str(start * 1_000)] if start else []),
        ))

    def feed(self) -> None:
        """The windows that end meanwhile, each 2 s after its end."""
        newest = self.rig.sql("SELECT extract(epoch FROM max(ts))::bigint FROM samples_10s")[0][0]
        while not self.stop.wait(0.2):
            if time.time() >= newest + 2 * WINDOW + 2:
                newest += WINDOW
                self.send(1, newest)

    def label(self) -> None:
        self.rig.sql(
            "UPDATE servers SET labels = jsonb_build_object('dc', (%s::text[])[1 + id %% %s], 'rack', 'r' || id %% 40)",
            list(CENTRES), len(CENTRES),
        )

    def fill_minutes(self) -> int:
        """Returns how many rows there are afterwards."""
        now = int(time.time()) // 60 * 60
        first = self.rig.sql("SELECT to_timestamp(%s)::date", now - self.day * 3_600)[0][0]
        self.rig.sql("SELECT tidewatch_ensure_partition('samples_1m', m, m + 7) FROM (SELECT date_trunc('week', %s::timestamp)::date AS m) w", first)
        parts = self.rig.sql(
            "SELECT child, extract(epoch FROM first)::bigint, extract(epoch FROM behind)::bigint FROM tidewatch_partitions "
            "WHERE parent = 'samples_1m' AND behind > to_timestamp(%s) AND first < to_timestamp(%s)", now - self.day * 3_600, now,
        )
        for child, begin, behind in parts:
            self.fill_partition(child, (begin, behind), now)
        self.rig.sql("VACUUM ANALYZE samples_1m")
        self.rig.sql("VACUUM ANALYZE samples_10s")
        self.rig.sql("ANALYZE series, servers")
        return sum(self.rig.sql(f"SELECT count(*) FROM {table}")[0][0] for table in ("samples_10s", "samples_1m"))

    def fill_partition(self, child: str, span: tuple[int, int], now: int) -> None:
        """Without its index, which is made afterwards: minutes instead of hours."""
        self.rig.sql(f"ALTER TABLE samples_1m DETACH PARTITION {child}")
        self.rig.sql(f"ALTER TABLE {child} DROP CONSTRAINT {child}_pkey")
        insert = (
            f"INSERT INTO {child} SELECT id, to_timestamp(%s), 6, 6 * v, v - 1, v + 1, v, v, 500, 50500, 4, 0, 0, id %% 8, %s "
            "FROM (SELECT id, (id %% 97 + %s %% 60 * 0.25)::double precision AS v FROM series "
            "WHERE %s OR metric_name LIKE 'node_memory%%' ORDER BY id) s"
        )
        with psycopg.connect(self.rig.stack.postgres_url, autocommit=True) as connection:
            for ts in range(max(span[0], now - self.day * 3_600), min(span[1], now), 60):
                connection.execute(insert, (ts, ts // 60, ts // 60, ts >= now - self.hours * 3_600))
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute(f"ALTER TABLE {child} ADD PRIMARY KEY (series_id, ts)")
            connection.execute(
                f"ALTER TABLE samples_1m ATTACH PARTITION {child} FOR VALUES FROM (to_timestamp({span[0]})) TO (to_timestamp({span[1]}))"
            )
