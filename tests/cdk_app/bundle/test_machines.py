"""The same bundle on every machine: time zones, languages, umasks, users, and variables that are meant for others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdk_app.bundle import build, target_python
from tests.support.synthesis import ROOT

NOWHERE = "/nowhere/at/all"
PROXY = "http://127.0.0.1:1"
# None takes a variable away. What each may not change: the bytes, or that there are any.
MACHINES: dict[str, dict[str, str | None]] = {
    "west of Greenwich": {"TZ": "America/Los_Angeles"},
    "the last time zone": {"TZ": "Etc/GMT+12"},
    "the first time zone": {"TZ": "Pacific/Kiritimati"},
    "half an hour off": {"TZ": "Asia/Kolkata"},
    "no such time zone": {"TZ": "Nowhere/Atall"},
    "language C": {"LANG": "C", "LC_ALL": "C", "LANGUAGE": None},
    "no language": {"LANG": None, "LC_ALL": None, "LC_CTYPE": None},
    "Turkish": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    "Latin-1": {
        "LANG": "de_DE.ISO-8859-1",
        "LC_ALL": "de_DE.ISO-8859-1",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    },
    "a language that is not installed": {"LANG": "xx_YY.UTF-8", "LC_ALL": "xx_YY.UTF-8"},
    "no home": {"HOME": None},
    "a home that is not there": {"HOME": NOWHERE},
    "a home that is a file": {"HOME": "/dev/null"},
    "an empty home": {"HOME": ""},
    "no temporary folder": {"TMPDIR": NOWHERE, "TEMP": NOWHERE, "TMP": NOWHERE},
    "proxies": dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), PROXY),
    "another index": {"PIP_INDEX_URL": PROXY, "PIP_EXTRA_INDEX_URL": PROXY, "PIP_CONFIG_FILE": NOWHERE},
    "pip for the user": {"PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_TARGET": NOWHERE},
    "optimised": {"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"},
    "compiled files elsewhere": {"PYTHONPYCACHEPREFIX": "build/elsewhere", "PYTHONHASHSEED": "7"},
    "the user's packages": {"PYTHONUSERBASE": NOWHERE, "PYTHONPATH": NOWHERE, "PYTHONSTARTUP": NOWHERE},
    "other hashes and clocks": {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "1"},
    "a foreign account": {"AWS_PROFILE": "gone", "AWS_CONFIG_FILE": NOWHERE, "AWS_CA_BUNDLE": NOWHERE},
    "certificates elsewhere": {"SSL_CERT_FILE": NOWHERE, "SSL_CERT_DIR": NOWHERE, "REQUESTS_CA_BUNDLE": NOWHERE},
    "pyenv's wish": {"PYENV_VERSION": "2.7", "PYENV_ROOT": NOWHERE, "VIRTUAL_ENV": NOWHERE},
}


def environment(changes: dict[str, str | None]) -> dict[str, str]:
    changed = {**os.environ, **changes}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize("name", MACHINES)
def test_the_command_makes_the_same_bundle_on_every_machine(name: str, bundle: Path, tmp_path: Path) -> None:
    changes = dict(MACHINES[name])
    if target_python.find() not in (None, Path(sys.executable)) and {"HOME", "PYENV_ROOT"} & changes.keys():
        # What is looked for there are interpreters; the same one, by PATH.
        changes["PATH"] = f"{(target_python.find() or Path()).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "cdk_app.bundle.build", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=environment(changes), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == build.digest(bundle)[:16], name
    assert build.zipped(tmp_path / "out") == build.zipped(bundle)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
def test_the_command_makes_the_same_bundle_under_every_umask(umask: int, bundle: Path, tmp_path: Path) -> None:
    if umask & 0o100 and os.getuid() != 0:
        pytest.skip("a folder that its owner cannot enter is root's to write")
    command = [sys.executable, "-m", "cdk_app.bundle.build", str(tmp_path / "out")]
    subprocess.run(command, cwd=ROOT, umask=umask, capture_output=True, check=True)
    assert build.zipped(tmp_path / "out") == build.zipped(bundle)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter, with lambda_src, the bundle's modules and an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("lambda_src", "cdk_app/bundle"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "cdk_app" / "__init__.py", Path(folder, "cdk_app"))
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield Path(folder)


def test_root_and_another_user_make_the_same_bundle(public: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.getuid() != 0 or python is None:
        pytest.skip("needs root, and a Python that every user may run")
    build.write(public / "root", interpreter=None, source=public / "lambda_src", cache=public / "build" / "cache")
    subprocess.run(["chmod", "-R", "a+rX", public], check=True)
    public.joinpath("mine").mkdir()
    shutil.chown(public / "mine", "nobody")
    script = (
        "from pathlib import Path; from cdk_app.bundle import build; build.write(Path('mine/out'), interpreter=None)"
    )
    done = subprocess.run(
        [python, "-c", script], cwd=public, user="nobody", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert build.zipped(public / "mine" / "out") == build.zipped(public / "root")


def test_a_user_without_a_home_has_no_interpreters_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number that no passwd entry has."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid not found")))
    assert target_python._home() is None
    target_python.find()
