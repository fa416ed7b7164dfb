"""How long processes were ready to run and waited for a processor: what a busy machine adds to every measured time.

Time limits of tests are the promised limit plus this, so that they judge the code and not the machine. Source: the second
field of /proc/PID/schedstat, in nanoseconds (docs.kernel.org/scheduler/sched-stats.html).
"""

from __future__ import annotations

import os
from pathlib import Path


class CpuWait:
    """Counts from the moment it is made, over this process and the given ones."""

    def __init__(self, *pids: int) -> None:
        self._pids = (os.getpid(), *pids)
        self._before = self._total()

    def seconds(self) -> float:
        """Seconds of waiting, added up over all threads that still live; never less than 0."""
        return max(0, self._total() - self._before) / 1e9

    def _total(self) -> int:
        return sum(_waited(path) for pid in self._pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _waited(path: Path) -> int:
    try:
        return int(path.read_text().split()[1])
    except (OSError, IndexError):  # the thread has ended
        return 0
