"""Waiting for a stand-in's process to serve, and saying in one line why it does not."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path

import httpx

PATIENCE = 30.0  # seconds; each starts in one or two, on a busy machine in ten


class StandInError(Exception):
    """A stand-in did not start. The text is one line for a person."""


def wait_until_it_answers(
    what: str, process: subprocess.Popen[bytes], log: Path, url: str, mark: str, ca_file: Path | None = None
) -> None:
    """Waits for a 200 with `mark` in it: another process may have taken the port, and would answer, too.

    `ca_file` is what an https URL is verified with, as soon as it is there.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        check_it_runs(what, process, log)
        try:
            verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
            answer = httpx.get(url, timeout=5, verify=verify)
        except (httpx.HTTPError, OSError):
            time.sleep(0.02)
            continue
        if mark in answer.text:
            return
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
