"""What a set's figure is worth: hits and false alarms by file at threshold 1.0, and the figure of 60 random halves of the files.

In: the data, the scores, score.py for NAB's weights. Out: a mean and its spread, false episodes by time. Keeps: the figure of all files
is the one that score.py prints, or the run has failed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ears import files, scores_path, seconds

HALVES = 60
# before, delay, apart, free rows, rows that join two events: as score.py has them
EVENTS = {"web": (3, 30, 30, 2880, 30), "servers": (5, 0, 30, 0, 10)}


@dataclass(frozen=True)
class Counted:
    """A set's files: what adds up to the figure, and how long each was judged, in seconds."""

    rows: np.ndarray
    figure: Callable[[np.ndarray], float]
    false: float
    length: float

    def whole(self) -> float:
        return self.figure(self.rows)

    def halves(self) -> tuple[float, float]:
        random = np.random.default_rng(20261127)
        some = [random.permutation(len(self.rows))[: len(self.rows) // 2] for _ in range(HALVES)]
        found = [self.figure(self.rows[half]) for half in some]
        return float(np.mean(found)), float(np.std(found))


def nab(judge, data: Path, scores: Path) -> Counted:
    windows = json.loads((data / "nab" / "windows.json").read_text())
    _, false_weight, missed_weight = judge.PROFILES["standard"]
    rows, false, length = [], 0, 0.0
    for name, spans in sorted(windows.items()):
        times = pd.to_datetime(pd.read_csv(data / "nab" / name)["timestamp"])
        at = seconds(times)
        index = list(times)
        spans = [(index.index(pd.Timestamp(a)), index.index(pd.Timestamp(b))) for a, b in spans]
        reward, where, inside = judge.nab_weights(at, spans)
        hit = (pd.read_csv(scores / name)["score"].to_numpy(dtype=float) >= 1) & (where != -2)
        got = worst = 0.0
        for span in range(len(spans)):
            if (where == span).any():
                best = reward[hit & (where == span)]
                got += best.max() if len(best) else -missed_weight
                worst -= missed_weight
        got += (reward[hit & ~inside] * false_weight).sum()
        rows.append((got, worst, len(spans)))
        false += int((hit & ~inside).sum())
        length += at[-1] - at[0]

    def figure(rows: np.ndarray) -> float:
        got, worst, most = rows.sum(axis=0)
        return 100 * (got - worst) / (most - worst)

    return Counted(np.array(rows), figure, false, length)


def spans_of(label: np.ndarray, skip: int, join: int) -> list[tuple[int, int]]:
    edges = np.diff(np.r_[0, label.astype(int), 0])
    spans: list[tuple[int, int]] = []
    for a, b in zip(np.where(edges == 1)[0], np.where(edges == -1)[0] - 1):
        if a < skip:
            continue
        if spans and a - spans[-1][1] <= join:
            spans[-1] = (spans[-1][0], b)
        else:
            spans.append((a, b))
    return spans


def events(kind: str, data: Path, scores: Path) -> Counted:
    before, delay, apart, free, join = EVENTS[kind]
    rows, length = [], 0.0
    for file in files(data, kind):
        table = pd.read_csv(data / kind / file)
        skip = int(table["warmup"].sum()) if "warmup" in table else free
        spans = spans_of((table["label"].fillna(0) > 0.5).to_numpy(), skip, join)
        score = pd.read_csv(scores_path(scores, file))["score"].to_numpy(dtype=float).copy()
        score[:skip] = 0
        excused = np.zeros(len(score), bool)
        found = false = 0
        for a, b in spans:
            excused[max(0, a - before) : b + apart + 1] = True
            end = min(b, a + delay) if delay else b
            found += bool(score[max(0, a - before) : end + 1].max() >= 1)
        last = -apart - 1
        for row in np.where((score >= 1) & ~excused)[0]:
            if row - last > apart:
                false, last = false + 1, row
        rows.append((found, len(spans) - found, false))
        length += float(np.median(np.diff(seconds(table["timestamp"])))) * (len(score) - skip)

    def figure(rows: np.ndarray) -> float:
        found, missed, false = rows.sum(axis=0)
        return 2 * found / max(2 * found + missed + false, 1e-9)

    counted = np.array(rows, dtype=float)
    return Counted(counted, figure, float(counted[:, 2].sum()), length)
