"""`make local` and `make demo` on machines whose environment would lead astray whoever follows it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from emulator.assembly.deployment import synthesise
from emulator.fakes.raw_upstream import RawUpstream, chat_stream
from emulator.processes import machine

pytestmark = pytest.mark.timeout(600)  # app.py takes seconds on a quiet machine
ROOT = Path(__file__).resolve().parent.parent.parent
LOCAL_ENV = ROOT / "build" / "local.env"
CLOSED = "http://127.0.0.1:9"  # nobody listens there
UNSET = ""

HOSTILE: dict[str, dict[str, str]] = {
    "a proxy": {"HTTP_PROXY": CLOSED, "HTTPS_PROXY": CLOSED, "NO_PROXY": UNSET, "no_proxy": UNSET},
    "a proxy in lower case": {"http_proxy": CLOSED, "https_proxy": CLOSED, "all_proxy": CLOSED},
    "a SOCKS proxy": {"ALL_PROXY": "socks5://127.0.0.1:9"},
    "a proxy that is no URL": {"HTTP_PROXY": "nonsense", "HTTPS_PROXY": ":::"},
    "a proxy with exceptions": {"HTTP_PROXY": CLOSED, "NO_PROXY": "example.com"},
    "a profile that is gone": {"AWS_PROFILE": "gone", "AWS_DEFAULT_PROFILE": "gone"},
    "no configuration file": {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/c"},
    "a broken configuration file": {"AWS_CONFIG_FILE": str(ROOT / "cdk.json")},
    "another endpoint": {"AWS_ENDPOINT_URL": "nonsense", "AWS_ENDPOINT_URL_DYNAMODB": CLOSED},
    "another account": {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "mars-north-1"},
    "botocore's settings": {"AWS_MAX_ATTEMPTS": "x", "AWS_RETRY_MODE": "x", "AWS_USE_FIPS_ENDPOINT": "true"},
    "certificates that are gone": {
        "AWS_CA_BUNDLE": "/nowhere.pem",
        "REQUESTS_CA_BUNDLE": "/nowhere.pem",
        "SSL_CERT_FILE": "/nowhere.pem",
        "SSL_CERT_DIR": "/nowhere",
        "CURL_CA_BUNDLE": "/nowhere.pem",
    },
    "no home": {"HOME": UNSET, "XDG_CACHE_HOME": UNSET},
    "a home that is not there": {"HOME": "/proc/nowhere", "XDG_CONFIG_HOME": "/proc/nowhere"},
    "the C locale": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "a Turkish locale": {"LANG": "tr_TR.ISO-8859-9", "LC_ALL": "tr_TR.UTF-8"},
    "a locale that is not there": {"LC_ALL": "xx_YY.nonsense"},
    "ASCII output": {"PYTHONIOENCODING": "ascii"},
    "a time zone west of Greenwich": {"TZ": "America/New_York"},
    "a time zone that is none": {"TZ": "Mars/Olympus"},
    "Python's settings": {"PYTHONOPTIMIZE": "2", "PYTHONPATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
    "warnings as errors": {"PYTHONWARNINGS": "error::UserWarning", "PYTHONDEVMODE": UNSET},
    "Node's settings": {"NODE_OPTIONS": "--require=/nowhere.js", "NODE_PATH": "/nowhere", "NODE_ENV": "production"},
    "npm's and pip's settings": {"npm_config_registry": CLOSED, "NPM_CONFIG_PREFIX": "/nowhere", "PIP_USER": "1"},
    "no folder for temporary files": {"TMPDIR": "/nowhere"},
    "a narrow, dumb terminal": {"TERM": "dumb", "COLUMNS": "x", "LINES": "x", "FORCE_COLOR": "1"},
    "a blank key": {"OPENAI_API_KEY": "  \n"},
}


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    merged = {**{name: text for name, text in os.environ.items() if name != "OPENAI_API_KEY"}, **changes}
    return {name: text for name, text in merged.items() if text != UNSET}


def emulator(*arguments: str, **changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        env=environment(changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesise("dev", tmp_path_factory.mktemp("cdk.out"))


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as running:
        running.answer(*chat_stream("Gr\u00fc\u00dfe ", "\u20ac"))
        yield running


@pytest.mark.parametrize("name", HOSTILE)
def test_the_demo_works_whatever_the_environment_says(name: str, assembly: Path, upstream: RawUpstream) -> None:
    process = emulator("demo", "--assembly", str(assembly), "--upstream", upstream.url, **HOSTILE[name])
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, out + errors
    assert "status 200" in out
    assert "Traceback" not in errors


def test_a_whole_start_with_everything_hostile_at_once(assembly: Path) -> None:
    """With a synthesis of its own and the OpenAI stand-in; `assembly` has fetched the bundle's packages before.

    Python's own variables are make's to take away.
    """
    changes = {key: text for case in HOSTILE.values() for key, text in case.items() if not key.startswith("PYTHON")}
    process = emulator("demo", "--prompt", "Does it work?", **changes)
    out, errors = process.communicate(timeout=570)
    assert process.returncode == 0, out + errors
    assert "these words travel back through it one by one" in out
    assert "Traceback" not in errors


def test_nothing_of_the_shells_aws_is_taken_over() -> None:
    given = {
        "AWS_PROFILE": "p",
        "aws_profile": "p",
        "CDK_DEFAULT_ACCOUNT": "1",
        "PYTHONPATH": "x",
        "NODE_OPTIONS": "x",
        "OPENAI_API_KEY": "sk-x",
        "PATH": "/bin",
        "HOME": "/proc/nowhere",
        "HTTPS_PROXY": CLOSED,
        "NO_PROXY": "a.example",
    }
    kept = machine.taken_over(given)
    assert kept == {
        "PATH": "/bin",
        "HOME": "/proc/nowhere",
        "JSII_RUNTIME_PACKAGE_CACHE": "disabled",
        "HTTPS_PROXY": CLOSED,
        "NO_PROXY": "a.example,127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "TMPDIR": tempfile.gettempdir(),
    }


# -- build/local.env ---------------------------------------------------------------------------------------------------


def test_a_shell_takes_what_it_needs_from_local_env(assembly: Path, upstream: RawUpstream) -> None:
    process = emulator("local", "--port", "0", "--assembly", str(assembly), "--upstream", upstream.url)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        word, url, *_ = process.stdout.readline().split()
        assert word == "ready"
        assert stat.S_IMODE(LOCAL_ENV.stat().st_mode) == 0o600
        script = (
            '. build/local.env; curl -sN --aws-sigv4 "aws:amz:$REGION:lambda" --user "$ACCESS_KEY:$SECRET_KEY" '
            "-H 'content-type: application/json' \"$URL/v1/chat/completions\" -d "
            + "'"
            + json.dumps({"model": "gpt-5-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
            + "'; echo $URL"
        )
        done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert "data: [DONE]" in done.stdout
    assert done.stdout.endswith(f"{url}\n")
    assert (process.returncode, LOCAL_ENV.exists()) == (0, False)
