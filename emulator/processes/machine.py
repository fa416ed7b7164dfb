"""The machine's environment: which variables the emulator and its children take over.

The emulator is AWS here, so nothing that the shell says of AWS is meant: a profile, an endpoint or a configuration file of
somebody's real account would only break the start. What changes how Python and Node run is not meant either. Proxies are
meant for what is fetched from outside (the bundle's packages), never for loopback addresses.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

_SHUT_OUT = ("AWS_", "BOTO", "CDK_", "NODE_", "OPENAI_", "PYTHON")
_LOOPBACK = "127.0.0.1,localhost,::1"


def taken_over(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what is not meant: loopback addresses past any proxy, AWS's files hidden, a TMPDIR that exists."""
    kept = {name: text for name, text in environ.items() if not name.upper().startswith(_SHUT_OUT)}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(text for text in (environ.get(name, ""), _LOOPBACK) if text)
    fixed = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    home = environ.get("HOME", "")
    if home and not os.access(home, os.W_OK):
        fixed["JSII_RUNTIME_PACKAGE_CACHE"] = "disabled"  # jsii cannot lock its cache there
    return {**kept, **fixed, "TMPDIR": tempfile.gettempdir()}
