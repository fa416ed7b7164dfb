"""The Makefile without what it starts: which command it runs, with what of the machine's environment, and what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.synthesis import ROOT

TARGETS = set(re.findall(r"^([a-z-]+):.*## ", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Run:
    """Runs a target in a checkout whose Python and CDK CLI only tell how they were called."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    told = tmp_path / "told.json"
    program = (
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(told)!r}, 'w').write(json.dumps([sys.argv, dict(os.environ)]))\n"
    )
    for path in (".venv/bin/python", "node_modules/.bin/cdk"):
        tmp_path.joinpath(path).parent.mkdir(parents=True)
        tmp_path.joinpath(path).write_text(program)
        tmp_path.joinpath(path).chmod(0o755)
    for stamp, lock in {
        ".venv/.base": "requirements.txt",
        ".venv/.dev": "requirements-dev.txt",
        "node_modules/.npm": "package-lock.json",
    }.items():
        tmp_path.joinpath(f"{stamp}-{_checksum(tmp_path / lock)}").touch()

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        told.unlink(missing_ok=True)
        given = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
        return subprocess.run(
            ["make", *arguments], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
        )

    return run


def _checksum(path: Path) -> str:
    done = subprocess.run(["cksum"], input=path.read_bytes(), capture_output=True, check=True)
    return done.stdout.decode().split()[0]


@pytest.fixture
def called(make: Run, tmp_path: Path) -> Callable[..., tuple[list[str], dict[str, str]]]:
    """Arguments and environment of the program that a target runs."""

    def run(*arguments: str, **environment: str) -> tuple[list[str], dict[str, str]]:
        done = make(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        argv, environ = json.loads(tmp_path.joinpath("told.json").read_text())
        return argv[1:], environ

    return run


def test_help_lists_every_command_in_one_column_and_every_variable(make: Run) -> None:
    done = make("help")
    assert done.stderr == ""
    commands, variables = done.stdout.split("\n\n")[1:]
    listed = [re.fullmatch(r"  ([a-z-]+ +)(\S.*)", line) for line in commands.splitlines()]
    assert {line[1].strip() for line in listed if line} == TARGETS
    assert len({len(line[1]) for line in listed if line}) == 1, "one column"
    text = ROOT.joinpath("Makefile").read_text()
    used = set(re.findall(r"^([A-Z]+) \?=", text, re.MULTILINE)) | set(re.findall(r"\$\(if \$\(([A-Z]+)\)", text))
    described = {line.split()[0] for line in variables.splitlines()}
    assert used <= described
    assert {"ENV", "ARGS", "URL", "YES"} <= described


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["operate", "ENV=prod", "ARGS=usage --month"], ["-m", "operate", "--env", "prod", "usage", "--month"]),
        (["operate"], ["-m", "operate", "--env", "dev", "--help"]),
        (
            ["proxy", "URL=https://x", "ARGS=--port 0"],
            ["-m", "clients.signing_proxy", "--target", "https://x", "--port", "0"],
        ),
        (["prices"], ["-m", "price_lists"]),
        (["prices", "CHECK=1"], ["-m", "price_lists", "--check"]),
        (["smoke", "URL=https://x"], ["-m", "clients.smoke", "https://x"]),
        (["bundle"], ["-m", "cdk_app.bundle.build", "build/lambda"]),
        (["bootstrap", "ENV=prod"], ["bootstrap", "--no-notices", "-c", "env=prod"]),
        (["bootstrap", "ARGS=--qualifier x"], ["bootstrap", "--no-notices", "-c", "env=dev", "--qualifier", "x"]),
        (["deploy", "ENV=prod"], ["deploy", "--no-notices", "-c", "env=prod", "**"]),
        (["deploy", "YES=1"], ["deploy", "--no-notices", "--require-approval", "never", "-c", "env=dev", "**"]),
        (["synth"], ["synth", "--quiet", "--no-notices", "--output", "cdk.out", "-c", "env=dev", "**"]),
    ],
)
def test_a_target_runs_its_command(
    arguments: list[str], command: list[str], called: Callable[..., tuple[list[str], dict[str, str]]]
) -> None:
    assert called(*arguments)[0] == command


def test_the_cdk_cli_finds_our_python_first(
    called: Callable[..., tuple[list[str], dict[str, str]]], tmp_path: Path
) -> None:
    for target in ("bootstrap", "synth", "deploy", "diff", "deploy-roles"):
        assert called(target)[1]["PATH"].split(":")[0] == str(tmp_path / ".venv" / "bin"), target


def test_a_deployment_asks_the_account_first_and_does_not_begin_where_it_cannot_end(make: Run, tmp_path: Path) -> None:
    python, cdk = tmp_path / ".venv/bin/python", tmp_path / "node_modules/.bin/cdk"
    seen = tmp_path / "seen"
    for path, name in ((python, "python"), (cdk, "cdk")):
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {seen}\n')
    assert make("deploy", "ENV=prod").returncode == 0
    first, second = seen.read_text().splitlines()
    assert first == "python -m operate.preflight --env prod"
    assert second.startswith("cdk deploy ")
    seen.unlink()
    python.write_text(f'#!/bin/sh\necho "python $*" >> {seen}\nexit 1\n')
    assert make("deploy", "ENV=prod").returncode != 0
    assert seen.read_text().splitlines() == ["python -m operate.preflight --env prod"]


@pytest.mark.parametrize(("yes", "force", "agreed"), [((), "", ""), (("YES=1",), "--force ", "--yes ")])
def test_what_is_destroyed_is_also_what_is_built_no_more(
    yes: tuple[str, ...], force: str, agreed: str, make: Run, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    for path, name in ((".venv/bin/python", "python"), ("node_modules/.bin/cdk", "cdk")):
        tmp_path.joinpath(path).write_text(f'#!/bin/sh\necho "{name} $*" >> {seen}\n')
    assert make("destroy", "ENV=prod", *yes).returncode == 0
    first, second = seen.read_text().splitlines()
    assert first == f"cdk destroy --no-notices {force}-c env=prod **"
    assert second == f"python -m operate.preflight.leftovers --remove {agreed}--env prod"


# name -> what a shell may have set for another program; none of it is ours to follow.
FOREIGN = {
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PYTHONSAFEPATH": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "latin-1",
    "PYTHONINSPECT": "1",
    "PYTHONUSERBASE": "/nowhere",
    "CDK_APP": "false",
    "CDK_OUTPUT": "/nowhere",
    "CDK_OUTDIR": "/nowhere",
    "CDK_CONTEXT_JSON": "{",
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "NODE_ENV": "production",
    "TMPDIR": "/nowhere",
}
MEANT = {
    "AWS_PROFILE": "mine",
    "AWS_REGION": "eu-west-1",
    "HTTPS_PROXY": "http://proxy:3128",
    "PIP_INDEX_URL": "https://mirror/simple",
    "CDK_PROFILE": "mine",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
}


@pytest.mark.parametrize("target", ["synth", "bundle"])
def test_other_programs_variables_do_not_take_part_and_those_about_the_network_and_aws_do(
    target: str, called: Callable[..., tuple[list[str], dict[str, str]]]
) -> None:
    # The stand-in for Python would end at PYTHONHOME itself; `make` takes it away before.
    environ = called(target, **FOREIGN, **MEANT)[1]
    assert not FOREIGN.keys() & environ.keys()
    assert {name: environ[name] for name in MEANT} == MEANT
    assert environ["PYTHONUTF8"] == "1"


def test_a_shells_own_variable_of_that_name_is_no_environment(
    called: Callable[..., tuple[list[str], dict[str, str]]],
) -> None:
    """POSIX shells read the file that ENV names: such a value is a path, and not meant for us."""
    assert called("synth", ENV="/etc/shinit")[0][-2] == "env=dev"
    assert called("synth", ENV="prod")[0][-2] == "env=prod"


@pytest.mark.parametrize("uv", ["works", "fails", "is not there"])
def test_packages_are_installed_by_uv_where_it_works_and_else_by_pip(uv: str, make: Run, tmp_path: Path) -> None:
    for stamp in tmp_path.glob(".venv/.base-*"):
        stamp.unlink()
    path = tmp_path / "path"
    path.mkdir()
    for name in ("sh", "make", "cksum", "cut", "touch", "node", "sed"):
        found = shutil.which(name)
        if found:
            path.joinpath(name).symlink_to(found)
    if uv != "is not there":
        path.joinpath("uv").write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/uv.txt\necho no >&2\nexit {int(uv == "fails")}\n'
        )
        path.joinpath("uv").chmod(0o755)
    done = make(f".venv/.base-{_checksum(tmp_path / 'requirements.txt')}", PATH=str(path))
    assert (done.returncode, done.stderr.splitlines()) == (0, ["installing requirements.txt ..."])
    if uv != "is not there":
        arguments = [
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--python",
            ".venv/bin/python",
            "-r",
            "requirements.txt",
        ]
        assert tmp_path.joinpath("uv.txt").read_text().split() == arguments
    told = tmp_path / "told.json"
    assert told.exists() == (uv != "works")
    if told.exists():
        assert json.loads(told.read_text())[0][1:4] == ["-m", "pip", "install"]
        assert "--require-hashes" in json.loads(told.read_text())[0]


@pytest.mark.parametrize("target", ["synth", "deploy", "bootstrap", "demo", "local", "diff"])
def test_without_node_there_is_one_line(target: str, make: Run, tmp_path: Path) -> None:
    path = tmp_path / "path"
    path.mkdir()
    for name in ("sh", "cksum", "cut", "sed", "awk", "env", "python3", "echo", "touch"):
        found = shutil.which(name)
        if found:
            path.joinpath(name).symlink_to(found)
    path.joinpath("make").symlink_to(shutil.which("make") or "")
    done = make(target, PATH=str(path))
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert line == "error: Node >= 20 with npm is needed on PATH: nodejs.org"


def test_a_proxy_without_its_target_is_one_line(make: Run) -> None:
    done = make("proxy")
    assert done.returncode != 0
    assert "error: URL is missing: make proxy URL=https://..." in done.stderr


# What cdk.json runs.


def _launch(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    app = json.loads(ROOT.joinpath("cdk.json").read_text())["app"].split()
    assert app[:2] == ["sh", "cdk_app/python.sh"]
    return subprocess.run(
        [*app[:2], *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    tmp_path.joinpath("cdk_app").mkdir()
    shutil.copy(ROOT / "cdk_app" / "python.sh", tmp_path / "cdk_app")
    return tmp_path


def _python(path: Path, name: str, *, has_cdk: bool) -> None:
    """A stand-in that has aws-cdk-lib or not, and says who it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {0 if has_cdk else 1}\necho "{name} runs $*"\n')
    path.chmod(0o755)


def test_a_cli_called_by_hand_runs_the_python_that_make_has_set_up(checkout: Path) -> None:
    _python(checkout / ".venv" / "bin" / "python", "venv", has_cdk=True)
    _python(checkout / "bin" / "python", "path", has_cdk=True)
    done = _launch(checkout, "app.py", PATH=f"{checkout / 'bin'}:/usr/bin:/bin")
    assert done.stdout == "venv runs app.py\n"


def test_without_it_a_python_on_the_path_with_the_cdk_runs(checkout: Path) -> None:
    _python(checkout / ".venv" / "bin" / "python", "venv", has_cdk=False)
    _python(checkout / "bin" / "python3", "path", has_cdk=True)
    done = _launch(checkout, "app.py", PATH=f"{checkout / 'bin'}:/bin")
    assert done.stdout == "path runs app.py\n"


def test_a_temporary_folder_that_is_not_there_is_not_passed_on(checkout: Path) -> None:
    _python(checkout / ".venv" / "bin" / "python", "venv", has_cdk=True)
    checkout.joinpath(".venv", "bin", "python").write_text('#!/bin/sh\necho "${TMPDIR-none}"\n')
    for folder, kept in (("/nowhere/at/all", "none"), (str(checkout), str(checkout))):
        done = _launch(checkout, "app.py", PATH="/usr/bin:/bin", TMPDIR=folder)
        assert done.stdout.splitlines()[-1] == kept


@pytest.mark.parametrize("home", ["/nowhere/at/all", "/dev/null", ""])
def test_without_a_home_the_cdk_keeps_no_packages_there(home: str, checkout: Path) -> None:
    _python(checkout / ".venv" / "bin" / "python", "venv", has_cdk=True)
    checkout.joinpath(".venv", "bin", "python").write_text('#!/bin/sh\necho "${JSII_RUNTIME_PACKAGE_CACHE-kept}"\n')
    assert _launch(checkout, "app.py", PATH="/usr/bin:/bin", HOME=home).stdout.splitlines()[-1] == "disabled"
    assert _launch(checkout, "app.py", PATH="/usr/bin:/bin", HOME=str(checkout)).stdout.splitlines()[-1] == "kept"


def test_without_any_there_is_one_line_that_says_what_to_do(checkout: Path) -> None:
    _python(checkout / "bin" / "python3", "path", has_cdk=False)
    _python(checkout / "bin" / "python", "path", has_cdk=False)
    done = _launch(checkout, "app.py", PATH=f"{checkout / 'bin'}:/bin")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "run `make synth` once" in line
