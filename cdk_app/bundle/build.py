"""`lambda_src` and its locked packages -> the directory that becomes the function's zip. No Docker, no CDK.

The same sources, lock and interpreter give the same bytes, modes and times, whatever the machine's umask, clock or
directory. `python -m cdk_app.bundle.build OUT` writes one; `write` is the same for `app.py`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cdk_app.bundle import certificates, locked_packages, target_python, verify
from cdk_app.bundle.errors import BundleError
from cdk_app.bundle.locked_packages import TASK_ROOT

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "lambda_src"
CACHE = ROOT / "build" / "cache"

# The file of the bundle that the managed runtime runs in place of its own client, which cannot stream from Python:
# docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
EXEC_WRAPPER = f"{TASK_ROOT}/{verify.WRAPPER}"
# Where relay.net.tls looks for authorities.
CERTIFICATES = "certificates"
# Every file gets one time, so that no clock is in the bundle: 2 January 1980, 00:00 UTC. A zip holds local times from
# 1 January 1980 on, and with this one any program can zip the bundle in every time zone.
EPOCH = 315_619_200
# The oldest time that a zip holds, and the one that each entry of ours has.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(out: Path, *, interpreter: Path | None, source: Path = SOURCE, cache: Path = CACHE) -> Path:
    """Replace `out` by the bundle, compiled by `interpreter`, and return it.

    Fetches the packages when their lock is new, otherwise needs no network. Raises BundleError.
    """
    if out.exists() and not (out / "bootstrap").exists():
        raise BundleError(f"{out} is not a bundle and will not be replaced by one; name a new directory")
    locked = locked_packages.cached(source / "requirements.txt", cache, interpreter)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        fresh = Path(scratch, "fresh")
        assemble(fresh, source=source, packages=locked, interpreter=interpreter)
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
    """Put the relay beside its packages in the new directory `out`, compile it, and make modes and times equal.

    Raises BundleError when the relay's own files could not run on Lambda.
    """
    not_shipped = shutil.ignore_patterns("requirements*", "__pycache__", ".*", "*~")
    shutil.copytree(source, out, ignore=not_shipped)
    verify.check_sources(out, source)
    if interpreter is not None:
        locked_packages.compile_all(out, interpreter)
    shutil.copytree(packages, out, dirs_exist_ok=True)
    trusted = out / "certifi" / "cacert.pem"
    if trusted.exists():
        certificates.add(trusted, out / CERTIFICATES)
    _normalise(out)
    verify.check_modes(out)


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


def _normalise(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path == directory / "bootstrap" else 0o644)
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH))


def zipped(directory: Path) -> bytes:
    """The files of `directory` as a zip: the same bytes for the same files, in every time zone."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(directory):
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), ZIP_EPOCH)
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return memory.getvalue()


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
        f"{out}: {len(list(_files(out)))} files, {size / 1e6:.1f} MB, {len(zipped(out)) / 1e6:.2f} MB zipped, "
        f"sha256 {digest(out)[:16]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
