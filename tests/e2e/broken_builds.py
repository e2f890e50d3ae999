"""The fault runs find what they are there to find: stream processors with one rule of the protocol broken each, under the same seeds.

Not part of `make test`: `make broken-builds` builds such a program (feature `broken`) and runs this. TIDEWATCH_MOVING_RUNS: how many
seeds a rule gets at most, until the records of one run are not right. What a slow machine may do too (a group that does not answer in
time, a log that is not worked off) counts for nothing; and with no rule broken the same verdict has to be: right.
"""

import os

import pytest

import moving
from pipeline import figure

RUNS = int(os.environ.get("TIDEWATCH_MOVING_RUNS") or 24)
FIRST_SEED = int(os.environ.get("TIDEWATCH_MOVING_SEED") or 1)
PARALLEL = int(os.environ.get("TIDEWATCH_MOVING_PARALLEL") or 6)
# Not FloorRestored: a floor that is forgotten shows only where append times go back, and those of one broker do not. The simulation finds it.
RULES = ["LateInItsCommit", "SilentBelowHighWater", "NoCommitInReplay", "LowWaterOfAllWindows", "NoRepeats", "SpeakerNotIdle"]
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
    return request.param


@pytest.mark.timeout(0)
def test_with_no_rule_broken_no_record_is_wrong(cluster):
    outcomes = moving.campaign(cluster, range(FIRST_SEED, FIRST_SEED + 2 * PARALLEL), PARALLEL, told=lambda _: None)
    proofs = [outcome.proof for outcome in outcomes if outcome.proof]
    slow = sum(bool(outcome.wrong) for outcome in outcomes) - len(proofs)
    figure(f"broken: nothing: {len(proofs)} of {len(outcomes)} runs told by their records, {slow} not ended in time")
    assert not proofs, proofs
    assert slow < len(outcomes) / 2, "most of the runs say nothing"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_a_broken_rule_is_found(cluster, broken):
    proofs, played = [], 0
    # seeds of its own: a run that was not exact leaves its topics, and another rule must not be judged by them
    begin = FIRST_SEED + 1_000 * (1 + list(BROKEN).index(broken))
    for first in range(begin, begin + RUNS, PARALLEL):
        # the figure at the end tells enough: an outcome holds every record
        outcomes = moving.campaign(cluster, range(first, first + PARALLEL), PARALLEL, told=lambda _: None)
        played += len(outcomes)
        proofs += [outcome.proof for outcome in outcomes if outcome.proof]
        if proofs:
            break
    said = proofs[0][0] if proofs else "nothing"
    figure(f"broken: {broken}: the records of {len(proofs)} of {played} runs are wrong; the first says: {said[:200]}")
    assert proofs, f"{broken} is broken, and the records of {played} runs were right"
