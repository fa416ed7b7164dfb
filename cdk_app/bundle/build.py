"""`lambda_src` and its locked packages -> the directory that becomes the function's zip. No Docker, no CDK.

The same sources, lock and interpreter give the same bytes, modes and times, whatever the machine's umask, clock or
directory. `python -m cdk_app.bundle.build OUT` writes one; `write` is the same for `app.py`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cdk_app.bundle import certificates, target_python

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "lambda_src"
CACHE = ROOT / "build" / "cache"

# Where Lambda unpacks the zip; tracebacks from compiled files name this path and not that of the build machine.
TASK_ROOT = "/var/task"
# The file of the bundle that the managed runtime runs in place of its own client, which cannot stream from Python:
# docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
EXEC_WRAPPER = f"{TASK_ROOT}/bootstrap"
# Where relay.net.tls looks for authorities.
CERTIFICATES = "certificates"
# The oldest date a zip can hold: every file gets it, so that no clock is in the bundle.
EPOCH = 315_532_800

# arm64 on Amazon Linux 2023 (glibc 2.34). Wheels only: a source package would be built for this machine instead.
PIP_TARGET = ("--platform", "manylinux2014_aarch64", "--implementation", "cp", "--only-binary=:all:")

# What the packages bring and the relay never opens.
UNNEEDED = (
    "bin",  # command line tools
    "**/*.pth",  # runs code at start-up; the relay starts with -S and would not see it
    "**/tests",
    "**/py.typed",
    "anyio*",  # httpx needs it for asyncio only and does without: the relay is synchronous
    "typing_extensions*",  # anyio's; the others name it for type checkers only
)
# Of each .dist-info there remain METADATA and the licences: they tell scanners and lawyers what is inside.


class BundleError(Exception):
    """The bundle cannot be made. The text is for a person, one line."""


def write(out: Path, *, interpreter: Path | None, source: Path = SOURCE, cache: Path = CACHE) -> Path:
    """Replace `out` by the bundle, compiled by `interpreter`, and return it.

    Fetches the packages when their lock is new, otherwise needs no network. Raises BundleError.
    """
    if out.exists() and not (out / "bootstrap").exists():
        raise BundleError(f"{out} is not a bundle and will not be replaced by one; name a new directory")
    packages = _cached_packages(source / "requirements.txt", cache, interpreter)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        fresh = Path(scratch, "fresh")
        assemble(fresh, source=source, packages=packages, interpreter=interpreter)
        if out.exists():
            out.rename(Path(scratch, "old"))
        fresh.rename(out)
    return out


def compiler() -> Path | None:
    """The interpreter that compiles for the Lambda; when there is none, None and a notice on standard error."""
    interpreter = target_python.find()
    if interpreter is None:
        _say(
            f"notice: no Python {target_python.VERSION} on this machine, so the bundle has no compiled files: "
            "it works, but each cold start takes about half a second longer"
        )
    return interpreter


def assemble(out: Path, *, source: Path, packages: Path, interpreter: Path | None) -> None:
    """Put the relay beside its packages in the new directory `out`, compile it, and make modes and times equal."""
    not_shipped = shutil.ignore_patterns("requirements*", "__pycache__", ".*", "*~")
    shutil.copytree(source, out, ignore=not_shipped)
    if interpreter is not None:
        _compile(out, interpreter)
    shutil.copytree(packages, out, dirs_exist_ok=True)
    trusted = out / "certifi" / "cacert.pem"
    if trusted.exists():
        certificates.add(trusted, out / CERTIFICATES)
    _normalise(out)


def digest(directory: Path) -> str:
    """SHA-256 over the names, the executable bits and the contents of all files."""
    total = hashlib.sha256()
    for path in _files(directory):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        executable = "x" if os.access(path, os.X_OK) else "-"
        total.update(f"{content} {executable} {path.relative_to(directory).as_posix()}\n".encode())
    return total.hexdigest()


def _files(directory: Path) -> Iterator[Path]:
    return iter(sorted(path for path in directory.rglob("*") if path.is_file()))


def _cached_packages(requirements: Path, cache: Path, interpreter: Path | None) -> Path:
    """The packages of that lock, pruned and compiled: from the cache when this recipe has made them before."""
    recipe = hashlib.sha256(requirements.read_bytes() + Path(__file__).read_bytes())
    recipe.update(_version(interpreter).encode())
    wanted = cache / f"packages-{recipe.hexdigest()[:16]}"
    if wanted.exists():
        return wanted
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch, "packages")
        _fetch(requirements, fresh)
        _prune(fresh)
        if interpreter is not None:
            _compile(fresh, interpreter)
        try:
            fresh.rename(wanted)
        except OSError:  # another process was first, with the same content
            if not wanted.exists():
                raise
    return wanted


def _version(interpreter: Path | None) -> str:
    if interpreter is None:
        return "not compiled"
    ask = [str(interpreter), "-I", "-S", "-c", "import sys; print(sys.version)"]
    return f"{target_python.VERSION} {subprocess.check_output(ask, text=True)}"


def _fetch(requirements: Path, into: Path) -> None:
    _say("fetching the relay's packages (once per lock file) ...")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    what = ["--require-hashes", "--no-deps", "--python-version", target_python.VERSION, *PIP_TARGET]
    done = subprocess.run(
        [*pip, *what, "--target", into, "-r", requirements], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        told = done.stderr.strip().splitlines() or ["no reason given"]
        offline = " (the package index could not be reached)" if "NewConnectionError" in done.stderr else ""
        raise BundleError(f"pip could not fetch the packages of {requirements.name}: {told[-1]}{offline}")


def _prune(packages: Path) -> None:
    for pattern in UNNEEDED:
        for path in list(packages.glob(pattern)):
            _remove(path)
    for path in list(packages.glob("*.dist-info/*")):
        if path.name not in ("METADATA", "licenses") and not path.name.startswith(("LICENSE", "NOTICE")):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _compile(directory: Path, interpreter: Path) -> None:
    """Unchecked hash: /var/task is read-only, so a stale file cannot occur and no source needs to be looked at."""
    how = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(directory), "-p", TASK_ROOT]
    done = subprocess.run(
        [interpreter, "-I", "-S", "-m", "compileall", *how, directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BundleError(f"cannot be compiled: {' '.join(done.stdout.split())}")


def _normalise(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path == directory / "bootstrap" else 0o644)
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH))


def _zipped_size(directory: Path) -> int:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(directory):
            archive.write(path, path.relative_to(directory))
    return memory.tell()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        _say("usage: python -m cdk_app.bundle.build OUT")
        return 2
    try:
        out = write(Path(arguments[0]), interpreter=compiler())
    except BundleError as problem:
        _say(f"error: {problem}")
        return 1
    size = sum(path.stat().st_size for path in _files(out))
    print(
        f"{out}: {len(list(_files(out)))} files, {size / 1e6:.1f} MB, {_zipped_size(out) / 1e6:.2f} MB zipped, "
        f"sha256 {digest(out)[:16]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
