"""Waiting for a stand-in's process to serve, and saying in one line why it does not."""

from __future__ import annotations

import http.client
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 30.0  # seconds; each starts in one or two, on a busy machine in ten


class StandInError(Exception):
    """A stand-in did not start. The text is one line for a person."""


def wait_until_it_answers(what: str, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        check_it_runs(what, process, log)
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  (a loopback address of our own)
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            return
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            time.sleep(0.02)
    raise StandInError(f"{what} did not answer within {PATIENCE:g} s: {last_line(log)}")


def wait_for_text(what: str, process: subprocess.Popen[bytes], log: Path, text: str) -> str:
    """The first line of the log with `text` in it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = [line for line in log.read_text(errors="replace").splitlines(keepends=True) if text in line]
        if found and found[0].endswith("\n"):
            return found[0].strip()
        check_it_runs(what, process, log)
        time.sleep(0.02)
    raise StandInError(f"{what} was not ready within {PATIENCE:g} s: {last_line(log)}")


def check_it_runs(what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise StandInError(f"{what} ended with status {process.returncode}: {last_line(log)}")


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
