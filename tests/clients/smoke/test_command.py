"""`python -m clients.smoke` as a person calls it: text, file, exit code, and what it says when it cannot begin."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from clients.smoke.__main__ import main
from clients.smoke.bearers import KEY_VARIABLE
from tests.support.signed_door import SECRET, Door

CHEAP = ["--only", "locks", "errors", "stream"]


def _pace(door: Door) -> None:
    """Lets the four events out 50 ms apart: what the check sees is then separate on a busy machine, too."""
    assert door.streaming.wait(10)
    pause = threading.Event()
    for _ in range(4):
        pause.wait(0.05)
        door.go.release()


def test_all_is_well(door: Door, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pacing = threading.Thread(target=_pace, args=(door,))
    pacing.start()
    status = main([door.url, *CHEAP, "--json", str(tmp_path / "report.json")])
    pacing.join()
    assert capsys.readouterr().out.splitlines()[-1] == f"all 8 promises are kept by {door.url}"
    assert status == 0
    written = (tmp_path / "report.json").read_text()
    assert json.loads(written)["counts"]["kept"] == 8
    assert json.loads(written)["url"] == door.url
    assert SECRET not in written
    assert "AKIAEXAMPLE" not in written
    assert "a-session-token" not in written


@pytest.mark.parametrize("wrong", [["--region", "eu-west-9"], ["--sign-host", "other.lambda-url.eu-central-1.on.aws"]])
def test_it_ends_at_a_refusal_by_aws_and_says_why(
    door: Door, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    assert main([door.url, *wrong]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 of 3 promises are broken"
    assert lines[-4].startswith("FAIL  a request signed for ")
    assert "Forbidden: " in lines[-3]
    assert "lambda:InvokeFunctionUrl" in lines[-2]


def test_quick_leaves_out_what_takes_minutes(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    door.go.release(1000)
    main([door.url, "--quick"])
    out = capsys.readouterr().out
    assert "silence" not in out
    assert "the endpoint is on this machine" in out


@pytest.mark.parametrize(
    "arguments", [["foo"], [""], ["https://h", "--profile", "gone"], ["https://h", "--api", "api"]]
)
def test_what_cannot_begin_says_so_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("smoke: ")


def test_a_key_is_never_sent_in_clear(
    door: Door, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f"sk-relay-{'0' * 49}")
    assert main([door.url, "--only", "api", "--api", "http://api.example.invalid/v1"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "--api" in err
    assert "https" in err
    assert "sk-relay" not in err


def test_a_report_that_cannot_be_written_is_told(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([door.url, "--only", "locks", "--json", "/nowhere/report.json"]) == 2
    assert "--json /nowhere/report.json" in capsys.readouterr().err


def test_what_cannot_be_reached_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1", *CHEAP]) == 1
    assert "Check http://127.0.0.1:1, the network, HTTPS_PROXY and NO_PROXY." in capsys.readouterr().out
