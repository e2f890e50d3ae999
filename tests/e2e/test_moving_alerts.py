"""The same log gives the same alerts, bit for bit, on a real Kafka: analyzers that come, go, hang, are killed and doubled while the log
is written, with a broker that restarts, say what one says that reads the same log once, undisturbed; and both say what the injected
incidents have to lead to, reckoned apart.

TIDEWATCH_MOVING_ALERTS_INCIDENTS: how many incidents at least (150); a release: 1,000. TIDEWATCH_MOVING_ALERTS_SEED: fleet, incidents and mishaps.
"""

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

import avro_contract as contract
import moving
import transitions
import trouble
from moving_alerts import OWED, Run, Writer, copy_log, live_through
from pipeline import figure
from transitions import Evidence

ASKED = os.environ.get("TIDEWATCH_MOVING_ALERTS_INCIDENTS")
INCIDENTS = int(ASKED or 150)
SEED = int(os.environ.get("TIDEWATCH_MOVING_ALERTS_SEED") or 1)
# how long the log is written: long enough for every mishap that has to be
SECONDS = max(60.0, INCIDENTS / 4)


@dataclass
class Story:
    fleet: list
    expected: Counter
    garbage: Counter
    calm: Evidence
    moved: Evidence
    done: list
    wrong: list = field(default_factory=list)


def again():
    return f"make alert-fault-runs INCIDENTS={INCIDENTS} SEED={SEED}"


@pytest.fixture(scope="module")
def cluster(request):
    failed = request.session.testsfailed
    cluster = moving.Cluster().__enter__()
    yield cluster
    # with every log, if there is something to look for
    cluster.stack.close(keep=request.session.testsfailed > failed or "TIDEWATCH_KEEP" in os.environ)


@pytest.fixture(scope="module")
def story(cluster):
    began = time.monotonic()
    # some hours ago, so that neither a broker's clock nor its retention has anything against the stamps
    length = trouble.WINDOWS * trouble.WINDOW
    begin = (int(time.time() * 1_000) - length - 3_600_000) // 60_000 * 60_000
    fleet, partitions = trouble.fleet_of(INCIDENTS, SEED, begin)
    expected = transitions.reckon(fleet)
    moved = Run(cluster, SEED, f"moved-{SEED}.", partitions)
    calm = Run(cluster, SEED, f"calm-{SEED}.", partitions, session="60s")
    faults = []
    try:
        for run in (moved, calm):
            run.create_topics()
        writer = Writer(moved, fleet, SEED, SECONDS)
        try:
            live_through(moved, writer, faults)
            moved.finish()
        finally:
            writer.give_up()
            print(f"seed {SEED}: {', '.join(faults)}", flush=True)
        copy_log(moved, calm)
        calm.start("a")
        calm.finish()
        assert calm.taken_over() == partitions, f"the other run was disturbed: {calm.processes[0].tail()}"
        found = Story(fleet, expected, writer.garbage, calm.evidence(), moved.evidence(), moved.done)
        found.wrong = transitions.wrongs(found.calm, found.moved, expected, writer.garbage)
        found.wrong += moved.wrong_logs() + calm.wrong_logs()
        tell(found, moved, writer, time.monotonic() - began)
        yield found
    finally:
        moved.close()
        calm.close()


def tell(found, moved, writer, seconds):
    said = [transitions.ce_id(record) for record, _ in found.calm.alerts]
    heard = [transitions.ce_id(record) for record, _ in found.moved.alerts]
    missing, extra = Counter(said) - Counter(heard), Counter(heard) - Counter(said)
    incidents = sum(len(server.incidents) for server in found.fleet)
    figure(
        f"moving alerts: {incidents:,} incidents on {len(found.fleet)} servers, {writer.sent:,} windows; {len(said):,} transitions"
        f" ({found.expected.total():,} of rules, each reckoned), {len(found.calm.anomalies):,} anomalies, {len(found.calm.bands):,} bands;"
        f" missing / extra {missing.total()} / {extra.total()}, {len(found.wrong)} wrong, {seconds:.0f} s"
    )
    count = Counter(found.done)
    mishaps_told = ", ".join(f"{times} x {name}" for name, times in count.most_common())
    figure(
        f"moving alerts: {mishaps_told}; {moved.kills} kill -9, Kafka killed {moved.cluster.restarts} times,"
        f" {moved.taken_over()} times a partition was taken over, {moved.warnings()} warnings"
    )


@pytest.mark.timeout(0 if ASKED else 420)
def test_the_same_log_gives_the_same_alerts(story):
    assert not story.wrong, f"{len(story.wrong)} wrong, again: {again()}\n    " + "\n    ".join(story.wrong[:20])
    assert set(OWED) <= set(story.done)


def test_the_incidents_are_of_every_kind(story):
    """Nothing is proved by what nobody had anything to say about."""
    rules = Counter((alert["rule"], alert["status"]) for _, alert in story.calm.alerts)
    assert all(rules[rule.name, status] for rule in transitions.RULES for status in ("firing", "resolved")), rules
    learned = [(server, incident) for server in story.fleet for incident in server.incidents if incident.kind in trouble.LEARNED]
    heard = [one for one in learned if is_heard(story.calm, *one)]
    assert len(heard) >= 0.9 * len(learned), f"{len(heard)} of {len(learned)} were learned of"
    assert story.calm.anomalies and story.calm.bands and story.calm.letters
    held = [alert for _, alert in story.calm.alerts if alert["status"] == "resolved" and alert["updated_at"] - alert["ends_at"] >= 900_000]
    assert held, "nothing was held open"


def is_heard(found, server, incident):
    """Whether the detector spoke while it showed."""
    first, end = (server.begin + window * trouble.WINDOW for window in (incident.first, incident.end))
    own = (alert for _, alert in found.alerts if alert["rule"] == "learned" and alert["server"] == server.name)
    return any(first <= alert["starts_at"] < end for alert in own)


# Doctored evidence: what was done to the moved run's, or to both, and what has to be said of it


def pick(found, rng, of=lambda alert: True):
    return rng.choice([place for place, (_, alert) in enumerate(found.alerts) if of(alert)])


def is_ruled(alert):
    return alert["rule"] != "learned"


def is_resolved(alert):
    return is_ruled(alert) and alert["status"] == "resolved"


def rewrite(place, found, change):
    record, alert = found.alerts[place]
    alert = alert | change
    found.alerts[place] = (replace(record, value=contract.encode("alert", alert)), alert)


def drop(of):
    def dropped(found, rng):
        found.alerts.pop(pick(found, rng, of))

    return dropped


def say_twice(found, rng):
    place = pick(found, rng)
    found.alerts.insert(place, found.alerts[place])


def change(of, **by):
    def changed(found, rng):
        place = pick(found, rng, of)
        alert = found.alerts[place][1]
        rewrite(place, found, {name: move(alert[name]) for name, move in by.items()})

    return changed


def other_id(found, rng):
    place = pick(found, rng)
    record, alert = found.alerts[place]
    own = alert["alert_id"]
    named = f"{int(own, 16) ^ 1:032x}"
    headers = tuple((name, value.replace(own.encode(), named.encode())) for name, value in record.headers)
    found.alerts[place] = (replace(record, headers=headers), alert)
    rewrite(place, found, {"alert_id": named})


def swap(found, rng):
    places = [place for place in range(1, len(found.alerts)) if found.alerts[place - 1][0].partition == found.alerts[place][0].partition]
    place = rng.choice(places)
    found.alerts[place - 1], found.alerts[place] = found.alerts[place], found.alerts[place - 1]


def misplace(found, rng):
    place = pick(found, rng)
    record, alert = found.alerts[place]
    found.alerts[place] = (replace(record, partition=record.partition + 1), alert)


def other_headers(found, rng):
    place = pick(found, rng)
    record, alert = found.alerts[place]
    found.alerts[place] = (replace(record, headers=record.headers[:-1]), alert)


def swallow(topic):
    return lambda found, rng: getattr(found, topic).remove(rng.choice(getattr(found, topic)))


def repeat(topic):
    def repeated(found, rng):
        records = getattr(found, topic)
        place = rng.randrange(len(records))
        records.insert(place, records[place])

    return repeated


def flip(topic):
    def flipped(found, rng):
        records = getattr(found, topic)
        place = rng.randrange(len(records))
        value = records[place].value
        records[place] = replace(records[place], value=value[:-1] + bytes([value[-1] ^ 1]))

    return flipped


def more(value):
    return value + 1


DOCTORED = {
    "transition dropped": (drop(lambda alert: True), "alert missing"),
    "end dropped": (drop(is_resolved), "moved: not said"),
    "transition doubled": (say_twice, "alert said 2 times"),
    "transition doubled within its course": (say_twice, "moved: no course"),
    "other value": (change(lambda alert: alert["value"] is not None, value=more), "alert differs"),
    "other word": (change(lambda alert: True, explanation=lambda text: text[:-1] + "!"), "alert differs"),
    "other end": (change(is_resolved, ends_at=more), "alert differs"),
    "other incident": (change(lambda alert: True, incident_id=lambda name: name[:-1] + "x"), "alert differs"),
    "other id": (other_id, "alert extra"),
    "id taken away": (other_id, "alert missing"),
    "other headers": (other_headers, "alert differs"),
    "other partition": (misplace, "alert differs"),
    "other order": (swap, "alerts in another order"),
    "band swallowed": (swallow("bands"), "bands missing"),
} | {
    f"{topic} {what}": (act(topic), f"{topic} {said}")
    for topic in ("anomalies", "letters")
    for what, act, said in (("swallowed", swallow, "missing"), ("doubled", repeat, "extra"), ("changed", flip, "missing"))
}
# both runs wrong alike: only what was sent tells
ALIKE = {
    "transition dropped": (drop(is_ruled), "moved: not said"),
    "transition doubled": (say_twice, "moved: no course"),
    "other value": (change(lambda alert: is_ruled(alert) and alert["value"] is not None, value=more), "moved: not said"),
    "other start": (change(is_ruled, starts_at=more), "moved: said of nothing"),
    "other end": (change(is_resolved, ends_at=more), "moved: not said"),
    "other severity": (change(is_ruled, severity=lambda one: "info" if one != "info" else "critical"), "moved: not said"),
    "other id": (other_id, "moved: no course"),
    "dead letter swallowed": (swallow("letters"), "moved: dead letter missing"),
}


def test_doctored_evidence_is_told(story):
    assert not story.wrong, "no exact run to doctor"
    rng = random.Random(20_261_128)
    for what, (doctor, words) in DOCTORED.items():
        for _ in range(3):
            found = story.moved.copy()
            doctor(found, rng)
            expect_told(what, words, transitions.wrongs(story.calm, found, story.expected, story.garbage))
    for what, (doctor, words) in ALIKE.items():
        for _ in range(3):
            found = story.moved.copy()
            doctor(found, rng)
            wrong = transitions.wrongs(found, found, story.expected, story.garbage)
            expect_told(f"both: {what}", words, wrong)
    figure(f"moving alerts: all of {3 * (len(DOCTORED) + len(ALIKE))} doctored outputs noticed")


def expect_told(what, words, wrong):
    assert any(line.startswith(words) for line in wrong), f"{what} went unnoticed: {wrong[:5]}"
