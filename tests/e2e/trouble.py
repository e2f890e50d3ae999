"""A fleet in trouble: servers whose windows of 10 s are drawn from a seed, and in each of them four incidents at known windows.

In: how many incidents, a seed, when it begins. Out: records of `metrics.10s` in the order in which they are to be written, and of each server
its windows as they were meant. Keeps: values are multiples of 1/4 and a window has four samples, so that its mean is exact; what is drawn for
one server depends on no other; what the analyzer has to pass over (repeats, late parts, old windows, garbage) says the opposite.
"""

import random
from dataclasses import dataclass

import avro_contract as contract
from traffic import GARBAGE, series

WINDOW = 10_000
SAMPLES = 4
# the detector of a server says nothing before that
WARM_UP = 300
# the incidents of a server are so far apart that one that flaps is over before the next
SLOT = 190
# servers do not go wrong all at once
SHIFT = 30
TAIL = 10
EACH = 4
WINDOWS = WARM_UP + EACH * SLOT + SHIFT + TAIL
# fewer alerts begin in a partition than it may say at once
OF_A_PARTITION = 250

RULES = """\
rules:
  - {name: busy, metric: cpu.busy, above: 90, clear_below: 80, for: 30s, keep: 20s}
  - {name: disk, metric: disk.free, below: 10, severity: critical}
  - {name: storm, metric: requests_total, above: 500, for: 20s}
  - {name: lost, metric: sensor.heat, absent: series, for: 30s, keep: 20s, severity: info}
"""

LAYOUT = [
    series("cpu.busy", unit="percent"),
    series("disk.free", disk="sda"),
    series("requests_total", "counter"),
    series("sensor.heat", sensor="0"),
    *(series(f"work.m{number}") for number in range(6)),
]
BUSY, DISK, REQUESTS, SENSOR = range(4)
WORK = range(4, len(LAYOUT))
# those of them that are odd when something is learned from
ODD = WORK[:4]

LEARNED = ("spike", "shift")
# windows, from .. to below
LENGTHS = {"spike": (2, 4), "shift": (8, 25), "busy": (6, 20), "disk": (3, 15), "storm": (5, 15), "lost": (6, 25)}
PULSES = 5


@dataclass(frozen=True)
class Incident:
    """`pulses`: from which window on, and how many windows, it shows."""

    kind: str
    pulses: tuple

    @property
    def rule(self):
        return {"flap": "disk"}.get(self.kind, self.kind)

    @property
    def first(self):
        return self.pulses[0][0]

    @property
    def end(self):
        return sum(self.pulses[-1])


def draw(kind, at, rng):
    if kind != "flap":
        return Incident(kind, ((at + rng.randrange(SLOT - 40), rng.randrange(*LENGTHS[kind])),))
    # the fourth comes within an hour of three others: it is held open, and the fifth is no news
    pulses, at = [], at + rng.randrange(8)
    for _ in range(PULSES):
        pulses.append((at, rng.randrange(3, 5)))
        at += pulses[-1][1] + rng.randrange(5, 14)
    return Incident(kind, tuple(pulses))


@dataclass(frozen=True)
class Window:
    """What a server shows: series -> value; of a counter its level at the end."""

    start: int
    values: dict
    # the counter's level in the middle
    middle: int


class Server:
    def __init__(self, number, seed, begin, partitions):
        self.name, self.seed, self.begin = f"trouble-{number:04}", f"{seed} {number}", begin
        self.partition = number % partitions
        rng = random.Random(f"incidents {self.seed}")
        kinds = [rng.choice(LEARNED), *rng.sample(["busy", "disk", "storm", "lost"], EACH - 1)]
        kinds = ["flap" if kind == "disk" and rng.random() < 0.3 else kind for kind in kinds]
        rng.shuffle(kinds)
        first = WARM_UP + rng.randrange(SHIFT)
        self.incidents = [draw(kind, first + SLOT * slot, rng) for slot, kind in enumerate(kinds)]
        # busy, but not for long enough
        self.alarms = Incident("busy", ((rng.randrange(20, WARM_UP - 20), 2),))

    def showing(self):
        """window -> what shows in it, and for how many windows it has."""
        found = {}
        for incident in (self.alarms, *self.incidents):
            for first, count in incident.pulses:
                found |= {first + age: (incident.kind, age) for age in range(count)}
        return found

    def windows(self):
        """One after the other, the same each time; None where the server was not heard."""
        rng, showing, level = random.Random(f"values {self.seed}"), self.showing(), 1_000
        for index in range(WINDOWS):
            kind, age = showing.get(index, (None, 0))
            busy = 20 + rng.randrange(-16, 17) / 4
            disk = 40 + rng.randrange(-4, 5) / 4
            heat = 30 + rng.randrange(-4, 5) / 4
            growth = 1_000 + rng.randrange(-50, 51)
            work = [10 * number + rng.randrange(-4, 5) / 4 for number in WORK]
            if kind == "busy":
                # once it fires it may be anywhere above the level that clears
                busy = rng.randrange(320, 400) / 4 if age > 3 and rng.random() < 0.3 else rng.randrange(361, 400) / 4
            elif kind in ("disk", "flap"):
                disk = rng.randrange(8, 36) / 4
            elif kind == "storm":
                growth = rng.randrange(6_000, 9_000)
            elif kind in LEARNED:
                work = [value + 60 if number in ODD else value for number, value in zip(WORK, work)]
            middle, level = level + growth // 2, level + growth
            values = {BUSY: busy, DISK: disk, REQUESTS: level, SENSOR: heat} | dict(zip(WORK, work))
            if kind == "lost":
                del values[SENSOR]
            is_lost = rng.random() < 0.015 and (kind is None or age > 5)
            yield None if is_lost else Window(self.begin + index * WINDOW, values, middle)

    def frame(self, window, kind="final"):
        values = [float(value) for value in window.values.values()]
        n = len(values)
        frame = {
            "server": self.name,
            "window_start": window.start,
            "window_ms": WINDOW,
            "kind": kind,
            "origin": {"partition": self.partition, "offset": (window.start - self.begin) // WINDOW},
            "layout": [LAYOUT[number] for number in window.values],
            "count": [SAMPLES] * n,
            "sum": [SAMPLES * value for value in values],
            **{name: list(values) for name in ("min", "max", "first", "last")},
            "first_at": [1_000] * n,
            "last_at": [9_000] * n,
            "m2": [0.0] * n,
            "increase": [0.0] * n,
            "resets": [0] * n,
        }
        place = list(window.values).index(REQUESTS)
        frame["first"][place] = float(window.middle)
        frame["increase"][place] = values[place] - window.middle
        return frame

    def opposite(self, window, kind, back=0):
        """Everything at once, which nobody must listen to."""
        values = {BUSY: 99.0, DISK: 1.0, REQUESTS: window.values[REQUESTS] + 1_000_000} | {number: 900.0 for number in WORK}
        return self.frame(Window(window.start - back * WINDOW, values, window.middle), kind)


def fleet_of(incidents, seed, begin):
    """As many servers as it takes, and as many partitions, none of them empty."""
    servers = -(-incidents // EACH)
    partitions = min(servers, max(4, -(-incidents // OF_A_PARTITION)))
    return [Server(number, seed, begin, partitions) for number in range(servers)], partitions


def is_garbage(value):
    return value.startswith(GARBAGE)


def records(fleet, seed):
    """(window's number, server, value, stamp), as a stream processor would write them."""
    rng = random.Random(f"log {seed}")
    streams = [server.windows() for server in fleet]
    for index in range(WINDOWS):
        for server, stream in zip(fleet, streams):
            window = next(stream)
            if window is None:
                continue
            value = contract.encode("aggregate_frame", server.frame(window))
            stamp = window.start + WINDOW + 2_000 + rng.randrange(500)
            yield index, server, value, stamp
            chance = rng.random()
            if chance < 0.004:
                yield index, server, value, stamp
            elif chance < 0.008:
                yield index, server, contract.encode("aggregate_frame", server.opposite(window, "delta")), stamp
            elif chance < 0.012:
                old = server.opposite(window, "final", back=rng.randrange(1, 60))
                yield index, server, contract.encode("aggregate_frame", old), stamp
            elif chance < 0.013:
                yield index, server, GARBAGE + b" %d" % rng.randrange(1 << 30), stamp
