"""Records that mean harm, and two honest servers among them.

In: a producer and a seed. Out: what was sent, and what has to become of it. Keeps: every record's key is its kind, so that a dead letter
tells which kind it was; bytes are put together by hand, since millions of series have to be made in seconds. What is cut short or
random does not care about time; all else is dated like the honest servers' last frame: they were first in every minute.
"""

import math
import random
import struct
import time
from collections import Counter

import avro_contract as contract
import reckoning
import topics

TIERS = (10_000, 60_000)
PARTITIONS = (0, 1)
# of one partition in a minute: the default
MAX_SERVERS = 20_000
WIDTH = 2_000
# as many as a window's record has room for: 14 bytes and 11 columns each, a megabyte in all
WHOLE_FRAMES = 5
LEGION_FRAMES = 5_000
NAMES, IDS, RANDOM = 300_000, 100_000, 2_000
NEARLY_A_MEGABYTE = 950_000

HEADER = contract.header("metric_frame")


def long(value):
    bits, out = ((value << 1) ^ (value >> 63)) & (1 << 64) - 1, bytearray()
    while bits >= 0x80:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)
    return bytes(out)


def text(value):
    return long(len(value)) + value


def head(server, at, layout_id=0):
    return HEADER + text(server) + long(0) + long(at) + long(layout_id)


def series(metric, labels=b"\x00"):
    return text(metric) + labels + b"\x00\x00"


def layout(*metrics):
    return (long(len(metrics)) if metrics else b"") + b"".join(map(series, metrics)) + b"\x00"


def values(*numbers, histograms=b"\x00"):
    """All that stands behind a layout."""
    return (long(len(numbers)) + struct.pack(f"<{len(numbers)}d", *numbers) if numbers else b"") + b"\x00" + histograms


def histogram(count, scale, *positive):
    """With a count that need not be that of its buckets, which are given as their bytes: offset and array."""
    known = struct.pack("<3d", 1.0, 1.0, 1.0)
    return series(b"h") + long(count) + known + long(scale) + struct.pack("<d", 0.0) + long(0) + b"".join(positive) + b"\x00\x00"


ONE = layout(b"m") + values(1.0)


def bombs(at):
    """What asks for memory, time or depth that is not there."""
    begin, metric = head(b"bomb", at), series(b"m")
    for number in (2**60, -(2**60), 2**61, 2**62, -(2**63), 2**31, -1):
        yield begin + long(number) + long(2**50) + metric
        yield begin + layout(b"m") + long(number) + long(2**50) + struct.pack("<d", 1.0)
        yield begin + layout(b"m") + values(1.0, histograms=long(number) + long(2**50) + histogram(1, 3, long(0), long(1), long(1), b"\x00"))
        yield begin + layout(b"m") + values(1.0, histograms=long(1) + histogram(1, 3, long(0), long(number), long(2**50), long(1)))
        yield begin + long(1) + text(b"m") + long(number) + long(2**50) + text(b"a") + text(b"b")
    yield begin + b"\x80" * 9 + b"\x02"
    yield begin + b"\xff" * 12
    yield begin + b"\x80" * 900_000
    yield HEADER + long(2**40) + b"bomb"
    yield HEADER + long(-1) + b"bomb"
    yield HEADER + long(5_000) + b"bomb"
    yield begin + long(1) + long(2**40) + b"m"
    # as many items as there are bytes left
    yield begin + long(900_000) + b"\x00" * 900_000


def small(at):
    """kind -> its records, and their reason; None = they do no harm."""
    # a list of 5,000 links, each inside the one before
    recursive = (long(1) + b"\x02") * 5_000 + long(1) + b"\x00"
    good = head(b"cut", at) + layout(b"a", b"b") + values(1.0, 2.0)
    nan, inf = math.nan, math.inf
    # the number of items is negative, so their size stands behind it, and is not true
    lying = head(b"liar", at) + long(-1) + long(2**40) + series(b"m") + b"\x00"
    lying += long(-1) + long(3) + struct.pack("<d", 1.0) + b"\x00\x00"
    label = long(1) + text(b"a") + text(b"x" * NEARLY_A_MEGABYTE) + b"\x00"
    giant = head(b"giant", at) + long(1) + series(b"m", label) + b"\x00" + values(1.0)
    wide = [b"w%06d" % i for i in range(NEARLY_A_MEGABYTE // 19)]
    broad = head(b"broad", at) + layout(*wide) + values(*[1.0] * len(wide))
    fingerprints = [b"\xc3\x01" + struct.pack("<Q", n) + good[10:] for n in range(1, 501)]
    odd = [(n, m) for n in range(1, 3) for m in range(4) if n != m]

    one_bucket = long(1) + long(1) + b"\x00"
    wrong = [histogram(2, 3, long(0), one_bucket), histogram(-1, 3, long(0), b"\x00"), histogram(1, 21, long(0), one_bucket)]
    wrong += [histogram(1, -(2**31), long(0), one_bucket), histogram(1, 20, long(2**31 - 1), one_bucket)]
    wrong += [histogram(0, 3, long(0), long(2) + long(1) + long(-1) + b"\x00")]
    # as many buckets as a frame has room for
    wrong += [histogram(900_000, 3, long(0), long(900_000) + b"\x02" * 900_000 + b"\x00")]
    distributions = [head(b"histogram", at) + layout() + values(histograms=long(1) + one + b"\x00") for one in wrong]

    def one(server, *numbers):
        return head(server, at) + layout(b"m") + values(*numbers)

    return {
        "unknown-fingerprint": (fingerprints, "unknown_schema"),
        "recursive-datum": ([b"\x00" + struct.pack(">I", n) + recursive for n in range(50)], "undecodable"),
        "bomb": (list(bombs(at)), "undecodable"),
        "truncated": ([good[:n] for n in range(1, len(good))], "undecodable"),
        "lengths-differ": (
            [head(b"odd", at) + layout(*[b"a", b"b"][:n]) + values(*[1.0] * m) for n, m in odd], "layout_mismatch"
        ),
        "series-twice": ([head(b"twice", at) + layout(b"a", b"a") + values(1.0, 2.0)] * 100, "duplicate_series"),
        "nan": ([one(b"nan", nan)] * 100, None),
        "infinite": ([one(b"inf", v) for v in [inf, -inf] * 50], "not_a_number"),
        "too-large-value": ([one(b"large", v) for v in [1e308, -1e308] * 50], "out_of_range"),
        "wrong-histograms": (distributions, "bad_histogram"),
        "giant-label": ([giant] * 30, "name_too_long"),
        "broad": ([broad] * 30, "too_many_series"),
        # a record of ours would not hold it
        "beyond-a-record": ([random.Random(1).randbytes(1_040_000)] * 5, "undecodable"),
        "sizes-that-lie": ([lying] * 100, None),
    }


class Honest:
    """Two servers, one in each partition, that send 20 whole numbers once a second."""

    NAMES = (b"honest-0", b"honest-1")

    def __init__(self, client):
        self.client, self.began = client, time.time()
        self.sent, self.expected = 0, {}
        self.latest = 0

    def send_due(self):
        while time.time() - self.began >= self.sent:
            self.send()

    def send(self):
        at = self.latest = int(self.began * 1_000) + self.sent * 1_000
        for partition, name in enumerate(self.NAMES):
            frame = {
                "server": name.decode(), "sequence": self.sent + 1, "collected_at": at, "layout_id": 0,
                "layout": [{"metric": f"m{i}", "labels": {}, "kind": "gauge", "unit": ""} for i in range(20)],
                "values": [float((self.sent * 7 + i * 13 + partition) % 101) for i in range(20)],
            }
            reckoning.count(self.expected, frame, TIERS)
            topics.send(self.client, topics.RAW, name, contract.encode("metric_frame", frame), partition=partition)
        self.sent += 1


class Siege:
    """Everything once: the small kinds, a legion of series, of names and of ids, and noise."""

    def __init__(self, client, seed):
        self.client, self.random = client, random.Random(seed)
        self.honest = Honest(client)
        # kind -> records sent; (kind, reason) -> dead letters
        self.sent, self.letters = Counter(), Counter()
        self.legion_by_minute = Counter()

    def go(self):
        self.honest.send()
        for kind, (records, reason) in small(self.honest.latest).items():
            for at, record in enumerate(records):
                self.send(kind, record, PARTITIONS[at % 2])
            if reason:
                self.letters[kind, reason] += len(records)
        for _ in range(RANDOM):
            self.send("random", self.random.randbytes(1 + self.random.randrange(3_000)), 0)
        self.legion()
        self.ids()
        self.names()
        topics.flush(self.client)

    def send(self, kind, record, partition):
        self.sent[kind] += 1
        self.honest.send_due()
        topics.send(self.client, topics.RAW, kind.encode(), record, partition=partition)

    def legion(self):
        """Ever new series of one server."""
        template = layout(*(b"s@@@@.%04d" % i for i in range(WIDTH)))
        numbers = values(*map(float, range(WIDTH)))
        for frame in range(LEGION_FRAMES):
            at = self.honest.latest
            self.send("legion", head(b"legion", at) + template.replace(b"@@@@", b"%04x" % frame) + numbers, 0)
            self.legion_by_minute[at // 60_000] += 1
        taken = sum(min(frames, WHOLE_FRAMES) for frames in self.legion_by_minute.values())
        self.letters["legion", "too_many_series"] = LEGION_FRAMES - taken

    def ids(self):
        """Layouts that nobody announced."""
        for number in range(IDS):
            layout_id = self.random.randrange(1, 2**63)
            self.send("invented-id", head(b"nameless", self.honest.latest, layout_id) + b"\x00" + values(1.0), number // 2 % 2)
        self.letters["invented-id", "unknown_layout"] = IDS

    def names(self):
        """Servers that nobody has, in every minute that is not late yet; how many find room shows in the windows."""
        for number in range(NAMES):
            at = self.honest.latest - (0, 60_000, 100_000)[number // 2 % 3]
            self.send("invented-name", head(b"host-%06d" % number, at) + ONE, number % 2)
