"""A process under the share of a CPU that Lambda gives for a memory size. Knows Linux's control groups.

Lambda gives CPU in proportion to memory, one vCPU for 1,769 MB (docs.aws.amazon.com/lambda/latest/dg, page
configuration-memory), and takes it away in periods of 20 ms, as others have measured. Both versions of control groups can
do that, for root.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

VCPU_MB = 1769
PERIOD_MICROSECONDS = 20_000
CGROUPS = Path("/sys/fs/cgroup")


class CannotLimitError(Exception):
    """This machine does not let us limit a process; the text says what is missing."""


def quota_microseconds(memory_mb: int) -> int:
    """Processor time in each period."""
    return round(PERIOD_MICROSECONDS * memory_mb / VCPU_MB)


@contextlib.contextmanager
def cpu_share(memory_mb: int, root: Path = CGROUPS) -> Iterator[tuple[str, ...]]:
    """What has to stand before a command so that it, and what it starts, gets the share of `memory_mb`.

    Raises CannotLimitError.
    """
    group = _make(root, f"openai-lambda-relay-bench-{os.getpid()}")
    try:
        _limit(group, quota_microseconds(memory_mb))
        yield ("/bin/sh", "-c", f'echo $$ > {group / "cgroup.procs"} && exec "$@"', "sh")
    finally:
        _remove(group)


def _make(root: Path, name: str) -> Path:
    """Below the `cpu` controller of version 1, or below the root of version 2."""
    parent = root / "cpu" if (root / "cpu" / "cgroup.procs").exists() else root
    try:
        if parent == root:
            (root / "cgroup.subtree_control").write_text("+cpu")
        group = parent / name
        group.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotLimitError(f"needs root, and Linux's control groups with `cpu`: {error}") from None
    return group


def _limit(group: Path, quota: int) -> None:
    """The quota, and the most weight there is: what the quota gives, other work on this machine should not take."""
    if (group / "cpu.max").exists():
        settings = {"cpu.max": f"{quota} {PERIOD_MICROSECONDS}", "cpu.weight": "10000"}
    else:
        settings = {
            "cpu.cfs_period_us": str(PERIOD_MICROSECONDS),
            "cpu.cfs_quota_us": str(quota),
            "cpu.shares": "262144",
        }
    try:
        for name, value in settings.items():
            (group / name).write_text(value)
    except OSError as error:
        raise CannotLimitError(f"the control group takes no CPU quota: {error}") from None


def _remove(group: Path) -> None:
    """A group goes once its last process is gone, which the kernel notices in its own time."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.02)
