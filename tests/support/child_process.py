"""Programs that tests start: each is asked to end, and killed when it does not, whatever became of the test."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

END_SECONDS = 30.0
"""For a program to end after SIGTERM; a busy machine needs seconds for what takes 0.1 s."""


@contextlib.contextmanager
def child(command: list[str], *, end_seconds: float = END_SECONDS, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program and end it on leaving. `options` are those of Popen.

    SIGTERM is not ignored by background jobs as SIGINT is. Raises AssertionError when the program had to be killed.
    """
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        ended = end(process, end_seconds)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    assert ended, f"{command!r} did not end within {end_seconds} s of SIGTERM"


def end(process: subprocess.Popen[Any], seconds: float = END_SECONDS) -> bool:
    """End a program by SIGTERM, or by SIGKILL after `seconds`; return whether SIGTERM was enough."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()
