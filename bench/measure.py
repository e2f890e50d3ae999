"""One process, watched: CPU time, memory, how far it is. In: a command. Out: the figures that a comparison needs.

CPU is user + system time of all threads, start-up and compilation included. `warm` is what came after the first quarter of the
records: the part in which a virtual machine has compiled what it runs, and the figure that the gates use, in the peers' favour.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rig import bound

TICKS = os.sysconf("SC_CLK_TCK")
WARM_FROM = 0.25
POLL = 0.05


@dataclass
class Run:
    """What one run of one contender cost."""

    contender: str
    load: str
    samples: int = 0
    records: int = 0
    failed: str | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    warm_cpu_seconds: float = 0.0
    warm_samples: int = 0
    peak_bytes: int = 0
    kafka_bytes: int = 0
    note: dict = field(default_factory=dict)

    @property
    def per_cpu_second(self) -> float:
        return self.samples / self.cpu_seconds if self.cpu_seconds else 0.0

    @property
    def warm_per_cpu_second(self) -> float:
        return self.warm_samples / self.warm_cpu_seconds if self.warm_cpu_seconds else 0.0

    def facts(self) -> dict:
        shown = {name: value for name, value in vars(self).items() if name not in ("note",)}
        return shown | {"samples_per_cpu_second": self.per_cpu_second, "warm_samples_per_cpu_second": self.warm_per_cpu_second}


class Process:
    """A child whose end and cost are known exactly."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path, lines: bool = False):
        self.log = log
        self.usage: resource.struct_rusage | None = None
        self.status: int | None = None
        self.records = 0
        with log.open("ab") as err:
            self.child = subprocess.Popen(
                bound(command, "KILL"), env=env, stdin=subprocess.DEVNULL, stderr=err,
                stdout=subprocess.PIPE if lines else err, start_new_session=True,
            )
        self.pid = self.child.pid
        if lines:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            if line.startswith(b"{"):
                self.records = json.loads(line)["records"]

    def alive(self) -> bool:
        if self.status is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.status, self.usage = os.waitstatus_to_exitcode(status), usage
                self.child.returncode = self.status
        return self.status is None

    def end(self, number: int = signal.SIGTERM, within: float = 30.0) -> int:
        """Asks it to end, and insists."""
        until = time.monotonic() + within
        if self.alive():
            os.kill(self.pid, number)
        while self.alive():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        assert self.status is not None
        return self.status

    def cpu(self) -> float:
        if self.usage:
            return self.usage.ru_utime + self.usage.ru_stime
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return 0.0
        fields = stat[stat.rindex(")") + 2 :].split()
        # Its own threads, living and dead, and the children that it has waited for.
        return sum(int(fields[place]) for place in (11, 12, 13, 14)) / TICKS

    def memory(self, what: str = "VmHWM") -> int:
        try:
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith(f"{what}:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return self.usage.ru_maxrss * 1024 if self.usage else 0

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])


def watch(
    process: Process,
    run: Run,
    records: Callable[[], int],
    each_second: Callable[[], object] = lambda: None,
    finished: Callable[[], bool] | None = None,
    limit: float = 1_200.0,
) -> Run:
    """Follows a process to its end, or until `finished`, and then asks it to end. Fills in the run's figures."""
    began = time.monotonic()
    warm: tuple[float, int] | None = None
    next_second = began + 1
    while process.alive():
        run.peak_bytes = max(run.peak_bytes, process.memory())
        done = records()
        if warm is None and done >= WARM_FROM * run.records:
            warm = (process.cpu(), done)
        if done >= run.records and finished and finished():
            run.wall_seconds = time.monotonic() - began
            if process.end():
                run.failed = f"ended with status {process.status}: {process.tail()}"
            break
        if time.monotonic() >= next_second:
            each_second()
            next_second += 1
        if time.monotonic() - began > limit:
            process.end(signal.SIGKILL)
            run.failed = f"not through after {limit:g} s, at record {done} of {run.records}"
            break
        time.sleep(POLL)
    else:
        run.wall_seconds = time.monotonic() - began
        if process.status or not finished and process.records < run.records:
            run.failed = f"ended with status {process.status} at record {records()} of {run.records}: {process.tail()}"
        elif finished:
            run.failed = f"ended by itself: {process.tail()}"
    run.cpu_seconds = process.cpu()
    if warm:
        run.warm_cpu_seconds = run.cpu_seconds - warm[0]
        run.warm_samples = int(run.samples * (1 - warm[1] / run.records))
    return run
