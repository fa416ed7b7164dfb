"""The one TLS context of the process. Making one reads 140 certificates and takes 40 ms, so it is made once and shared."""

from __future__ import annotations

import ssl


def context(ca_file: str | None = None) -> ssl.SSLContext:
    """Verifies against `ca_file`, or against the certificates in the bundle: what a Lambda's system has may be old."""
    if ca_file is None:
        import certifi  # not above: a process that speaks no TLS need not look for it

        ca_file = certifi.where()
    made = ssl.create_default_context(cafile=ca_file)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made
