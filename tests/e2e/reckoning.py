"""What the window topics have to hold, reckoned from what metrics.raw holds: stream-processor/README.md once more, in Python.

In: every record of a run's topics as a foreign consumer read it. Out: what is wrong, in words. Keeps: knows nothing of commits,
replays or owners, so neither can it be fooled by them. Values are whole numbers: a sum is exact in whatever order it is taken.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import avro_contract as contract

TICK = "tidewatch-tick"
LATE_REASON = "tidewatch-reason"
MAX_AHEAD_MS = 30_000
COLUMNS = ("count", "sum", "min", "max", "first", "last", "first_at", "last_at")
MORE_COLUMNS = ("m2", "increase", "resets")


@dataclass(frozen=True)
class Rules:
    """The settings that decide what is late, and which windows there are."""

    tiers: tuple = (1_000, 4_000)
    lateness: int = 8_000


@dataclass(frozen=True)
class Record:
    """One record of a topic; `appended` is the broker's stamp."""

    partition: int
    offset: int
    appended: int
    key: bytes | None
    value: bytes
    headers: tuple = ()

    def header(self, name):
        return dict(self.headers).get(name)


@dataclass
class Evidence:
    """What a run left behind. `attempts` are the window records of every transaction, the aborted ones too."""

    raw_topic: str
    raw: list
    layouts: list
    windows: list
    late: list
    letters: list
    attempts: list = field(default_factory=list)


@dataclass
class Reckoning:
    windows: dict = field(default_factory=dict)
    late: Counter = field(default_factory=Counter)
    letters: Counter = field(default_factory=Counter)
    counted: int = 0


def series_key(series):
    return series["metric"], tuple(sorted(series["labels"].items())), series["kind"], series["unit"]


def reckon(raw, layouts, rules):
    """Goes through the log as it stands: each frame is counted, late or a dead letter."""
    result = Reckoning()
    announced = [contract.decode("layout", record.value) for record in layouts]
    named = {one["layout_id"]: one["layout"] for one in announced} | {0: None}
    shortest, longest = min(rules.tiers), max(rules.tiers)
    clocks, seen = {}, set()
    for record in sorted(raw, key=lambda record: (record.partition, record.offset)):
        clock = clocks[record.partition] = max(clocks.get(record.partition, 0), record.appended)
        floor = (clock - rules.lateness) // shortest * shortest
        if not record.value and record.header(TICK) is not None:
            continue
        try:
            frame = contract.decode("metric_frame", record.value)
        except ValueError:
            result.letters[record.partition, record.offset, "undecodable"] += 1
            continue
        frame["layout"] = named[frame["layout_id"]] or frame["layout"]
        at = frame["collected_at"]
        sent = (frame["server"], frame["sequence"], at // longest)
        if at > record.appended + MAX_AHEAD_MS:
            result.letters[record.partition, record.offset, "future"] += 1
        elif at // shortest * shortest + shortest <= floor:
            result.late[record.partition, record.key, record.value] += 1
        elif frame["sequence"] and sent in seen:
            result.letters[record.partition, record.offset, "duplicate"] += 1
        else:
            seen.add(sent)
            result.counted += 1
            count(result.windows, frame, rules.tiers)
    return result


def count(windows, frame, tiers):
    for series, value in zip(frame["layout"], frame["values"]):
        if math.isnan(value):
            continue
        for tier in tiers:
            start = frame["collected_at"] // tier * tier
            at = frame["collected_at"] - start
            merge(windows, (frame["server"], *series_key(series), tier, start), (1, value, value, value, value, value, at, at))


def merge(windows, key, cell):
    """`first` and `last` go by time, the others add up."""
    have = windows.get(key)
    if have is None:
        windows[key] = cell
        return
    first = have if have[6] <= cell[6] else cell
    last = have if have[7] > cell[7] else cell
    low, high = min(have[2], cell[2]), max(have[3], cell[3])
    windows[key] = (have[0] + cell[0], have[1] + cell[1], low, high, first[4], last[5], first[6], last[7])


def rows(frame, names=COLUMNS):
    """series -> its columns; neither the order of the series nor that of the record counts."""
    columns = zip(*(frame[name] for name in names), strict=True)
    return dict(zip(map(series_key, frame["layout"]), columns, strict=True))


def identity(frame):
    return frame["origin"]["partition"], frame["origin"]["offset"], frame["server"], frame["window_ms"], frame["window_start"]


def content(frame):
    return frame["kind"], tuple(sorted(rows(frame, COLUMNS + MORE_COLUMNS).items()))


def samples(windows):
    """How many samples each tier has counted."""
    counted = Counter()
    for _, frame in windows:
        counted[frame["window_ms"]] += sum(frame["count"])
    return counted


def expected_samples(reckoning):
    counted = Counter()
    for key, cell in reckoning.windows.items():
        counted[key[-2]] += cell[0]
    return counted


def read_window(record):
    """A record of a window topic and what it says."""
    return record, contract.decode("aggregate_frame", record.value)


def wrongs(evidence, rules):
    """Everything that is not as the log demands; empty = exact."""
    reckoning = reckon(evidence.raw, evidence.layouts, rules)
    return (
        _wrong_windows(evidence, reckoning)
        + _wrong_records(evidence, rules)
        + _wrong_attempts(evidence)
        + _wrong_late(evidence, reckoning)
        + _wrong_letters(evidence, reckoning)
    )


def _wrong_windows(evidence, reckoning):
    found = {}
    for _, frame in evidence.windows:
        for series, cell in rows(frame).items():
            merge(found, (frame["server"], *series, frame["window_ms"], frame["window_start"]), cell)
    expected = reckoning.windows
    wrong = [f"missing window: {key}: {expected[key]}" for key in expected.keys() - found.keys()]
    wrong += [f"window of nothing: {key}: {found[key]}" for key in found.keys() - expected.keys()]
    wrong += [
        f"window differs: {key}: expected {expected[key]}, found {found[key]}"
        for key in expected.keys() & found.keys()
        if expected[key] != found[key]
    ]
    return wrong


def _wrong_records(evidence, rules):
    """Each record for itself, no identity twice, at most one final of a window."""
    wrong = []
    identities = Counter(identity(frame) for _, frame in evidence.windows)
    wrong += [f"{times} records of one identity: {who}" for who, times in identities.items() if times > 1]
    finals = Counter(
        (frame["server"], frame["window_ms"], frame["window_start"])
        for _, frame in evidence.windows
        if frame["kind"] == "final"
    )
    wrong += [f"{times} finals of one window: {window}" for window, times in finals.items() if times > 1]
    inputs = {(record.partition, record.offset) for record in evidence.raw}
    for record, frame in evidence.windows:
        origin = (frame["origin"]["partition"], frame["origin"]["offset"])
        if record.partition != origin[0] or record.key != frame["server"].encode() or origin not in inputs:
            wrong.append(f"misplaced: partition {record.partition}, key {record.key}: {identity(frame)}")
        if frame["window_ms"] not in rules.tiers or frame["window_start"] % frame["window_ms"]:
            wrong.append(f"no window of ours: {identity(frame)}")
    return wrong


def _wrong_attempts(evidence):
    """A record made twice, an aborted transaction's included, is the same record."""
    said, wrong = {}, []
    for _, frame in evidence.attempts + evidence.windows:
        if said.setdefault(identity(frame), content(frame)) != content(frame):
            wrong.append(f"made twice, and not the same: {identity(frame)}")
    return wrong


def _wrong_late(evidence, reckoning):
    found = Counter((record.partition, record.key, record.value) for record in evidence.late)
    wrong = [f"late without its reason: {record}" for record in evidence.late if record.header(LATE_REASON) != b"late"]
    return wrong + _unequal("late", reckoning.late, found)


def _wrong_letters(evidence, reckoning):
    inputs = {(record.partition, record.offset): record for record in evidence.raw}
    found, wrong = Counter(), []
    for record in evidence.letters:
        said = {name: record.header(f"__connect.errors.{name}") or b"" for name in ("topic", "partition", "offset", "stage")}
        reason = (record.header("__connect.errors.exception.class.name") or b"").decode()
        origin = (int(said["partition"] or -1), int(said["offset"] or -1))
        found[*origin, reason] += 1
        source = inputs.get(origin)
        if said["topic"].decode() != evidence.raw_topic or said["stage"] != b"stream-processor":
            wrong.append(f"dead letter of somebody else: {record}")
        elif source is None or (source.key, source.value) != (record.key, record.value):
            wrong.append(f"dead letter is not what stands at {origin}")
    return wrong + _unequal("dead letter", reckoning.letters, found)


def _unequal(what, expected, found):
    missing, more = expected - found, found - expected
    return [f"{what} missing: {_short(key)} x{n}" for key, n in missing.items()] + [
        f"{what} too much: {_short(key)} x{n}" for key, n in more.items()
    ]


def _short(key):
    return tuple(part[:60] if isinstance(part, bytes) else part for part in key)
