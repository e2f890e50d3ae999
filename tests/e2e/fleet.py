"""A fleet whose every sample is known: its frames, and what each window has to hold, computed apart from our code.

Values of the first series are k/1024 with small k: a sum of them is exact in whatever order it is taken, so equality is by bits.
The last ones are arbitrary doubles; all but their sums is exact too. One series is absent (NaN, null) in half of the frames.
"""

import random
import struct
from dataclasses import dataclass

DYADIC, COUNTERS, ARBITRARY = 40, 5, 5
METRICS = (
    [f"exact.g{i:02}" for i in range(DYADIC)]
    + [f"exact.c{i}_total" for i in range(COUNTERS)]
    + [f"exact.a{i}" for i in range(ARBITRARY)]
)
SPARSE = "exact.sparse"
ROUGH = {f"exact.a{i}" for i in range(ARBITRARY)}
TIERS = (10_000, 60_000)


@dataclass(frozen=True)
class Frame:
    server: str
    sequence: int
    at: int
    # of METRICS, then of SPARSE; None = absent
    values: tuple

    def samples(self):
        return sum(value is not None for value in self.values)


def kind(metric):
    return "counter" if metric.endswith("_total") else "gauge"


def as_json(frame, labels):
    """For POST /api/v1/ingest."""
    metrics = dict(zip([*METRICS, SPARSE], frame.values))
    return {
        "server": frame.server,
        "sequence": frame.sequence,
        "timestamp": frame.at,
        "metrics": metrics,
        "labels": labels,
    }


def as_record(frame, labels):
    """A MetricFrame; absent is NaN."""
    return {
        "server": frame.server,
        "sequence": frame.sequence,
        "collected_at": frame.at,
        "layout_id": 0,
        "layout": [{"metric": m, "labels": labels, "kind": kind(m), "unit": ""} for m in [*METRICS, SPARSE]],
        "values": [float("nan") if value is None else value for value in frame.values],
    }


def make(servers, frames, spacing, begin, seed):
    """For each server its frames in the order of their time."""
    rng = random.Random(seed)
    fleet = {}
    for name in servers:
        counters = [rng.randrange(1 << 20) / 1024 for _ in range(COUNTERS)]
        sequence = rng.randrange(1, 1 << 40)
        series = fleet[name] = []
        for i in range(frames):
            counters = [0.0 if rng.random() < 0.01 else c + rng.randrange(1 << 12) / 1024 for c in counters]
            values = [rng.randrange(-(1 << 24), 1 << 24) / 1024 for _ in range(DYADIC)]
            values += counters
            values += [rng.uniform(-1, 1) * 10.0 ** rng.randrange(-8, 9) for _ in range(ARBITRARY)]
            values.append(rng.randrange(1 << 20) / 1024 if rng.random() < 0.5 else None)
            at = begin + i * spacing + rng.randrange(spacing // 2)
            series.append(Frame(name, sequence + i, at, tuple(values)))
    return fleet


def delivery_order(series, displaced, repeated, reach, rng):
    """The order in which a server's frames are sent: `displaced` of them change places with one at most `reach` ms away,
    and `repeated` of them are sent once more within the next few. Returns the order and the repeats."""
    order = list(series)
    moved = set()
    wanted = round(len(order) * displaced)
    while len(moved) < wanted:
        i = rng.randrange(len(order) - 1)
        j = min(i + rng.randrange(1, 4), len(order) - 1)
        if i in moved or j in moved or i == j or abs(order[i].at - order[j].at) >= reach:
            continue
        order[i], order[j] = order[j], order[i]
        moved |= {i, j}
    repeats = rng.sample(order, round(len(order) * repeated))
    for frame in repeats:
        order.insert(order.index(frame) + rng.randrange(1, 4), frame)
    return order, repeats


def expected_windows(fleet):
    """(server, metric, window length, window start) -> [count, sum, min, max, first, last], from the frames alone."""
    windows = {}
    for server, frames in fleet.items():
        for frame in sorted(frames, key=lambda frame: frame.at):
            for metric, value in zip([*METRICS, SPARSE], frame.values):
                if value is None:
                    continue
                for tier in TIERS:
                    key = (server, metric, tier, frame.at // tier * tier)
                    cell = windows.get(key)
                    if cell is None:
                        windows[key] = [1, value, value, value, value, value]
                        continue
                    cell[0] += 1
                    cell[1] += value
                    cell[2] = min(cell[2], value)
                    cell[3] = max(cell[3], value)
                    cell[5] = value
    return windows


def bits(cell):
    return struct.pack("<q5d", *cell)


def differences(expected, found):
    """What is missing, too much or other, in words; the sums of ROUGH series may differ in the last digits."""
    wrong = [f"missing: {key}" for key in expected.keys() - found.keys()]
    wrong += [f"never sent: {key}" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        should, cell = list(expected[key]), list(found[key])
        if key[1] in ROUGH and abs(should[1] - cell[1]) <= 1e-9 * (abs(should[2]) + abs(should[3])) * should[0]:
            cell[1] = should[1]
        if bits(should) != bits(cell):
            wrong.append(f"differs: {key}: expected {should}, found {cell}")
    return wrong
