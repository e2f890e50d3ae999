"""A bound on a process' memory that the kernel keeps, where it lets us set one; and the process' peak in any case.

In: a pid and a number of bytes. Out: a memory cgroup (version 1 or 2) around the process, or nothing without the permission to make
one. Keeps: no swap inside where that can be set, and nothing of the cgroup outlives `close`.
"""

import os
from contextlib import suppress
from pathlib import Path

from stack import wait_until

ROOT = Path("/sys/fs/cgroup")


class Cage:
    def __init__(self, pid, limit):
        self.pid, self.limit = pid, limit
        self.folder, self.kind = None, "no cgroup: the peak alone is checked"
        for parent, kind, files in _hierarchies():
            folder = parent / f"tidewatch-cage-{pid}"
            try:
                folder.mkdir()
            except OSError:
                continue
            try:
                (folder / files[0]).write_text(str(limit))
                (folder / "cgroup.procs").write_text(str(pid))
            except OSError:
                folder.rmdir()
                continue
            for name, value in files[1]:
                # without swap accounting there is no such file
                with suppress(OSError):
                    (folder / name).write_text(value.format(limit=limit))
            self.folder, self.kind = folder, f"{kind} of {limit >> 20} MiB"
            return

    def peak(self):
        """The most that the process itself has had in memory, bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(peak) << 10

    def close(self):
        """After the process has ended."""
        if self.folder is not None:

            def gone():
                self.folder.rmdir()
                return True

            wait_until(gone, 10, f"{self.folder} is empty")


def _hierarchies():
    """Where a memory cgroup may be made, what it is, the file of its limit and what keeps swap out."""
    if (ROOT / "memory" / "memory.limit_in_bytes").exists():
        swap = [("memory.memsw.limit_in_bytes", "{limit}"), ("memory.swappiness", "0")]
        yield ROOT / "memory", "memory cgroup (v1)", ("memory.limit_in_bytes", swap)
    if (ROOT / "cgroup.controllers").exists():
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("0::/")[2]
        for parent in dict.fromkeys((ROOT / own, (ROOT / own).parent, ROOT)):
            # a group with processes in it gives no controller to groups below it: its parent may
            with suppress(OSError):
                (parent / "cgroup.subtree_control").write_text("+memory")
            if os.access(parent, os.W_OK):
                yield parent, "memory cgroup (v2)", ("memory.max", [("memory.swap.max", "0")])
