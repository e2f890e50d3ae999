"""A fleet's windows of 10 s, straight into `metrics.10s`, and what the tables have to hold of them in the end.

In: how many servers and series, how long a round takes. Out: records, where each of them lies in the topic, a tally by series. Keeps:
values are multiples of 1/4, so that a sum is exact in whatever order it is taken; a server's origins only grow, as those of one raw
partition do.
"""

import threading
import time
from dataclasses import dataclass

import avro_contract as contract
import topics
from pipeline import PREFIX

TOPIC = PREFIX + "metrics.10s"
WINDOW = 10_000


def value(server, series, window):
    return ((server * 7 + series * 13 + window * 31) % 400) / 4


def samples(server, series, window):
    return 1 + (server + 3 * series + window) % 9


@dataclass
class Sent:
    """One record: whose it is, the window it speaks of, and where it lies."""

    server: str
    window: int
    place: tuple | None = None


class Server:
    def __init__(self, number, name, series, observes=False):
        self.number, self.name, self.observes = number, name, observes
        self.layout = []
        # by series: rows, samples, sum of the values
        self.tally = []
        self.origin = 0
        # windows with a histogram, and what was observed in them
        self.seen = [0, 0]
        # window -> how many series it had
        self.widths = {}
        self.grow(series)

    def grow(self, series):
        """More series from the next window on."""
        for index in range(len(self.layout), len(self.layout) + series):
            labels = {"instance": f"{self.name}:9100", "place": str(index)}
            kind = "counter" if index % 3 == 0 else "gauge"
            self.layout.append({"metric": f"flow.m{index % 5}", "labels": labels, "kind": kind, "unit": ""})
            self.tally.append([0, 0, 0.0])

    def frame(self, start, window, kind="final"):
        self.origin += 1
        # a late part speaks of the series that its window had
        indices = range(self.widths.setdefault(window, len(self.layout)))
        values = [value(self.number, i, window) for i in indices]
        # what comes late is one sample
        counts = [samples(self.number, i, window) if kind == "final" else 1 for i in indices]
        sums = [v * n for v, n in zip(values, counts)]
        for tally, count, total in zip(self.tally, counts, sums):
            tally[0] += kind == "final"
            tally[1] += count
            tally[2] += total
        zeros, still = [0] * len(values), [0.0] * len(values)
        return {
            "server": self.name,
            "window_start": start + window * WINDOW,
            "window_ms": WINDOW,
            "kind": kind,
            "origin": {"partition": self.number % 8, "offset": self.origin},
            "layout": self.layout[: len(values)],
            "count": counts,
            "sum": sums,
            "min": values,
            "max": values,
            "first": values,
            "last": values,
            "first_at": zeros,
            "last_at": zeros,
            "m2": still,
            "increase": still,
            "resets": zeros,
            "histograms": [self.observed(window, kind)] if self.observes else [],
        }

    def observed(self, window, kind):
        """A histogram whose scale and buckets change; what comes late is one observation."""
        counts = [1] if kind != "final" else [1 + window % 3, 0, 2, 1 + self.number]
        total = sum(counts)
        self.seen[0] += kind == "final"
        self.seen[1] += total
        return {
            "series": {"metric": "flow.took", "labels": {"instance": f"{self.name}:9100"}, "kind": "gauge", "unit": "seconds"},
            "count": total, "sum": total / 4, "min": 0.25, "max": 8.0, "scale": (3, 1, 5)[(window + len(counts)) % 3],
            "zero_threshold": 0.0, "zero_count": 0, "positive": {"offset": window % 11 - 5, "counts": counts},
            "negative": {"offset": 0, "counts": []},
        }


class Flow:
    """A window of every server each round, until told to stop. `late()` draws how many windows back a late part lies, or 0."""

    def __init__(self, pipeline, name, servers, series, every, start, late=None, grow_every=0, observes=False):
        self.servers = [Server(number, f"{name}-{number:03}", series, observes) for number in range(servers)]
        self.by_name = {server.name: server for server in self.servers}
        self.start, self.every, self.late, self.grow_every = start, every, late, grow_every
        self.client = topics.producer(pipeline, log_level=0)
        self.sent, self.window, self.rows, self.failures = [], 0, 0, []
        # those that send at the moment; a test may take some out
        self.awake = set(self.by_name)
        self.wish = threading.Event()
        self.thread = None

    def run(self):
        """In a thread of its own."""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def _run(self):
        try:
            due = time.monotonic()
            while not self.wish.is_set():
                self.round()
                due += self.every
                self.wish.wait(max(0.0, due - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - told by the test's thread
            self.failures.append(error)

    def round(self):
        """The next window of those that are awake."""
        window = self.window
        for server in self.servers:
            if server.name not in self.awake:
                continue
            if self.grow_every and window and (window + 7 * server.number) % self.grow_every == 0:
                server.grow(1)
            self._send(server, window, "final")
            if self.late and (back := self.late()) and window - back in server.widths:
                self._send(server, window - back, "delta")
        self.window += 1

    def stamp(self):
        """When the newest window was closed, as a stream processor stamps its records."""
        return min(self.start + (self.window + 1) * WINDOW + 2_000, int(time.time() * 1000))

    def _send(self, server, window, kind):
        frame = server.frame(self.start, window, kind)
        self.rows += len(frame["layout"]) if kind == "final" else 0
        sent = Sent(server.name, window)
        self.sent.append(sent)

        def delivered(error, message):
            if error is not None:
                self.failures.append(error)
            else:
                sent.place = (message.partition(), message.offset())

        record, timestamp = contract.encode("aggregate_frame", frame), self.stamp()
        while True:
            try:
                self.client.produce(TOPIC, key=server.name, value=record, timestamp=timestamp, on_delivery=delivered)
                break
            except BufferError:
                self.client.poll(0.05)
        self.client.poll(0)

    def stop(self):
        self.wish.set()
        if self.thread:
            self.thread.join()
        topics.flush(self.client)
        assert not self.failures, self.failures[:3]

    def tally(self):
        """(server, metric, labels as sorted pairs) -> [rows, samples, sum]."""
        return {
            (server.name, series["metric"], tuple(sorted(series["labels"].items()))): tally
            for server in self.servers
            for series, tally in zip(server.layout, server.tally)
            if tally[1]
        }


def differences(expected, found):
    """What is missing, too much or other, in words."""
    wrong = [f"missing: {key} {expected[key]}" for key in expected.keys() - found.keys()]
    wrong += [f"never sent: {key} {found[key]}" for key in found.keys() - expected.keys()]
    both = expected.keys() & found.keys()
    return wrong + [f"{key}: expected {expected[key]}, found {found[key]}" for key in both if expected[key] != found[key]]


def stored(pipeline):
    """What the table holds, as `Flow.tally` says it."""
    rows = pipeline.sql(
        "SELECT v.name, e.metric_name, e.labels, s.* FROM series e JOIN servers v ON v.id = e.server_id JOIN"
        " (SELECT series_id, count(*), sum(count)::bigint, sum(sum) FROM samples_10s GROUP BY 1) s ON s.series_id = e.id"
    )
    return {(name, metric, tuple(sorted(labels.items()))): row for name, metric, labels, _, *row in rows}
