"""Asks two visualizers the same questions while windows flow, one with Redis and one without, and judges afterwards which of their
differences Redis answers for.

In: a flow, the addresses of both, PostgreSQL. Out: answers and verdicts. Keeps: what was committed while a pair was asked may be in
one answer and not in the other, so it is left out; any other difference is an answer that lacked what was there, and for how long
it had been there is its age.
"""

import bisect
import http.client
import json
import random
import re
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime

from windows import WINDOW

AS_OF = re.compile(rb'"as_of":\d+,')
# a chart looks so many windows back for the sample before it
LEAD = 6


@dataclass
class Answer:
    kind: str
    server: str
    # windows, the end exclusive
    first: int
    end: int
    began: float
    ended: float
    source: str
    equal: bool
    told: str = ""
    phase: str = ""
    # the windows of which it lacks something; `None`: it is wrong in another way
    lacks: frozenset | None = frozenset()


class Client:
    """One connection, kept."""

    def __init__(self, address):
        self.address, self.connection = address, None

    def get(self, path):
        for last in (False, True):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(self.address, timeout=30)
                self.connection.request("GET", path)
                answer = self.connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.HTTPException, OSError):
                # one that was closed while it lay idle
                self.connection = None
                if last:
                    raise
        raise AssertionError("unreachable")


class Askers:
    """Threads that ask until told to stop."""

    def __init__(self, flow, commits, hot, plain, threads=2, seed=1):
        self.flow, self.commits, self.hot, self.plain = flow, commits, hot, plain
        self.answers, self.failures, self.phase = [], [], "calm"
        self.wish = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(random.Random(f"{seed} {n}"),), daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, rng):
        hot, plain = Client(self.hot), Client(self.plain)
        try:
            while not self.wish.is_set():
                if rng.random() < 0.02:
                    self.answers.append(self.servers(hot))
                elif (answer := self.ask(rng, hot, plain)) is not None:
                    self.answers.append(answer)
        except Exception as error:  # noqa: BLE001 - told by the test's thread
            self.failures.append(error)

    def ask(self, rng, hot, plain):
        server = rng.choice(self.flow.servers).name
        newest = self.commits.newest(server, self.flow.start)
        if newest is None or newest < 2:
            self.wish.wait(0.05)
            return None
        # the nearer to the newest window the likelier
        end = newest + 1 - int(rng.expovariate(0.15))
        first = end - rng.randint(1, 12)
        if first < 0:
            return None
        at = f"from={self.flow.start + first * WINDOW}&to={self.flow.start + end * WINDOW}"
        kind = rng.choice(["metrics", "metrics", "page", "query"])
        metric = f"&metric=flow.m{rng.randrange(5)}" if rng.random() < 0.3 else ""
        if kind == "query":
            path = f"/api/v1/query?server={server}&{at}&step=10000{metric}"
        else:
            path = f"/api/v1/metrics/{server}?{at}{metric}&limit={10_000 if kind == 'metrics' else rng.randint(1, 30)}"
        phase, began = self.phase, time.monotonic()
        status, headers, body = hot.get(path)
        true_status, true_headers, true_body = plain.get(path)
        ended = time.monotonic()
        assert true_status == 200 and true_headers["X-Tidewatch-Source"] == "postgres", f"{path}: {true_status} {true_body[:300]}"
        equal = status == 200 and AS_OF.sub(b"", body) == AS_OF.sub(b"", true_body) and headers["Link"] == true_headers["Link"]
        equal = equal and "X-Tidewatch-Stale" not in headers
        answer = Answer(kind, server, first, end, began, ended, headers["X-Tidewatch-Source"] or "none", equal, phase=phase)
        if kind == "query":
            answer.first -= LEAD
        if not equal:
            good = status == 200 and "X-Tidewatch-Stale" not in headers
            answer.lacks = lacking(kind, body, true_body, self.flow.start) if good else None
            if good and body == true_body and kind != "query" and true_headers["Link"]:
                # that there is a next page: all that would be on it
                last = max(windows_of(body, self.flow.start))
                answer.lacks = frozenset(range(last + 1, end)) or frozenset([last])
            answer.told = f"{path}: {status} {'lacks ' + str(sorted(answer.lacks)) if answer.lacks else body[:300]}"
        return answer

    def servers(self, hot):
        began = time.monotonic()
        status, headers, body = hot.get("/api/v1/servers")
        assert status == 200 and "X-Tidewatch-Stale" not in headers, f"/servers: {status} {body[:300]}"
        return Answer("servers", "", 0, 0, began, time.monotonic(), headers["X-Tidewatch-Source"], True, body.decode(), self.phase)

    def stop(self):
        self.wish.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures[:3]


def windows_of(body, start):
    """An answer's windows by number, and how many rows each has."""
    return dict(sorted(Counter((millis(row["timestamp"]) - start) // WINDOW for row in json.loads(body)).items()))


def lacking(kind, body, true_body, start):
    """Windows of which the one answer does not say what the other says; `None` when it says too much."""
    ours, theirs = json.loads(body), json.loads(true_body)
    if kind == "query":
        ours, theirs = points(ours), points(theirs)
        lacks = {at for key, at in theirs.keys() | ours.keys() if ours.get((key, at)) != theirs.get((key, at))}
    else:
        ours = [json.dumps(row) for row in ours]
        lacks = {millis(row["timestamp"]) for row in theirs if json.dumps(row) not in ours}
    return frozenset((at - start) // WINDOW for at in lacks) or None


def points(answer):
    """(series and column, time) -> value."""
    found = {}
    for series in answer["series"]:
        for name, column in series.items():
            if isinstance(column, list):
                found |= {((series["series_id"], name), series["t0"] + i * answer["step"]): v for i, v in enumerate(column) if v is not None}
    return found


@dataclass
class Verdict:
    # compared, by source; pairs asked while something they speak of was committed
    compared: Counter
    moving: int
    # unequal ones, and for how long what they lack had been there; `None`: nothing excuses it
    unequal: list

    def wrong(self, settled):
        return [(age, answer) for age, answer in self.unequal if age is None or age > settled]

    def ages(self):
        """Phase -> the longest that an answer lacked something."""
        found = defaultdict(float)
        for age, answer in self.unequal:
            found[answer.phase] = max(found[answer.phase], age or 0.0)
        return dict(found)


def judge(flow, commits, askers):
    """After the end: every record has its place, and all that will be committed is."""
    changes = defaultdict(list)
    for sent in flow.sent:
        change = commits.of(sent.place)
        assert change is not None, f"{sent} was never committed"
        changes[sent.server].append((change.hi, change.lo, sent.window))
    for found in changes.values():
        found.sort()
    verdict = Verdict(Counter(), 0, [])
    for answer in askers.answers:
        if answer.kind == "servers":
            wrong = wrong_servers(flow, commits, answer)
            verdict.compared["servers"] += 1
            if wrong:
                told = Answer(**vars(answer) | {"equal": False, "told": f"/servers: {wrong}"})
                verdict.unequal.append((None, told))
            continue
        mine = changes[answer.server]
        index = bisect.bisect_left(mine, (answer.began, 0.0, 0))
        speaks_of = range(answer.first, answer.end)
        if any(window in speaks_of and low <= answer.ended for _, low, window in mine[index : index + 200]):
            verdict.moving += 1
            continue
        verdict.compared[answer.source] += 1
        if not answer.equal:
            verdict.unequal.append((age(answer, mine[:index]), answer))
    return verdict


def age(answer, changes):
    """For how long the oldest thing that the answer lacks had been there when it was asked for."""
    if answer.lacks is None:
        return None
    oldest = 0.0
    for lacked in answer.lacks:
        # a rate takes in the windows before
        of = range(lacked - (LEAD if answer.kind == "query" else 0), lacked + 1)
        newest = next((high for high, _, window in reversed(changes) if window in of), None)
        if newest is None:
            return None
        oldest = max(oldest, answer.began - newest)
    return oldest


# the list and what it is made of are shared for a second each
SHARED = 2.5


def wrong_servers(flow, commits, answer):
    """A server's time is one that PostgreSQL had a moment ago."""
    wrong, listed = [], json.loads(answer.told)
    for row in listed:
        told = millis(row["last_seen"])
        changes = commits.seen[row["name"]]
        good = [
            change.value
            for change, following in zip(changes, [*changes[1:], None])
            if change.lo <= answer.ended and (following is None or following.hi >= answer.began - SHARED)
        ]
        if told not in good:
            wrong.append(f"{row['name']} last seen {told}, PostgreSQL had {good}")
    names = [row["name"] for row in listed]
    known = {name for name, changes in commits.seen.items() if changes and changes[0].hi < answer.began - SHARED}
    if len(set(names)) != len(names) or not known <= set(names):
        wrong.append(f"listed: {len(names)}, known: {len(known)}")
    return wrong


def millis(text):
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
