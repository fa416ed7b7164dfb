"""Waits until a stand-in's process serves, and says in one line why it does not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx

from emulator.errors import EmulatorError

START_SECONDS = 30.0  # each starts in one or two, on a busy machine in ten


class StandInError(EmulatorError):
    """A stand-in did not start. The text is one line for a person."""


def wait_until_it_answers(
    what: str,
    process: subprocess.Popen[bytes],
    log: Path,
    url: str,
    *,
    mark: str,
    ca_file: Path | None = None,
) -> None:
    """Waits for a 200 with `mark` in it: another process may have taken the port, and would answer, too.

    `ca_file` is what an https URL is verified with, as soon as it is there. Raises StandInError.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        check_it_runs(what, process, log)
        try:
            response = _get(url, ca_file)
        except (httpx.HTTPError, OSError):
            time.sleep(0.02)
            continue
        if response.status_code == 200 and mark in response.text:
            return
        time.sleep(0.02)
    raise StandInError(f"{what} did not answer within {START_SECONDS:g} s: {last_line(log)}")


def _get(url: str, ca_file: Path | None) -> httpx.Response:
    """Without the machine's proxies and certificates: these addresses are always local."""
    verify = ssl.create_default_context(cafile=ca_file) if ca_file else False
    return httpx.get(url, timeout=5, verify=verify, trust_env=False)


def wait_until_it_listens(what: str, process: subprocess.Popen[bytes], log: Path, path: Path) -> None:
    """Waits until the socket file `path` takes connections. Raises StandInError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        check_it_runs(what, process, log)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            return
        time.sleep(0.02)
    raise StandInError(f"{what} did not start within {START_SECONDS:g} s: {last_line(log)}")


def wait_for_text(what: str, process: subprocess.Popen[bytes], log: Path, text: str) -> str:
    """The first line of the log with `text` in it. Raises StandInError."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        lines = [line for line in log.read_text(errors="replace").splitlines(keepends=True) if text in line]
        if lines and lines[0].endswith("\n"):
            return lines[0].strip()
        check_it_runs(what, process, log)
        time.sleep(0.02)
    raise StandInError(f"{what} was not ready within {START_SECONDS:g} s: {last_line(log)}")


def check_it_runs(what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise StandInError(f"{what} ended with status {process.returncode}: {last_line(log)}")


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its log is empty"
