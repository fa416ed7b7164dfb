"""How the commands start and end: signals at any moment, ports that cannot be had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulator.command_line import main
from emulator.fakes.raw_upstream import RawUpstream

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parent.parent.parent


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("command", ["local", "demo"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_ends_it_without_a_word(command: str, number: signal.Signals) -> None:
    """At moments from the imports to the synthesis, whichever the machine has reached; the group gets it, as in a shell."""
    for delay in (0.4, 2.0, 6.0):
        process = start(command, "--port", "0")
        time.sleep(delay)
        os.killpg(process.pid, number)
        out, errors = process.communicate(timeout=60)
        assert "Traceback" not in out + errors, delay
        assert process.returncode in (-number, 128 + number, 0)


def test_a_port_that_is_taken_is_said_at_once_with_what_helps() -> None:
    with RawUpstream() as somebody:
        port = somebody.port
        process = start("local", "--port", str(port))
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert errors.splitlines() == [
        f"error: port {port} is in use: end what listens there, or pick a free one with PORT=0"
    ]


@pytest.mark.parametrize("port", ["99999", "-1", "http", "", "9e3", "\u0663"])
def test_a_port_that_is_none_is_said_in_one_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["local", f"--port={port}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert "a number from 0 to 65535 (0 picks a free one)" in line
