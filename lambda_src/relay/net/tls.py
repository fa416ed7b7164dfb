"""The one TLS context of the process: made once and shared.

A bundle holds the trusted certificates as a folder in which OpenSSL finds the one that it needs. Where there is no
bundle, they come as one file, which takes 20 ms to read.
"""

from __future__ import annotations

import ssl
from pathlib import Path

# Written by `make bundle`.
_BUNDLED = Path(__file__).parent.parent.parent / "certificates"


def context(ca_file: str | None = None, *, bundled: Path = _BUNDLED) -> ssl.SSLContext:
    """Verifies against `ca_file`, or against the certificates in the bundle: what a Lambda's system has may be old."""
    if ca_file is None and bundled.is_dir():
        made = ssl.create_default_context(capath=bundled)
    else:
        made = ssl.create_default_context(cafile=ca_file or _file())
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _file() -> str:
    import certifi  # not above: the bundle needs no more than the folder

    return certifi.where()
