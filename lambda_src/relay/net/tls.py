"""TLS contexts, which verify the peer's name and chain: made once and shared.

A bundle holds the trusted certificates as a folder in which OpenSSL finds the one that it needs. Where there is no
bundle, they come as one file, which takes 20 ms to read.
"""

from __future__ import annotations

import ssl
from pathlib import Path

# Written by `make bundle`.
_BUNDLED = Path(__file__).parent.parent.parent / "certificates"


def context(ca_file: str | None = None, *, bundled: Path = _BUNDLED) -> ssl.SSLContext:
    """A client's context: verifies name and chain, TLS 1.2 or newer.

    Trusts the certificates in `ca_file`, or those in the bundle: what a Lambda's system has may be old. Raises OSError
    when `ca_file` cannot be read (ssl.SSLError when it holds no certificates).
    """
    if ca_file is None and bundled.is_dir():
        client = ssl.create_default_context(capath=bundled)
    else:
        client = ssl.create_default_context(cafile=ca_file or _file())
    client.minimum_version = ssl.TLSVersion.TLSv1_2
    return client


def _file() -> str:
    import certifi  # not above: the bundle needs no more than the folder

    return certifi.where()
