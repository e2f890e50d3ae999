"""The stream processor is exact while its partitions move: seeded runs of two instances that come, go, hang, are killed and
doubled, with a broker that restarts. Every window is in the topics once and right, every frame is counted, late or a dead letter.

TIDEWATCH_MOVING_RUNS: how many runs, however long they take; without it as many as fit into 8 minutes, up to 60.
TIDEWATCH_MOVING_SEED: the first seed. TIDEWATCH_MOVING_PARALLEL: how many at a time.
"""

import copy
import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace

import pytest

import avro_contract as contract
import mishaps
import moving
import reckoning
import topics
import traffic
from pipeline import figure
from stack import wait_until

MOST, LEAST, SECONDS = 60, 20, 480
ASKED = os.environ.get("TIDEWATCH_MOVING_RUNS")
FIRST_SEED = int(os.environ.get("TIDEWATCH_MOVING_SEED") or 1)
PARALLEL = int(os.environ.get("TIDEWATCH_MOVING_PARALLEL") or 6)


@pytest.fixture(scope="module")
def cluster():
    with moving.Cluster() as cluster:
        yield cluster


def again(seed):
    return f"make fault-runs RUNS=1 SEED={seed}"


def tell(outcome):
    verdict = f"{len(outcome.wrong)} wrong, again: {again(outcome.seed)}" if outcome.wrong else "exact"
    size = f"{outcome.frames} frames, {outcome.seconds:.0f} s"
    print(f"seed {outcome.seed}: {verdict}; {size}; {', '.join(outcome.faults)}", flush=True)


@pytest.fixture(scope="module")
def outcomes(cluster):
    count = int(ASKED or MOST)
    began = time.monotonic()
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    found = moving.campaign(cluster, seeds, PARALLEL, None if ASKED else SECONDS, tell)
    mishaps = Counter(name for outcome in found for name in outcome.done)
    figure(
        f"moving: {len(found)} of {count} runs in {(time.monotonic() - began) / 60:.1f} min,"
        f" {sum(bool(outcome.wrong) for outcome in found)} not exact; {sum(outcome.frames for outcome in found):,} frames,"
        f" {sum(len(outcome.evidence.windows) for outcome in found if outcome.evidence):,} window records"
    )
    told = ", ".join(f"{times} x {name}" for name, times in mishaps.most_common())
    figure(f"moving: {told}; Kafka killed {cluster.restarts} times, each time under all runs then going")
    return found


# the runs themselves, and those that were under way when the time was up; any number of runs takes any time
@pytest.mark.timeout(0 if ASKED else SECONDS + 240)
def test_every_run_is_exact(outcomes):
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    assert not wrong, f"{len(wrong)} of {len(outcomes)} runs are not exact:\n" + "\n".join(
        f"{again(outcome.seed)}   # {', '.join(outcome.faults)}\n    " + "\n    ".join(outcome.wrong[:8]) for outcome in wrong[:10]
    )
    assert len(outcomes) >= min(LEAST, int(ASKED or LEAST)), f"only {len(outcomes)} runs fit into {SECONDS} s"
    assert all(len(outcome.faults) >= 3 for outcome in outcomes)


def drop(found, rng):
    """The only record of a window."""
    records = Counter(reckoning.identity(frame)[2:] for _, frame in found.windows)
    found.windows.remove(rng.choice([w for w in found.windows if records[reckoning.identity(w[1])[2:]] == 1]))


def double(found, rng):
    found.windows.append(rng.choice(found.windows))


def final_again(found, rng):
    """The same window closed by another record."""
    record, frame = rng.choice([(r, f) for r, f in found.windows if f["kind"] == "final"])
    offset = next(r.offset for r in found.raw if r.partition == record.partition and r.offset != frame["origin"]["offset"])
    found.windows.append((record, frame | {"origin": {"partition": record.partition, "offset": offset}}))


def change(column):
    def changed(found, rng):
        _, frame = rng.choice([window for window in found.windows if window[1]["kind"] == "final"])
        at = rng.randrange(len(frame[column]))
        frame[column][at] += 1

    return changed


def swap_labels(found, rng):
    _, frame = rng.choice([(r, f) for r, f in found.windows if any(s["labels"] for s in f["layout"])])
    rng.choice([s for s in frame["layout"] if s["labels"]])["labels"] = {"zone": "elsewhere"}


def remade(found, rng):
    """An aborted attempt that said something else."""
    record, frame = copy.deepcopy(rng.choice(found.windows))
    frame["increase"][0] += 1
    found.attempts.append((record, frame))


def misplace(found, rng):
    at = rng.randrange(len(found.windows))
    record, frame = found.windows[at]
    found.windows[at] = replace(record, partition=record.partition + 1), frame


def swallow(topic):
    return lambda found, rng: getattr(found, topic).remove(rng.choice(getattr(found, topic)))


def repeat(topic):
    return lambda found, rng: getattr(found, topic).append(rng.choice(getattr(found, topic)))


def other_reason(found, rng):
    at = rng.randrange(len(found.letters))
    name = "__connect.errors.exception.class.name"
    headers = tuple((key, b"refused" if key == name else value) for key, value in found.letters[at].headers)
    found.letters[at] = replace(found.letters[at], headers=headers)


def lose_frame(found, rng):
    """As if the log held one record less: what became of it is too much."""
    found.raw.remove(rng.choice([r for r in found.raw if r.value and r.value != traffic.GARBAGE]))


# what was done to it, and what has to be said of it
DOCTORED = {
    "window record dropped": (drop, "missing window"),
    "window record doubled": (double, "2 records of one identity"),
    "window record twice as much": (double, "window differs"),
    "second final": (final_again, "2 finals of one window"),
    "wrong labels": (swap_labels, "window of nothing"),
    "another attempt": (remade, "made twice, and not the same"),
    "other partition": (misplace, "misplaced"),
    "late swallowed": (swallow("late"), "late missing"),
    "late doubled": (repeat("late"), "late too much"),
    "dead letter swallowed": (swallow("letters"), "dead letter missing"),
    "dead letter doubled": (repeat("letters"), "dead letter too much"),
    "other reason": (other_reason, "dead letter too much"),
    "frame from nowhere": (lose_frame, ""),
} | {f"other {column}": (change(column), "window differs") for column in reckoning.COLUMNS}


def test_the_reckoning_notices(outcomes):
    good = next((outcome.evidence for outcome in outcomes if not outcome.wrong and outcome.evidence.late), None)
    assert good, "no exact run to doctor"
    assert not reckoning.wrongs(good, moving.RULES)
    rng = random.Random(20_261_126)
    for what, (doctor, words) in DOCTORED.items():
        for _ in range(3):
            found = copy.deepcopy(good)
            doctor(found, rng)
            wrong = reckoning.wrongs(found, moving.RULES)
            # where a crash left an uncommitted copy of the record, the difference between the two is what shows
            assert any(line.startswith((words, "made twice")) for line in wrong), f"{what} went unnoticed: {wrong[:5]}"
    figure(f"moving: all of {3 * len(DOCTORED)} doctored outputs noticed")


# in about every second of them what was open could still be committed, and was
@pytest.mark.parametrize("attempt", range(3))
def test_who_leaves_gives_up_what_it_has_open(cluster, attempt):
    """Told to stop when it wakes up and nobody takes its commit any more: readers need not wait until the broker ends its transaction."""
    run, rng, feeder = moving.Run(cluster, 0, f"leaving-{attempt}."), random.Random(attempt), None
    try:
        run.create_topics()
        run.start("a")
        run.await_owner("a")
        feeder = traffic.Feeder(cluster, run.raw, run.topic(moving.LAYOUTS), 0, moving.RULES.lateness / 1_000)
        process = run.members["a"]
        while not run.done:
            mishaps.stop_in_commit(run, "a", rng)
            if not run.done:
                process.signal(signal.SIGCONT)
        run.await_expelled("a")
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)
        wait_until(lambda: not process.alive, 30, "an end")
        # the broker would take 15 s, from before it hung for 6 s
        wait_until(lambda: not run.open_transactions(range(run.partitions)), 3, "every transaction is decided")
        assert not run.wrong_logs()
    finally:
        if feeder:
            feeder.stop()
        run.close()


def test_who_names_a_layout_too_early_spoils_it_for_nobody(cluster):
    """One names what nobody has announced; a moment later another one announces it, waits for the acknowledgement, and names it."""
    run = moving.Run(cluster, 0, "early.", partitions=1)
    careless, careful = (traffic.Sender(name, random.Random(name)) for name in ("careless", "careful"))
    for sender in (careless, careful):
        sender.names, sender.skew, sender.sequence = True, 0, 1
    try:
        run.create_topics()
        run.start("a")
        run.await_owner("a")
        client = topics.producer(cluster, **cluster.client(), **{"linger.ms": 0})

        def send(sender, count=1):
            for _ in range(count):
                topics.send(client, run.raw, sender.name.encode(), sender.collect(int(time.time() * 1_000)), partition=0)
            topics.flush(client)

        def refused():
            letters = run.read([moving.LETTERS], "read_committed")[0]
            return [contract.decode("metric_frame", letter.value)["server"] for letter in letters]

        send(careless)
        # as soon as it is written: what was looked for in vain is not to be remembered for a while
        wait_until(lambda: run.ends(run.topic(moving.LETTERS), [0])[0] > 0, 30, "the refusal", every=0.02)
        layout_id, layout = careless.to_announce[0]
        value = contract.encode("layout", {"layout_id": layout_id, "layout": layout})
        topics.send(client, run.topic(moving.LAYOUTS), str(layout_id).encode(), value)
        topics.flush(client)
        send(careful, 3)

        def counted():
            windows = map(reckoning.read_window, run.read(["metrics.1s"], "read_committed")[0])
            # a value that is no number is not counted: the series with the most
            return sum(max(frame["count"]) for _, frame in windows if frame["server"] == "careful")

        wait_until(lambda: counted() == 3, 30, "the windows of who kept the order", every=0.3)
        assert refused() == ["careless"]
        assert not run.wrong_logs()
    finally:
        run.close()


# milliseconds by which a server's clock is wrong: all refused as future, all late, or merged all the same
BAD = {"ahead": 3_600_000, "behind": -3_600_000, "a-little-ahead": 20_000, "a-little-behind": -60_000}
GOOD = [f"good-{i}" for i in range(6)]
# closing by the server's own time alone until all is sent, then by idleness: what closes what does not hang on the pace
PATIENT = {"TIDEWATCH_WINDOW_IDLE": "6s", "TIDEWATCH_WINDOW_LATENESS": "2m"}


def bad_clock_frames(begin):
    """What every server sends, in one order, the bad ones in between: (server, record)."""
    rng = random.Random(20_261_127)
    sent = []
    for name in [*GOOD, *BAD]:
        sender = traffic.Sender(name, random.Random(name))
        sender.skew, sender.sequence, sender.names = BAD.get(name, 0), 1, False
        frames = [sender.collect(begin + 150 * i) for i in range(80)]
        for _ in range(10):
            # some out of order, some twice
            i = rng.randrange(70)
            frames.insert(i + rng.randrange(1, 9), frames[i] if rng.random() < 0.5 else frames.pop(i))
        sent += [(i + rng.random(), name, frame) for i, frame in enumerate(frames)]
    return [(name, frame) for _, name, frame in sorted(sent)]


def windows_of(cluster, prefix, frames):
    """Sends the frames to a processor of their own; each good server's window records in order, and what became of the others."""
    # two partitions: every good server shares one with a bad clock
    run = moving.Run(cluster, 0, prefix, PATIENT, partitions=2)
    try:
        run.create_topics()
        run.start("a")
        run.await_owner("a")
        client = topics.producer(cluster, **cluster.client())
        for name, frame in frames:
            topics.send(client, run.raw, name.encode(), frame, partition=sum(name.encode()) % 2)
        topics.flush(client)
        run.await_closed(replace(moving.RULES, lateness=120_000))
        run.end(run.processes[0], gently=True)
        found = run.gather()
        wrong = reckoning.wrongs(found, replace(moving.RULES, lateness=120_000)) + run.wrong_logs()
        assert not wrong, "\n".join(wrong[:10])
    finally:
        run.close()
    said = {name: [] for name in GOOD}
    for _, frame in sorted(found.windows, key=lambda window: window[0].offset):
        if frame["server"] in said:
            rows = reckoning.rows(frame, reckoning.COLUMNS + reckoning.MORE_COLUMNS)
            said[frame["server"]].append((frame["window_ms"], frame["window_start"], frame["kind"], sorted(rows.items())))
    # which of two windows that close at once comes first is nobody's business
    return {name: sorted(records, key=repr) for name, records in said.items()}, found


def test_bad_clocks_touch_no_other_server(cluster):
    # clear of the floor, and of the future
    frames = bad_clock_frames(int(time.time() * 1_000) - 20_000)
    alone, _ = windows_of(cluster, "clocks-good.", [(name, frame) for name, frame in frames if name in GOOD])
    beside, found = windows_of(cluster, "clocks-bad.", frames)
    assert all(records for records in alone.values())
    assert {kind for records in alone.values() for _, _, kind, _ in records} == {"final", "delta"}
    for name in GOOD:
        assert beside[name] == alone[name], f"{name} is touched by another's clock"
    fate = Counter(contract.decode("metric_frame", record.value)["server"] for record in found.late + found.letters)
    sent = Counter(name for name, _ in frames)
    assert {name: fate[name] for name in ("ahead", "behind")} == {name: sent[name] for name in ("ahead", "behind")}
    counted = {frame["server"] for _, frame in found.windows}
    assert {"a-little-ahead", "a-little-behind"} <= counted and not {"ahead", "behind"} & counted
    figure(f"moving: {sum(map(len, alone.values()))} window records of {len(GOOD)} servers, the same beside {len(BAD)} bad clocks")
