"""What has to hold of the relay's own files before they are shipped. Reads files only; runs nothing.

Lambda would show each of these problems only at the first request: a wrapper that the kernel cannot start, a module
that does not parse.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cdk_app.bundle.errors import BundleError

WRAPPER = "bootstrap"
SHEBANG = b"#!/bin/sh\n"


def check_sources(folder: Path, source: Path) -> None:
    """Check the copied sources in `folder`; messages name them as files of `source`. Raises BundleError."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _check_line_ends([path for path in files if b"\r" in path.read_bytes()], folder, source)
    wrapper = folder / WRAPPER
    if not wrapper.is_file():
        raise BundleError(f"{source / WRAPPER} is missing; Lambda starts the relay with it: git checkout {source.name}")
    if not wrapper.read_bytes().startswith(SHEBANG):
        raise BundleError(f"{source / WRAPPER} does not begin with the line '#!/bin/sh'; Lambda could not start it")
    for path in files:
        _check_syntax(path, source / path.relative_to(folder))


def check_modes(folder: Path) -> None:
    """Check that the wrapper kept its executable bit. Raises BundleError."""
    if not os.access(folder / WRAPPER, os.X_OK):
        raise BundleError(
            f"{folder / WRAPPER} cannot be made executable on this file system; "
            "use one that keeps Unix modes for the checkout and for TMPDIR"
        )


def _check_line_ends(paths: list[Path], folder: Path, source: Path) -> None:
    if not paths:
        return
    first = source / min(paths, key=lambda path: path.name != WRAPPER).relative_to(folder)
    others = f" and {len(paths) - 1} other files have" if len(paths) > 1 else " has"
    where = source.name if len(paths) > 1 else f"{source.name}/{first.relative_to(source).as_posix()}"
    raise BundleError(
        f"{first}{others} CRLF line ends; Lambda could not start it: save it with LF, or rm -r {where} && "
        f"git checkout {where}"
    )


def _check_syntax(path: Path, name: Path) -> None:
    try:
        if path.suffix == ".py":
            compile(path.read_text(encoding="utf-8"), str(name), "exec", dont_inherit=True)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise BundleError(f"{name} cannot be read: {error}; fix it, or git checkout {name.name}") from None
