"""The operator's command on machines that are not set up for it: one line that names the setting, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from operate.__main__ import PIPE_CLOSED, main
from tests.support.dynamo import ROOT
from tests.support.operator_desk import Desk, environment

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
REGION = {"AWS_REGION": "eu-central-1"}
NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
CONFIG = """
[profile sso]
sso_start_url=https://x.awsapps.com/start
sso_region=eu-central-1
sso_account_id=123456789012
sso_role_name=Operator
[profile program]
credential_process=/nowhere/program
[profile failing]
credential_process=false
[profile role]
role_arn=arn:aws:iam::123456789012:role/operator
source_profile=unknown
"""

# What the machine has, and the setting or command that the one line must name.
MACHINES = {
    "no region": (KEYS, "AWS_REGION"),
    "an empty region": ({**KEYS, "AWS_REGION": ""}, "AWS_REGION"),
    "an impossible region": ({**KEYS, "AWS_REGION": "nowhere; rm"}, "AWS_REGION"),
    "no credentials": (REGION, "aws sso login"),
    "half a key": ({**REGION, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}, "AWS_SECRET_ACCESS_KEY"),
    "a profile that is gone": ({**KEYS, **REGION, "AWS_PROFILE": "gone"}, "AWS_PROFILE"),
    "single sign-on not done": ({**REGION, "AWS_PROFILE": "sso"}, "aws sso login"),
    "a credential program that is gone": ({**REGION, "AWS_PROFILE": "program"}, "/nowhere/program"),
    "a credential program that fails": ({**REGION, "AWS_PROFILE": "failing"}, "credential_process"),
    "a role without a source": ({**REGION, "AWS_PROFILE": "role"}, "AWS_PROFILE"),
    "a web identity that is gone": (
        {**REGION, "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x"},
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ),
    "container credentials nowhere": (
        {**REGION, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x"},
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "a config file of bytes": ({**KEYS, **REGION, "AWS_CONFIG_FILE": "BINARY"}, "AWS_CONFIG_FILE"),
    "a config file cut short": ({**KEYS, **REGION, "AWS_CONFIG_FILE": "CUT"}, "AWS_CONFIG_FILE"),
    "an endpoint that is no URL": ({**KEYS, **REGION, "AWS_ENDPOINT_URL": "nonsense"}, "AWS_ENDPOINT_URL"),
    "an endpoint that breaks parsers": ({**KEYS, **REGION, "AWS_ENDPOINT_URL": "http://[::1"}, "AWS_ENDPOINT_URL"),
    "DynamoDB's endpoint odd": ({**KEYS, **REGION, "AWS_ENDPOINT_URL_DYNAMODB": "ftp:/x"}, "AWS_ENDPOINT_URL"),
    "an endpoint where nothing listens": ({**KEYS, **REGION, **NOWHERE}, "AWS_ENDPOINT_URL"),
    "a proxy where nothing listens": ({**KEYS, **REGION, "HTTPS_PROXY": "http://127.0.0.1:1"}, "HTTPS_PROXY"),
    "a proxy that is no URL": ({**KEYS, **REGION, "HTTPS_PROXY": "nonsense://x"}, "HTTPS_PROXY"),
    "attempts that are no number": ({**KEYS, **REGION, "AWS_MAX_ATTEMPTS": "many"}, "AWS_MAX_ATTEMPTS"),
    "an unknown defaults mode": ({**KEYS, **REGION, "AWS_DEFAULTS_MODE": "odd"}, "AWS_DEFAULTS_MODE"),
    "a terminal of odd size": ({**KEYS, **REGION, **NOWHERE, "COLUMNS": "²", "LINES": "x"}, "AWS_ENDPOINT_URL"),
    "no home": ({**KEYS, **REGION, **NOWHERE, "HOME": "/nowhere"}, "AWS_ENDPOINT_URL"),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine that knows nothing of AWS but three profiles."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper().endswith("_PROXY") or name == "COLUMNS":
            monkeypatch.delenv(name)
    tmp_path.joinpath("config").write_text(CONFIG)
    tmp_path.joinpath("BINARY").write_bytes(bytes(range(256)))
    tmp_path.joinpath("CUT").write_text("[profile x\n=")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.mark.parametrize(("settings", "named"), MACHINES.values(), ids=MACHINES)
def test_one_line_names_the_setting(
    bare: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, str], named: str
) -> None:
    for name, text in settings.items():
        bare.setenv(name, str(tmp_path / text) if text in ("BINARY", "CUT") else text)
    assert main(["--table", "limits", "usage"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert named in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--profile", "gone", "--region", "eu-central-1"], "gone"),
        (["--region", "odd region"], "odd region"),
        (["--region", "eu-central-1"], "credentials"),
    ],
)
def test_options_are_named_as_well(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    if "credentials" not in named:
        for name, text in KEYS.items():
            bare.setenv(name, text)
    assert main([*arguments, "--table", "limits", "usage"]) == 1
    assert named in capsys.readouterr().err


class _Refusal(BaseHTTPRequestHandler):
    """Answers as DynamoDB does when it refuses; the first part of the path says how."""

    def do_POST(self) -> None:
        kind = self.path.split("/")[1]
        body = b'{"__type": "com.amazon.coral.service#%s", "message": "Refused.\\nFor a reason."}' % kind.encode()
        self.send_response(400)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *parts: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        ("ExpiredTokenException", "aws sso login"),
        ("UnrecognizedClientException", "AWS_ACCESS_KEY_ID"),
        ("InvalidSignatureException", "AWS_SECRET_ACCESS_KEY"),
        ("AccessDeniedException", "docs/limits.md"),
        ("ResourceNotFoundException", "--table"),
        ("ValidationException", "Refused."),
    ],
)
def test_refusals_by_aws_name_the_cure(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refusing: str, kind: str, cure: str
) -> None:
    for name, text in {**KEYS, **REGION, "AWS_ENDPOINT_URL": f"{refusing}/{kind}"}.items():
        bare.setenv(name, text)
    assert main(["--table", "limits", "usage"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert kind in err
    assert cure in err


def run(desk: Desk, *arguments: str, stdout: int | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operate", "--table", desk.table, *arguments]
    env = {**os.environ, **environment(desk.url), **settings}
    return subprocess.run(
        command, cwd=ROOT, env=env, text=True, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, check=False
    )


@pytest.mark.parametrize("command", ["export", "usage", "callers"])
def test_a_closed_pipe_ends_quietly(desk: Desk, command: str) -> None:
    desk.serve()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(desk, command, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (PIPE_CLOSED, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_told(desk: Desk) -> None:
    with open("/dev/full", "w") as full:
        done = run(desk, "export", stdout=full.fileno())
    assert done.returncode == 1
    assert done.stderr == (
        "error: input or output failed (No space left on device): check the disk, --file and the log that is read\n"
    )


def test_a_file_that_cannot_be_written_is_named(desk: Desk, tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "no" / "file.csv", Path("\0")):
        error = desk.run("export", "--file", str(file), ok=False)
        assert error.startswith("error: --file ")
        assert error.endswith("choose another\n")


def test_a_terminal_of_another_encoding_shows_escapes(desk: Desk) -> None:
    desk.reserve()
    assert run(desk, "halt", "--reason", "Kontingent für heute").returncode == 0
    done = run(desk, "callers", PYTHONIOENCODING="ascii", LANG="C")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Kontingent f\\xfcr heute" in done.stdout


def test_a_log_of_any_bytes_is_read(desk: Desk, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff\xfe\0not text\nsettle_failed \xff\n")
    with log.open() as given:
        command = [sys.executable, "-m", "operate", "--table", desk.table, "replay"]
        env = {**os.environ, **environment(desk.url)}
        done = subprocess.run(command, cwd=ROOT, env=env, stdin=given, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: line 2 is not booked: the line is cut or is no JSON\n"
