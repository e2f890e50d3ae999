"""The fault runs find what they are there to find: stream processors with one rule of the protocol broken each, under the same seeds.

Not part of `make test`: `make broken-builds` builds such a program (feature `broken`) and runs this. TIDEWATCH_MOVING_RUNS: how many
seeds a rule gets at most, until one run is not exact.
"""

import os

import pytest

import moving
from pipeline import figure

RUNS = int(os.environ.get("TIDEWATCH_MOVING_RUNS") or 24)
FIRST_SEED = int(os.environ.get("TIDEWATCH_MOVING_SEED") or 1)
PARALLEL = int(os.environ.get("TIDEWATCH_MOVING_PARALLEL") or 6)
RULES = [
    "LateInItsCommit", "FloorRestored", "SilentBelowHighWater", "NoCommitInReplay", "LowWaterOfAllWindows", "NoRepeats", "SpeakerNotIdle",
]
BROKEN = {rule: {"TIDEWATCH_BROKEN_RULE": rule} for rule in RULES} | {
    "transactions": {"TIDEWATCH_STREAM_PROCESSOR_DELIVERY": "at-least-once"},
}


@pytest.fixture(scope="module")
def cluster():
    with moving.Cluster() as cluster:
        yield cluster


@pytest.fixture
def broken(request, monkeypatch):
    monkeypatch.setattr(moving, "SETTINGS", moving.SETTINGS | BROKEN[request.param])
    # what is lost is waited for in vain
    monkeypatch.setattr(moving, "PATIENCE", 30.0)
    return request.param


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_a_broken_rule_is_found(cluster, broken):
    wrong, played = [], 0
    # seeds of its own: a run that was not exact leaves its topics, and another rule must not be judged by them
    begin = FIRST_SEED + 1_000 * list(BROKEN).index(broken)
    for first in range(begin, begin + RUNS, PARALLEL):
        # the figure at the end tells enough: an outcome holds every record
        outcomes = moving.campaign(cluster, range(first, first + PARALLEL), PARALLEL, told=lambda _: None)
        played += len(outcomes)
        wrong += [outcome for outcome in outcomes if outcome.wrong]
        if wrong:
            break
    said = wrong[0].wrong[0] if wrong else "nothing"
    figure(f"broken: {broken}: {len(wrong)} of {played} runs not exact; the first says: {said[:200]}")
    assert wrong, f"{broken} is broken, and {played} runs were exact"
