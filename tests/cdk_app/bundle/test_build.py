"""The bundle: what is in it, that the same input gives the same bytes, that it runs where nothing can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdk_app.bundle import build as bundling
from cdk_app.bundle import target_python
from cdk_app.bundle.build import CERTIFICATES, assemble, compiler, digest, write
from cdk_app.bundle.errors import BundleError
from tests.support.synthesis import ROOT

PYTHON = target_python.find()
needs_python = pytest.mark.skipif(PYTHON is None, reason=f"no Python {target_python.VERSION} on this machine")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small lambda_src with what a working directory gathers."""
    folder = tmp_path / "source"
    folder.joinpath("relay", "__pycache__").mkdir(parents=True)
    for name in ("bootstrap", "requirements.in", "requirements.txt", ".DS_Store", "relay/x.py~", "relay/__pycache__/x"):
        folder.joinpath(name).write_text("x = 1\n")
    folder.joinpath("bootstrap").write_text('#!/bin/sh\nexec "$1"\n')
    folder.joinpath("relay", "x.py").write_text("def where():\n    return where.__code__.co_filename\n")
    return folder


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.joinpath("thing").mkdir(parents=True)
    folder.joinpath("thing", "__init__.py").write_text("VALUES = {'a', 'b', 'c'} or frozenset((1, 2, 3))\n")
    return folder


def zipped(folder: Path, out: Path) -> bytes:
    """As the CDK does it: sorted, but with the files' own modes and times, which therefore have to be equal."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return out.read_bytes()


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0o007)
    yield
    os.umask(before)


@pytest.mark.usefixtures("loose_umask")
def test_the_same_input_gives_the_same_zip_whatever_the_umask_the_clock_and_the_place(
    source: Path, packages: Path, tmp_path: Path
) -> None:
    assemble(tmp_path / "first", source=source, packages=packages, interpreter=PYTHON)
    os.umask(0o077)
    for path in source.rglob("*"):
        os.utime(path, (time.time() + 1000, time.time() + 1000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    elsewhere = tmp_path / "a" / "longer" / "path"
    elsewhere.parent.mkdir(parents=True)
    assemble(elsewhere, source=source, packages=packages, interpreter=PYTHON)
    assert zipped(tmp_path / "first", tmp_path / "1.zip") == zipped(elsewhere, tmp_path / "2.zip")
    assert digest(tmp_path / "first") == digest(elsewhere)


def test_only_the_sources_that_run_are_shipped(source: Path, packages: Path, tmp_path: Path) -> None:
    assemble(tmp_path / "out", source=source, packages=packages, interpreter=None)
    assert {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        "bootstrap",
        "relay/x.py",
        "thing/__init__.py",
    }
    assert os.access(tmp_path / "out" / "bootstrap", os.X_OK)
    assert not os.access(tmp_path / "out" / "relay" / "x.py", os.X_OK)


@needs_python
def test_compiled_files_name_lambdas_path_and_not_this_machines(source: Path, packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assemble(out, source=source, packages=packages, interpreter=PYTHON)
    (compiled,) = out.glob("relay/__pycache__/*.pyc")
    assert str(tmp_path).encode() not in compiled.read_bytes()
    assert b"/var/task/relay/x.py" in compiled.read_bytes()
    # PEP 552: flags 0b01 say "hash-based, do not compare with the source".
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"
    out.joinpath("relay", "x.py").write_text("raise AssertionError('the source was used')")
    assert run_in(out, "import relay.x; print('compiled')", PYTHON or Path()) == "compiled"


@pytest.mark.parametrize("change", ["content", "name", "folder", "mode"])
def test_the_digest_notices_a_change_of(change: str, source: Path) -> None:
    before = digest(source)
    path = source / "relay" / "x.py"
    match change:
        case "content":
            path.write_text("y = 1\n")
        case "name":  # without a change of the files' order, which would show as well
            path.rename(path.with_name("x.pz"))
        case "folder":
            path.parent.rename(source / "relaz")
        case "mode":
            path.chmod(0o755)
    assert digest(source) != before


def test_nothing_that_the_relay_does_not_need_is_in_the_bundle(bundle: Path) -> None:
    unneeded = ("bin", "tests", "anyio", "examples", "requirements.txt", "RECORD")
    for path in bundle.rglob("*"):
        assert path.name not in unneeded
        assert path.suffix not in (".pth", ".so", ".exe", ".egg-info")


def test_every_package_keeps_its_name_version_and_licence(bundle: Path) -> None:
    described = list(bundle.glob("*.dist-info"))
    assert {path.name.split("-")[0] for path in described} >= {"httpx", "httpcore", "h11"}
    for folder in described:
        files = [path.name for path in folder.rglob("*") if path.is_file()]
        assert "METADATA" in files
        assert any(name.startswith("LICENSE") for name in files), folder


@needs_python
def test_every_source_is_compiled(bundle: Path) -> None:
    sources = {path.relative_to(bundle).with_suffix("") for path in bundle.rglob("*.py")}
    tag = f".cpython-{target_python.VERSION.replace('.', '')}"
    compiled = {p.relative_to(bundle).parent.parent / p.name.removesuffix(f"{tag}.pyc") for p in bundle.rglob("*.pyc")}
    assert compiled == sources


@pytest.mark.parametrize("python", [PYTHON or sys.executable, sys.executable], ids=["lambda", "this"])
def test_the_bundle_imports_where_nothing_can_be_written(bundle: Path, python: Path) -> None:
    """Under bootstrap's flags, with a TLS context made: what was pruned too far would show, also where 3.13 is absent."""
    script = (
        "import relay.aws.client, relay.handler, relay.net.tls, relay.openai.client, relay.settings; "
        "relay.openai.client.Upstream('https://api.openai.com/v1', relay.net.tls.context()); "
        "print(relay.settings.AwsSettings.from_environ({'AWS_REGION': 'eu-central-1'}).secrets_manager_url)"
    )
    told = run_in(bundle, script, python)
    assert told == "https://secretsmanager.eu-central-1.amazonaws.com"


def test_trusted_certificates_are_looked_up_in_the_bundle_and_not_loaded(bundle: Path) -> None:
    held = list(bundle.joinpath(CERTIFICATES).iterdir())
    assert len(held) == bundle.joinpath("certifi", "cacert.pem").read_text().count("-----BEGIN CERTIFICATE-----")
    script = "import relay.net.tls; print(relay.net.tls.context().cert_store_stats()['x509'], 'certifi' in sys.modules)"
    assert run_in(bundle, script, PYTHON or Path(sys.executable)) == "0 False"


def run_in(folder: Path, script: str, interpreter: Path) -> str:
    """What the script prints; the folder is mounted read-only where the machine permits, and not written to anywhere."""
    python = [str(interpreter), "-B", "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {script}"]
    if may_mount():
        read_only = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
        python = ["unshare", "-m", "sh", "-c", read_only, "sh", str(folder), *python]
    return subprocess.run(python, check=True, capture_output=True, text=True).stdout.strip()


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-m", "mount", "--bind", "/tmp", "/tmp"], capture_output=True).returncode == 0


@pytest.mark.usefixtures("bundle")
def test_a_second_bundle_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    write(tmp_path / "again", interpreter=compiler())
    assert tmp_path.joinpath("again", "httpx", "__init__.py").exists()


def test_what_pip_cannot_fetch_is_told_in_one_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    source.joinpath("requirements.txt").write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BundleError) as refusal:
        write(tmp_path / "out", interpreter=PYTHON, source=source, cache=tmp_path / "cache")
    assert str(refusal.value).startswith("pip could not fetch the packages of requirements.txt: ERROR: ")
    assert "no-such-package==1.0" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.joinpath("cache").iterdir())


def test_a_directory_that_is_not_a_bundle_is_not_replaced(tmp_path: Path) -> None:
    tmp_path.joinpath("thesis.tex").touch()
    done = subprocess.run(
        [sys.executable, "-m", "cdk_app.bundle.build", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"error: {tmp_path} is not a bundle" in done.stderr
    assert tmp_path.joinpath("thesis.tex").exists()


def test_the_command_says_what_it_made(bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cdk_app.bundle.build", tmp_path / "out"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"sha256 {digest(bundle)[:16]}" in done.stdout
    assert bundling.main([]) == 2


@needs_python
def test_an_old_bundle_is_replaced_and_nothing_is_left_beside_it(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.joinpath("bootstrap").touch()
    write(out, interpreter=PYTHON)
    assert digest(out) == digest(bundle)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(f"{sys.version_info[0]}.{sys.version_info[1]}" == target_python.VERSION, reason="runs under it")
def test_a_machine_without_the_lambdas_python_is_told_what_that_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing_shim = tmp_path / f"python{target_python.VERSION}"
    refusing_shim.write_text("#!/bin/sh\nexit 127\n")
    refusing_shim.chmod(0o755)
    for name in ("PATH", "HOME", "PYENV_ROOT"):
        monkeypatch.setenv(name, str(tmp_path))
    assert compiler() is None
    assert "each cold start takes about half a second longer" in capsys.readouterr().err


@needs_python
def test_an_interpreter_behind_a_refusing_shim_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing_shim = tmp_path / f"python{target_python.VERSION}"
    refusing_shim.write_text("#!/bin/sh\nexit 127\n")
    refusing_shim.chmod(0o755)
    real = tmp_path / f"versions/{target_python.VERSION}.0/bin/python{target_python.VERSION}"
    real.parent.mkdir(parents=True)
    real.symlink_to(PYTHON or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert target_python.find() in (real, Path(sys.executable))
