"""Which Python the Lambda runs, and where that same minor version is on this machine. Knows nothing else.

Compiled files serve only the minor version that made them, so the bundle wants exactly this one, and the local Lambda
runs the relay under it when it is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSION = "3.13"
"""The Lambda's Python: changing it here changes the function, the packages that are fetched and the compiled files."""


def find() -> Path | None:
    """An interpreter of VERSION that really runs, or None. Asks each candidate: a pyenv shim may exist and refuse."""
    return next((path for path in _candidates() if _runs(path)), None)


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    on_path = shutil.which(f"python{VERSION}")
    if on_path:
        yield Path(on_path)
    home = _home()
    roots = [os.environ.get("PYENV_ROOT", ""), str(home / ".pyenv") if home else ""]
    for root in dict.fromkeys(filter(None, roots)):
        yield from sorted(Path(root).glob(f"versions/{VERSION}*/bin/python{VERSION}"), reverse=True)
    if home:
        # Where uv puts the interpreters it downloads.
        yield from sorted(home.glob(f".local/share/uv/python/cpython-{VERSION}*/bin/python{VERSION}"), reverse=True)


def _home() -> Path | None:
    """The user's home folder, or None: a container may run as a user that has none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _runs(path: Path) -> bool:
    ask = "import sys; print('%d.%d %s' % (*sys.version_info[:2], sys.implementation.name))"
    try:
        done = subprocess.run([path, "-I", "-S", "-c", ask], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == f"{VERSION} cpython"
