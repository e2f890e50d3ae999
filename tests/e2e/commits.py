"""When PostgreSQL got to hold what was sent.

In: its address. Out: for each record the two moments between which it was committed; for each server when it was seen last, over
time. Keeps: what is told was so at the time, to within one question.
"""

import bisect
import threading
import time
from collections import defaultdict
from dataclasses import dataclass

import psycopg

from windows import TOPIC, WINDOW


@dataclass
class Change:
    """Something that was not there at `lo` and was there at `hi`."""

    lo: float
    hi: float
    value: int


class Commits:
    """Follows what PostgreSQL holds, to within the time of a question: offsets, and when each server was last seen."""

    def __init__(self, url):
        self.url, self.failure = url, None
        self.offsets, self.seen = defaultdict(list), defaultdict(list)
        self.wish = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                before = time.monotonic()
                while not self.wish.wait(0.02):
                    began = time.monotonic()
                    offsets = connection.execute(
                        "SELECT partition, next_offset FROM ingest_offsets WHERE topic = %s", (TOPIC,)
                    ).fetchall()
                    seen = connection.execute("SELECT name, (extract(epoch FROM last_seen) * 1000)::bigint FROM servers").fetchall()
                    now = time.monotonic()
                    for changes, found in ((self.offsets, offsets), (self.seen, seen)):
                        for key, value in found:
                            if not changes[key] or changes[key][-1].value != value:
                                changes[key].append(Change(before, now, value))
                    before = began
        except Exception as error:  # noqa: BLE001 - told by the test's thread
            self.failure = error

    def newest(self, server, start):
        """The number of the server's newest window; `None` before the first."""
        changes = self.seen.get(server)
        return (changes[-1].value - start) // WINDOW - 1 if changes else None

    def of(self, place):
        """When the record at (partition, offset) was committed; `None`: it is not."""
        partition, offset = place
        changes = self.offsets[partition]
        index = bisect.bisect_right(changes, offset, key=lambda change: change.value)
        return changes[index] if index < len(changes) else None

    def stop(self):
        self.wish.set()
        self.thread.join()
        assert self.failure is None, self.failure
