"""Which transitions a fleet's incidents have to lead to, reckoned from what was sent: docs/rules.md once more, in Python. And whether two
analyzers that read one log said the same.

In: the windows of each server, every record that two runs left in the topics of the analyzer. Out: what is wrong, in words. Keeps: knows
nothing of commits, replays or owners; what it holds against each other are the bytes, keys, partitions and headers of records.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

import avro_contract as contract
from trouble import BUSY, DISK, LAYOUT, LEARNED, REQUESTS, SENSOR, WINDOW

# windows missing for longer than that begin a wait anew
PATIENCE = 60_000
# so many beginnings within an hour: the next one is held open until it has been over for so long
OFTEN, HOUR, HELD = 3, 3_600_000, 900_000
# a counter that was not seen for longer has no rate
GAP = 100_000
TOPIC = "__connect.errors.topic"


@dataclass(frozen=True)
class Rule:
    """One of `trouble.RULES`."""

    name: str
    series: int
    severity: str
    hold: int = 0
    keep: int = 0
    above: float | None = None
    below: float | None = None
    clear: float | None = None

    def holds(self, value, firing):
        """With a level that clears, an alert that fires goes on until the value is beyond it."""
        if self.series == SENSOR:
            return value is None
        if firing and self.clear is not None:
            return value >= self.clear
        return value > self.above if self.above is not None else value < self.below


RULES = (
    Rule("busy", BUSY, "warning", hold=30_000, keep=20_000, above=90, clear=80),
    Rule("disk", DISK, "critical", below=10),
    Rule("storm", REQUESTS, "warning", hold=20_000, above=500),
    Rule("lost", SENSOR, "info", hold=30_000, keep=20_000),
)


@dataclass(frozen=True)
class Transition:
    server: str
    rule: str
    labels: tuple
    severity: str
    status: str
    starts_at: int
    ends_at: int | None
    updated_at: int
    value: float | None


class Watch:
    """One rule on one server: a condition that waits, fires, is held open and ends."""

    def __init__(self, server, rule):
        self.server, self.rule = server, rule
        self.labels = tuple(sorted(LAYOUT[rule.series]["labels"].items()))
        self.said, self.begun = [], []
        # of the condition: since when it holds, the last window in which it did, since when it does not
        self.since = self.seen = self.clear_since = None
        self.is_firing = False
        # of the alert: its start, whether it is held open, when and with which value it was over
        self.starts_at, self.flaps, self.over = None, False, None

    def say(self, status, ends_at, updated_at, value):
        rule = self.rule
        self.said.append(
            Transition(self.server, rule.name, self.labels, rule.severity, status, self.starts_at, ends_at, updated_at, value)
        )

    def step(self, start, value):
        end = start + WINDOW
        holds = self.rule.holds(value, self.is_firing)
        if self.is_firing and holds:
            self.clear_since = None
        elif self.is_firing:
            self.clear_since = start if self.clear_since is None else self.clear_since
            if end - self.clear_since >= self.rule.keep:
                self.over = (self.clear_since, value)
                self.is_firing, self.since, self.clear_since = False, None, None
        elif holds:
            if self.since is None or start - self.seen > PATIENCE:
                self.since = start
            self.seen = end
            if end - self.since >= self.rule.hold:
                self.is_firing = True
                self.begin(end, value)
        else:
            self.since = None
        self.release(end)

    def begin(self, end, value):
        if self.starts_at is not None:
            # it was held open: it goes on without a word
            self.over = None
            return
        self.starts_at = self.since
        self.flaps = sum(end - HOUR <= begun < end for begun in self.begun) >= OFTEN
        self.begun.append(end)
        self.say("firing", None, end, value)

    def release(self, end):
        if self.over is None or (self.flaps and end - self.over[0] < HELD):
            return
        ends_at, value = self.over
        self.say("resolved", ends_at, end, value)
        self.starts_at = self.over = None


def transitions_of(server):
    """What the rules have to say of a server, and what is still open in the end."""
    watches = [Watch(server.name, rule) for rule in RULES]
    before = None
    for window in server.windows():
        if window is None:
            continue
        for watch in watches:
            value = window.values.get(watch.rule.series)
            if watch.rule.series == REQUESTS:
                now = (value, window.start + 9_000)
                value, before = rate(before, now, window.start), now
                if value is None:
                    watch.release(window.start + WINDOW)
                    continue
            if watch.rule.series == SENSOR:
                watch.step(window.start, value)
                continue
            watch.step(window.start, float(value))
    return [said for watch in watches for said in watch.said], [watch for watch in watches if watch.starts_at is not None]


def rate(before, now, start):
    """Growth a second since the last sample of the window before."""
    if before is None or start - before[1] > GAP:
        return None
    return float(now[0] - before[0]) / ((now[1] - before[1]) / 1_000.0)


def reckon(fleet):
    """Every transition, counted; every incident of a rule has to have one of its own that fires and one that resolves."""
    expected = Counter()
    for server in fleet:
        said, left = transitions_of(server)
        assert not left, f"{server.name}: open in the end, so the log is too short"
        said = [one if one.rule != "lost" else _without_value(one) for one in said]
        assert len(set(said)) == len(said)
        expected.update(said)
        for incident in server.incidents:
            if incident.kind in LEARNED:
                continue
            first, end = (server.begin + window * WINDOW for window in (incident.first, incident.end))
            own = [one for one in said if one.rule == incident.rule and first <= one.starts_at < end]
            count = Counter(one.status for one in own)
            assert count["firing"] == count["resolved"] >= 1, f"{server.name}: {incident} leads to {own}"
    return expected


def _without_value(one):
    """What is missing has none."""
    return Transition(**(vars(one) | {"value": None}))


@dataclass
class Evidence:
    """What a run left behind, committed; alerts with what they say."""

    alerts: list
    anomalies: list
    bands: list
    letters: list

    @classmethod
    def of(cls, alerts, anomalies, bands, letters):
        topics = [sorted(topic, key=lambda record: (record.partition, record.offset)) for topic in (alerts, anomalies, bands, letters)]
        return cls([(record, contract.decode("alert", record.value)) for record in topics[0]], *topics[1:])

    def copy(self):
        return Evidence(list(self.alerts), list(self.anomalies), list(self.bands), list(self.letters))


def content(record):
    """All of a record but where and when it was written; a dead letter names its topic, and each run has its own."""
    return record.partition, record.key, record.value, tuple(header for header in record.headers if header[0] != TOPIC)


def ce_id(record):
    return (record.header("ce_id") or b"").decode()


def wrongs(calm, moved, expected, garbage):
    """Everything in which the two differ, and in which either is not what was to be said; empty = exact."""
    wrong = _differences(calm, moved)
    for who, found in (("calm", calm), ("moved", moved)):
        said = _wrong_transitions(found, expected) + _wrong_identities(found) + _wrong_letters(found, garbage)
        wrong += [f"{who}: {text}" for text in said]
    return wrong


def _differences(calm, moved):
    wrong = _other_alerts(calm.alerts, moved.alerts)
    for what in ("anomalies", "bands", "letters"):
        before, after = ([content(record) for record in getattr(found, what)] for found in (calm, moved))
        missing, extra = Counter(before) - Counter(after), Counter(after) - Counter(before)
        wrong += [f"{what} missing: x{count} {_short(one)}" for one, count in missing.items()]
        wrong += [f"{what} extra: x{count} {_short(one)}" for one, count in extra.items()]
        wrong += [] if missing or extra else _other_order(what, before, after)
    return wrong


def _other_alerts(calm, moved):
    """By what a subscriber tells repeats by."""
    said = [defaultdict(list), defaultdict(list)]
    for found, alerts in zip(said, (calm, moved)):
        for record, alert in alerts:
            found[ce_id(record)].append((content(record), alert))
    before, after = said
    wrong = [f"alert missing: {name} {_told(before[name][0][1])}" for name in before.keys() - after.keys()]
    wrong += [f"alert extra: {name} {_told(after[name][0][1])}" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        if len(before[name]) == len(after[name]) and [one for one, _ in before[name]] != [one for one, _ in after[name]]:
            wrong.append(f"alert differs: {name} {_told(before[name][0][1])} | {_told(after[name][0][1])}")
        elif len(before[name]) != len(after[name]):
            wrong.append(f"alert said {len(after[name])} times, not {len(before[name])}: {name}")
    return wrong or _other_order("alerts", *([content(record) for record, _ in alerts] for alerts in (calm, moved)))


def _other_order(what, before, after):
    """Sorted by partition: what one partition says comes in the order of its log."""
    pairs = zip(before, after, strict=True)
    first = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
    return [] if first is None else [f"{what} in another order, from record {first} on: {_short(before[first])}"]


def _wrong_transitions(found, expected):
    said = Counter(
        Transition(
            alert["server"], alert["rule"], tuple(sorted(alert["labels"].items())), alert["severity"], alert["status"],
            alert["starts_at"], alert["ends_at"], alert["updated_at"], alert["value"],
        )
        for _, alert in found.alerts
        if alert["rule"] != "learned"
    )
    wrong = [f"not said: x{count} {one}" for one, count in (expected - said).items()]
    return wrong + [f"said of nothing: x{count} {one}" for one, count in (said - expected).items()]


def _wrong_identities(found):
    """One id is one occurrence: it begins once, ends at most once, and is nobody else's."""
    wrong, course, owners = [], defaultdict(list), defaultdict(set)
    for record, alert in found.alerts:
        name, own = ce_id(record), alert["alert_id"]
        course[own].append(name.removeprefix(f"{own}."))
        owners[own].add((alert["fingerprint"], alert["server"], alert["rule"], alert["starts_at"], record.partition))
        if not name.startswith(f"{own}.{alert['status']}") or record.key != alert["server"].encode():
            wrong.append(f"under another name: {name}, key {record.key}: {_told(alert)}")
    for own, said in course.items():
        again = [f"firing.{number}" for number in range(1, len(said))]
        if said not in (["firing", *again], ["firing", *again[:-1], "resolved"]):
            wrong.append(f"no course of an alert: {own}: {said}")
    return wrong + [f"one id for several: {own}: {who}" for own, who in owners.items() if len(who) > 1]


def _wrong_letters(found, garbage):
    said = Counter((record.partition, record.key, record.value) for record in found.letters)
    wrong = [f"dead letter missing: x{count} {one}" for one, count in (garbage - said).items()]
    return wrong + [f"dead letter of nothing: x{count} {one}" for one, count in (said - garbage).items()]


def _told(alert):
    return " ".join(str(alert[name]) for name in ("server", "rule", "status", "starts_at", "ends_at", "updated_at", "value"))


def _short(one):
    partition, key, value, _ = one
    return f"partition {partition}, key {key}: {value[:80]}"
