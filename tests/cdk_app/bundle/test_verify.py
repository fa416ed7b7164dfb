"""What a checkout can do to the sources, and that it is told in one line before anything is shipped."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cdk_app.bundle import verify
from cdk_app.bundle.build import SOURCE, assemble
from cdk_app.bundle.errors import BundleError
from tests.support.synthesis import ROOT


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The real lambda_src, to be spoilt."""
    return Path(shutil.copytree(SOURCE, tmp_path / "lambda_src", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


def _change(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda source: source.joinpath(file).write_bytes(change(source.joinpath(file).read_bytes()))


def _crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


SPOILT: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "wrapper with CRLF": (
        _change("bootstrap", _crlf),
        "bootstrap has CRLF line ends",
        "git checkout lambda_src/bootstrap",
    ),
    "wrapper with CR in its first line only": (
        _change("bootstrap", lambda text: text.replace(b"\n", b"\r\n", 1)),
        "bootstrap has CRLF line ends",
        "save it with LF",
    ),
    "module with CRLF": (
        _change("relay/net/sse.py", _crlf),
        "sse.py has CRLF line ends",
        "git checkout lambda_src/relay/net/sse.py",
    ),
    "data with CRLF": (
        _change("relay/pricing/prices.json", _crlf),
        "prices.json has CRLF line ends",
        "save it with LF",
    ),
    "wrapper with a byte order mark": (_change("bootstrap", lambda text: b"\xef\xbb\xbf" + text), "'#!/bin/sh'", ""),
    "wrapper of another shell": (_change("bootstrap", lambda text: b"#!/bin/bash\n" + text), "'#!/bin/sh'", ""),
    "empty wrapper": (_change("bootstrap", lambda _: b""), "'#!/bin/sh'", ""),
    "no wrapper": (lambda source: source.joinpath("bootstrap").unlink(), "bootstrap is missing", "git checkout"),
    "conflict marks": (
        _change("relay/handler.py", lambda text: b"<<<<<<< HEAD\n" + text),
        "handler.py cannot be read: invalid syntax",
        "git checkout",
    ),
    "module with a zero byte": (
        _change("relay/handler.py", lambda text: text + b"\0"),
        "handler.py cannot be read",
        "",
    ),
    "module in Latin-1": (_change("relay/handler.py", lambda t: t + b"# \xe4\n"), "handler.py cannot be read", ""),
    "data cut short": (_change("relay/pricing/prices.json", lambda text: text[:-3]), "prices.json cannot be read", ""),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_file_that_could_not_run_is_refused_in_one_line(name: str, source: Path, packages: Path) -> None:
    spoil, says, cure = SPOILT[name]
    spoil(source)
    with pytest.raises(BundleError) as refusal:
        assemble(packages.parent / "out", source=source, packages=packages, interpreter=None)
    text = str(refusal.value)
    assert says in text
    assert cure in text
    assert "\n" not in text
    assert str(source) in text, "the file to fix is the source, not the copy"


def test_a_checkout_with_crlf_line_ends_names_the_wrapper_and_how_many_more(source: Path, packages: Path) -> None:
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(_crlf(path.read_bytes()))
    with pytest.raises(BundleError) as refusal:
        assemble(packages.parent / "out", source=source, packages=packages, interpreter=None)
    text = str(refusal.value)
    assert text.startswith(f"{source / 'bootstrap'} and ")
    assert "other files have CRLF line ends" in text
    assert text.endswith("rm -r lambda_src && git checkout lambda_src")


def test_a_wrapper_that_lost_its_executable_bit_is_refused(tmp_path: Path) -> None:
    """As on a file system that keeps no modes, where chmod changes nothing."""
    tmp_path.joinpath("bootstrap").write_bytes(verify.SHEBANG)
    tmp_path.joinpath("bootstrap").chmod(0o644)
    with pytest.raises(BundleError, match="cannot be made executable"):
        verify.check_modes(tmp_path)
    tmp_path.joinpath("bootstrap").chmod(0o755)
    verify.check_modes(tmp_path)


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf", "core.autocrlf=input"])
def test_a_checkout_has_lf_line_ends_whatever_git_is_told(setting: str, tmp_path: Path) -> None:
    """With .gitattributes as it is here, also before it is committed."""
    repository = tmp_path / "origin"
    shutil.copytree(SOURCE, repository / "lambda_src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitattributes", repository)
    shutil.copy(ROOT / "docs" / "scale.png", repository)
    _git(repository, "init", "--quiet")
    _git(repository, "add", ".")
    _git(repository, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", "x")
    _git(tmp_path, "clone", "--quiet", "-c", setting, str(repository), "clone")
    for path in (path for path in tmp_path.joinpath("clone").rglob("*") if path.is_file() and ".git/" not in str(path)):
        original = repository / path.relative_to(tmp_path / "clone")
        assert path.read_bytes() == original.read_bytes(), path
        assert path.suffix == ".png" or b"\r" not in path.read_bytes()


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True)
