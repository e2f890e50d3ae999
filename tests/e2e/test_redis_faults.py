"""Redis is killed, emptied, restarted from an old snapshot, slow, erroneous, cut off and hung while windows flow, and every answer is
the one that PostgreSQL gives.

TIDEWATCH_REDIS_ANSWERS: answers to compare at least, however long it takes (100,000 for a release); without it one round of the
faults. TIDEWATCH_REDIS_SEED: which questions, when.
"""

import os
import random
import time

import pytest

import answers
from commits import Commits
from hot import Hot
from pipeline import figure
from stack import wait_until
from windows import WINDOW, Flow

ASKED = int(os.environ.get("TIDEWATCH_REDIS_ANSWERS") or 0)
SEED = int(os.environ.get("TIDEWATCH_REDIS_SEED") or 1)
SERVERS, SERIES, EVERY = 12, 8, 0.3
# what was committed longer ago has to be in every answer: a lease of 5 s, and a second for what takes its time
SETTLED = 6.0
LEAST = 2_000
# seconds for which a snapshot is kept before Redis comes back with it
SNAPSHOT = (40, 80) if ASKED else (1, 8)

EXPECTED = (r"(?i)redis", r"session ended, restore from the last commit")


@pytest.fixture(scope="module")
def hot():
    hot = Hot("redis faults")
    yield hot
    hot.close()


class Play:
    """The windows, those who ask, and one fault after the other."""

    def __init__(self, hot):
        self.hot, self.rng = hot, random.Random(f"redis {SEED}")
        rng = random.Random(f"late {SEED}")
        start = (int(time.time() * 1000) - 20 * 3_600_000) // WINDOW * WINDOW
        late = lambda: rng.randint(1, 6) if rng.random() < 0.01 else 0  # noqa: E731
        self.flow = Flow(hot.pipeline, "hot", SERVERS, SERIES, EVERY, start, late, grow_every=60)
        self.commits = Commits(hot.stack.postgres_url)
        self.flow.run()
        wait_until(lambda: len(self.commits.seen) == SERVERS, 60, "every server in PostgreSQL")
        self.askers = answers.Askers(self.flow, self.commits, *hot.addresses.values(), seed=SEED)
        self.back, self.rounds = {}, 0

    def asked_for(self, seconds):
        """So long at least, and never without a good many questions."""
        until, goal = time.monotonic() + seconds, len(self.askers.answers) + 50

        def enough():
            assert not self.askers.failures and not self.flow.failures, (self.askers.failures, self.flow.failures)
            return len(self.askers.answers) >= goal and time.monotonic() >= until

        wait_until(enough, 60 + seconds, "answers", every=0.05)

    def drawn(self, least, most):
        self.asked_for(self.rng.uniform(least, most))

    def round(self):
        for fault in self.rng.sample(FAULTS, len(FAULTS)):
            name = fault.__name__
            self.askers.phase = name
            fault(self)
            self.back.setdefault(name, []).append(self.hot.await_redis(self.askers))
            self.askers.phase = f"after {name}"
            self.drawn(1, 2.5)
        self.rounds += 1

    def finish(self):
        self.askers.stop()
        self.flow.stop()
        ends = {sent.place for sent in self.flow.sent}
        wait_until(lambda: all(self.commits.of(place) for place in ends), 60, "every record is committed")
        self.commits.stop()


def killed(play):
    play.hot.down()
    play.drawn(1, 3)
    play.hot.up()


def emptied(play):
    for _ in range(3):
        play.hot.client().flushall()
        play.drawn(0.2, 1.5)


def restarted_from_a_snapshot(play):
    dumped = play.hot.dump()
    play.drawn(*SNAPSHOT)
    play.hot.restart_with(dumped)


def slow(play):
    with play.hot.misbehaving(delay=0.3):
        play.drawn(2, 4)


def erroneous(play):
    with play.hot.misbehaving(errors=play.rng.choice([0.05, 0.3, 1.0])):
        play.drawn(2, 4)


def cut_off_in_the_middle(play):
    with play.hot.misbehaving(cut=0.1):
        play.drawn(2, 4)


def hung(play):
    """Longer than a lease; what was sent to it before it stopped is done when it goes on."""
    with play.hot.stopped():
        play.drawn(5.5, 8)


def away_from_the_sink_alone(play):
    """The lease is not renewed: that much is all the reader can go by."""
    with play.hot.misbehaving("sink", refuse=True, cut=1.0):
        play.asked_for(SETTLED + 1)


def the_sink_killed(play):
    play.hot.pipeline["sink"].restart_killed()
    play.drawn(1, 2)


FAULTS = [
    killed,
    emptied,
    restarted_from_a_snapshot,
    slow,
    erroneous,
    cut_off_in_the_middle,
    hung,
    away_from_the_sink_alone,
    the_sink_killed,
]


@pytest.fixture(scope="module")
def verdict(hot):
    with hot.pipeline.expecting(*EXPECTED):
        play, began = Play(hot), time.monotonic()
        hot.await_redis(play.askers)
        play.asked_for(8)
        while play.rounds == 0 or len(play.askers.answers) < ASKED * 1.2:
            play.round()
        play.finish()
    found = answers.judge(play.flow, play.commits, play.askers)
    compared = sum(found.compared.values())
    figure(
        f"redis faults: {play.rounds} rounds of {len(FAULTS)} in {time.monotonic() - began:.0f} s; {compared:,} answers compared"
        f" ({', '.join(f'{n:,} {source}' for source, n in found.compared.most_common())}), {len(found.wrong(SETTLED))} wrong;"
        f" {found.moving:,} asked while what they speak of was being written"
    )
    lacked = ", ".join(f"{name.replace('_', ' ')} {longest:.1f}" for name, longest in sorted(found.ages().items()))
    figure(
        f"redis faults: {len(found.unequal)} answers lacked what had been committed not long before, seconds at most: {lacked}"
        f" (a lease is 5 s)"
    )
    back = ", ".join(f"{name.replace('_', ' ')} {max(times):.1f}" for name, times in play.back.items())
    figure(f"redis faults: Redis answers again after, seconds at most: {back}")
    return found


@pytest.mark.timeout(0 if ASKED else 300)
def test_every_answer_is_the_one_of_postgresql(verdict):
    wrong = verdict.wrong(SETTLED)
    assert not wrong, f"{len(wrong)} wrong answers:\n" + "\n".join(
        f"{answer.phase}: committed {age or 0:.1f} s before: {answer.source} {answer.told}" for age, answer in wrong[:20]
    )


def test_enough_was_compared_and_redis_answered_much_of_it(verdict):
    compared = sum(verdict.compared.values())
    assert compared >= max(LEAST, ASKED), verdict.compared
    # the rest was asked while Redis was away, or of more than what it knows since
    assert verdict.compared["redis"] > compared // 10, verdict.compared
    assert verdict.compared["postgres"] > 0 and verdict.compared["servers"] > 0, verdict.compared
