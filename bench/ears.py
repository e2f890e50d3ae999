"""The detectors that tidewatch's is held against: the two references, and what people write in an hour.

In: the files of a set. Out: a CSV with a column `score` for each, at the same place in another folder. Keeps: no score looks ahead.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

NOT_SERIES = ("timestamp", "label", "warmup")
# Values before a simple detector says anything, as the references have it.
WARMUP = 150


def files(data: Path, kind: str) -> list[Path]:
    """The files of a set, relative to its folder."""
    ends = "*.csv" if kind == "nab" else "*.csv.gz"
    return sorted(path.relative_to(data / kind) for path in (data / kind).rglob(ends))


def scores_path(folder: Path, file: Path) -> Path:
    return folder / str(file).removesuffix(".gz")


def load(path: Path):
    """A reference, as a module of its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def seconds(times: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(times):
        return times.to_numpy(dtype=float)
    return (pd.to_datetime(times) - pd.Timestamp(0)).dt.total_seconds().to_numpy(dtype=float)


def columns(table: pd.DataFrame) -> list[np.ndarray]:
    names = [name for name in table.select_dtypes("number") if name not in NOT_SERIES]
    return [np.ascontiguousarray(table[name].to_numpy(dtype=float)) for name in names]


def difference(values: np.ndarray) -> np.ndarray:
    """|difference| over the 95 % quantile of those before it."""
    steps = pd.Series(np.abs(np.diff(values, prepend=values[:1])))
    usual = steps.expanding(WARMUP).quantile(0.95).shift(1)
    return (steps / usual.where(usual > 0)).fillna(0).to_numpy()


def deviation(values: np.ndarray) -> np.ndarray:
    """Distance from the mean of all values before, in their standard deviations."""
    series = pd.Series(values)
    past = series.expanding(WARMUP)
    spread = past.std().shift(1)
    return ((series - past.mean().shift(1)).abs() / spread.where(spread > 0)).fillna(0).to_numpy()


class Python:
    """A detector of one series, or of all of a server."""

    def __init__(self, one: Callable[[np.ndarray, np.ndarray], np.ndarray], server: Callable | None = None):
        self.one = one
        # the oddest of its series, for one who has nothing better
        self.server = server or (lambda at, values: np.max([one(at, column) for column in values], axis=0))

    def hear(self, data: Path, kind: str, out: Path) -> None:
        for file in files(data, kind):
            table = pd.read_csv(data / kind / file)
            at = seconds(table["timestamp"])
            values = columns(table)
            score = self.server(at, values) if kind == "servers" else self.one(at, values[0])
            path = scores_path(out, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame({"timestamp": table["timestamp"], "score": score}).to_csv(path, index=False)


class Tidewatch:
    """The program, once for each folder; counts what it took."""

    def __init__(self, program: Path):
        self.program = program
        self.seconds = 0.0

    def hear(self, data: Path, kind: str, out: Path) -> None:
        folders: dict[Path, list[Path]] = {}
        for file in files(data, kind):
            folders.setdefault(file.parent, []).append(data / kind / file)
        for folder, inputs in folders.items():
            command = [self.program, "detect", *(["--by-server"] if kind == "servers" else []), *inputs, "--output", out / folder]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"tidewatch detect failed on {kind}/{folder}: status {process.returncode}")
            self.seconds += usage.ru_utime + usage.ru_stime


def peers(folder: Path) -> dict[str, Python]:
    novelty, loud = load(folder / "reference_detector.py"), load(folder / "reference_loud.py")
    return {
        "novelty reference": Python(novelty.detect),
        "loud reference": Python(loud.detect, lambda at, values: loud.detect_server(at, values)[0]),
        "difference": Python(lambda at, values: difference(values)),
        "running z": Python(lambda at, values: deviation(values)),
    }
