"""The table of what the relay serves. A new endpoint is a line here and its test. Pure.

Path, host and query of an upstream request come from this table, never from the caller's hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.errors import Kind, RelayError
from relay.metering import CHAT, Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One of OpenAI's endpoints. `path` is what callers use; `upstream` is relative to OPENAI_BASE_URL."""

    method: str
    path: str
    upstream: str
    dialect: Dialect


TABLE = (Endpoint(method="POST", path="/v1/chat/completions", upstream="/chat/completions", dialect=CHAT),)


def match(method: str, path: str) -> Endpoint:
    """The endpoint for exactly this path. Raises RelayError: NOT_FOUND, or METHOD_NOT_ALLOWED with an `allow` header."""
    at_path = [endpoint for endpoint in TABLE if endpoint.path == path]
    if not at_path:
        raise RelayError(Kind.NOT_FOUND)
    for endpoint in at_path:
        if endpoint.method == method:
            return endpoint
    raise RelayError(Kind.METHOD_NOT_ALLOWED, headers={"allow": ", ".join(endpoint.method for endpoint in at_path)})
