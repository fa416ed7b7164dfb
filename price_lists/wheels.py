"""Wheels of the newest releases, from the package index that pip is set to use. Nothing in them is installed or run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from price_lists.figures import ListError

SECONDS = 300
MOST_BYTES = 64 * 1024 * 1024
"""Of one file in a wheel: some 20 times what the larger list has."""

# One wheel for every machine: only its files of data are read.
_PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.13", "--implementation", "cp")
_QUIET = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A downloaded wheel: its package, version and the first digits of its SHA-256."""

    path: Path
    package: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.package} {self.version} (sha256 {self.digest}...)"


def download(package: str, folder: Path) -> Wheel:
    """The newest wheel of `package`, in `folder`. Raises ListError."""
    command = [sys.executable, "-m", "pip", "download", *_QUIET, "--no-deps", "--only-binary", ":all:"]
    command += [*_PLATFORM, "--retries", "1", "--timeout", "20", "--dest", str(folder), package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        reason = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {SECONDS} s"
    paths = [] if reason else list(folder.glob(f"{package.replace('-', '_')}-*.whl"))
    if len(paths) != 1:
        reason = reason.removeprefix("ERROR: ") or "pip left no wheel"
        raise ListError(f"{package} cannot be fetched ({reason}): check the network and pip's index")
    return wheel_at(paths[0], package)


def wheel_at(path: Path, package: str) -> Wheel:
    """The wheel of `package` in the file `path`."""
    return Wheel(path, package, path.name.split("-")[1], hashlib.sha256(path.read_bytes()).hexdigest()[:12])


def text_in(wheel: Wheel, member: str) -> str:
    """The text of the file `member` of a wheel. Raises ListError."""
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            if archive.getinfo(member).file_size > MOST_BYTES:
                raise ListError(f"{member} in {wheel} is larger than {MOST_BYTES} bytes: look at it")
            return archive.read(member).decode()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ListError(f"{member} is not to be had from {wheel} ({error!r}): its layout has changed") from None
