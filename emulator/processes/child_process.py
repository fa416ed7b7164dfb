"""Child processes that never outlive us: own session, killed by the kernel when we die, asked before they are killed."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE = 2.0  # seconds between SIGTERM and SIGKILL; Lambda's shutdown phase lasts at most 2 s


def die_with_parent() -> Callable[[], None] | None:
    """What to run between fork and exec so that the kernel kills the child when the forking thread ends.

    Linux only; elsewhere a killed emulator leaves its children to notice that their sockets have closed.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # died between fork and prctl
            os._exit(1)

    return arrange


async def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> asyncio.subprocess.Process:
    """A child of the event loop, its stdout and stderr in pipes. Raises OSError when it cannot be started."""
    return await asyncio.create_subprocess_exec(
        *command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )


async def stop(process: asyncio.subprocess.Process) -> int:
    """Ends the child and everything in its session. Returns its exit status."""
    if process.returncode is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            signal_group(process.pid, signal.SIGKILL)
    return await process.wait()


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdout: int) -> int:
    """Runs a command to its end and returns its status. Ctrl-C is ours alone: the command is killed without a word."""
    process = subprocess.Popen(
        list(command),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (nothing but prctl, getppid and _exit runs there)
    )
    try:
        return process.wait()
    finally:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def start_logged(command: Sequence[str], *, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A child of a plain thread, stdout and stderr in one file: for stand-ins."""
    with log.open("wb") as out:
        return subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (nothing but prctl, getppid and _exit runs there)
        )


def stop_logged(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            signal_group(process.pid, signal.SIGKILL)
    process.wait()


def signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
