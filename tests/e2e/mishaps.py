"""What can happen to a stream processor, and which of it does in a run: drawn from the seed, one after the other.

In: a run with its instances `a` and `b`. Out: the same run with others up than before. Keeps: at least one instance is up after
each mishap, and each ends in a state that the next can start from.
"""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

BOTH = frozenset("ab")
# a run has at least so many, of at least so many seconds; what takes long is not begun after the second figure
LEAST, SHORTEST, LONGEST = 3, 8, 18


@dataclass(frozen=True)
class Mishap:
    """`seconds` is about how long it takes; `needs` decides by who is up whether it can happen to `who`."""

    act: Callable
    seconds: int
    weight: int
    needs: Callable
    leaves: Callable = lambda up, who: up


@dataclass(frozen=True)
class Step:
    what: str
    who: str
    pause: float

    def __str__(self):
        return f"{self.what} {self.who}"


def other(who):
    return next(iter(BOTH - {who}))


def is_up(up, who):
    return who in up


def both_up(up, who):
    return up == BOTH


def join(run, who, rng):
    run.start(who)
    run.await_owner(who)


def leave(run, who, rng):
    run.end(run.members[who], gently=True)
    run.members[who] = None


def restart(run, who, rng):
    run.end(run.members[who], gently=True)
    run.start(who)


def kill(run, who, rng):
    run.end(run.members[who], gently=False)
    time.sleep(rng.uniform(0.0, 1.0))
    run.start(who)


def kill_for_good(run, who, rng):
    run.end(run.members[who], gently=False)
    run.members[who] = None
    run.await_owner(other(who), all_of_it=True)


def hang(run, who, rng, stop=lambda run, who, rng: run.members[who].signal(signal.SIGSTOP)):
    """Past the session timeout: it wakes up and believes that the partitions are still its own."""
    run.await_owner(who)
    stop(run, who, rng)
    if other(who) in run.up():
        run.await_owner(other(who), all_of_it=True)
    else:
        run.await_expelled(who)
    time.sleep(rng.uniform(0.0, 1.0))
    run.members[who].signal(signal.SIGCONT)


def hang_alone(run, who, rng):
    """The same, and who took over is dead before it wakes up: in an empty group nobody is left to contradict it."""
    run.await_owner(who)
    run.members[who].signal(signal.SIGSTOP)
    run.await_owner(other(who), all_of_it=True)
    time.sleep(rng.uniform(0.5, 1.5))
    run.end(run.members[other(who)], gently=False)
    run.members[other(who)] = None
    run.await_empty()
    run.members[who].signal(signal.SIGCONT)


def double(run, who, rng, stop=lambda run, who, rng: run.members[who].signal(signal.SIGSTOP)):
    """A second process under one name fences the first, which hangs, wakes up and fences back, until one of them goes."""
    run.await_owner(who)
    old, (member, _) = run.members[who], run.owned(who)
    stop(run, who, rng)
    new = run.start(who)
    run.await_owner(who, other_than=member)
    old.signal(signal.SIGCONT)
    quarrel(run, who, rng, old, new)


def double_awake(run, who, rng):
    """The same without the first one hanging."""
    run.await_owner(who)
    old = run.members[who]
    quarrel(run, who, rng, old, run.start(who))


def quarrel(run, who, rng, old, new):
    time.sleep(rng.uniform(0.3, 2.5))
    loser, run.members[who] = rng.choice([(old, new), (new, old)])
    run.end(loser, gently=rng.random() < 0.5)


def stop_in_commit(run, who, rng):
    """Hangs it with a transaction of its own open; tries until one is."""
    process = run.members[who]
    for _ in range(40):
        owned = run.owned(who)
        process.signal(signal.SIGSTOP)
        found = owned and run.open_transactions(owned[1])
        # its last request may still be on its way
        if found and (time.sleep(0.05) or found & run.open_transactions(owned[1])):
            run.done.append("caught in a commit")
            return
        process.signal(signal.SIGCONT)
        time.sleep(rng.uniform(0.0, 0.1))
    process.signal(signal.SIGSTOP)


def hang_in_commit(run, who, rng):
    hang(run, who, rng, stop_in_commit)


def double_in_commit(run, who, rng):
    double(run, who, rng, stop_in_commit)


def kill_broker(run, who, rng):
    """By SIGKILL, and started again."""
    run.cluster.restart()


def without(up, who):
    return up - {who}


MISHAPS = {
    "join": Mishap(join, 1, 6, lambda up, who: who not in up, lambda up, who: up | {who}),
    "leave": Mishap(leave, 1, 2, both_up, without),
    "restart": Mishap(restart, 1, 2, is_up),
    "kill": Mishap(kill, 1, 4, is_up),
    "kill for good": Mishap(kill_for_good, 7, 2, both_up, without),
    "hang": Mishap(hang, 8, 3, is_up),
    "hang in commit": Mishap(hang_in_commit, 9, 3, is_up),
    "hang alone": Mishap(hang_alone, 14, 2, both_up, lambda up, who: frozenset(who)),
    "double": Mishap(double, 3, 2, is_up),
    "double in commit": Mishap(double_in_commit, 4, 4, is_up),
    "double awake": Mishap(double_awake, 2, 2, is_up),
    "broker kill": Mishap(kill_broker, 6, 2, is_up),
}


def plan(seed):
    """Who is up at first, and what happens to whom."""
    rng = random.Random(f"mishaps {seed}")
    first = up = BOTH if rng.random() < 0.6 else frozenset("a")
    steps, seconds = [], 0
    while len(steps) < LEAST or seconds < SHORTEST:
        can = [
            (name, who)
            for name, mishap in MISHAPS.items()
            for who in sorted(BOTH)
            if mishap.needs(up, who) and mishap.seconds <= max(LONGEST - seconds, 1)
        ]
        [(name, who)] = rng.choices(can, [MISHAPS[name].weight for name, _ in can])
        steps.append(Step(name, who, rng.uniform(0.3, 2.0)))
        seconds += MISHAPS[name].seconds
        up = MISHAPS[name].leaves(up, who)
    return first, steps
