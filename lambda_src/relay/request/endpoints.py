"""The table of what the relay serves. A new endpoint is a line here and its test. Pure.

Path, host and query of an upstream request come from this table, never from the caller's hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import unquote

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.openai import stream_formats
from relay.openai.stream_formats import StreamFormat
from relay.request import body_rules
from relay.request.body_rules import Shape


class Endpoint(Frozen):
    """One of OpenAI's endpoints.

    `path` is what callers use, a last segment of "{id}" standing for any one segment. `upstream` is relative to
    OPENAI_BASE_URL. `shape` checks a request's fields and changes them to what may be sent. `dialect` is how the
    endpoint streams, where it does, and `stream_when` the field and the value that ask for it. `answers` are the
    content types of what does not stream, "audio/" being any of these. `caller_id`: whether OpenAI takes a
    `safety_identifier` here.
    """

    method: str
    path: str
    upstream: str
    body: Literal["json", "form", "none"] = "json"
    shape: Shape = body_rules.model
    dialect: StreamFormat | None = None
    stream_when: tuple[str, bool | str] = ("stream", True)
    answers: tuple[str, ...] = ("application/json",)
    caller_id: bool = False

    def streams(self, fields: Mapping[str, Any]) -> bool:
        """Whether a request with these fields is answered by an event stream."""
        name, value = self.stream_when
        # By type too: 1 equals True.
        return self.dialect is not None and type(fields.get(name)) is type(value) and fields[name] == value


MODELS = "/v1/models"
USAGE = "/v1/usage"

TABLE = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        upstream="/chat/completions",
        shape=body_rules.chat,
        dialect=stream_formats.CHAT,
        caller_id=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses",
        upstream="/responses",
        shape=body_rules.responses,
        dialect=stream_formats.RESPONSES,
        caller_id=True,
    ),
    Endpoint(method="POST", path="/v1/embeddings", upstream="/embeddings"),
    Endpoint(method="POST", path="/v1/moderations", upstream="/moderations", shape=body_rules.moderations),
    Endpoint(
        method="POST",
        path="/v1/images/generations",
        upstream="/images/generations",
        shape=body_rules.images,
        dialect=stream_formats.IMAGES,
    ),
    Endpoint(
        method="POST",
        path="/v1/audio/speech",
        upstream="/audio/speech",
        shape=body_rules.speech,
        dialect=stream_formats.SPEECH,
        stream_when=("stream_format", "sse"),
        answers=("audio/", "application/octet-stream"),
    ),
    Endpoint(
        method="POST",
        path="/v1/audio/transcriptions",
        upstream="/audio/transcriptions",
        body="form",
        shape=body_rules.transcriptions,
        dialect=stream_formats.TRANSCRIPTION,
        stream_when=("stream", "true"),
        answers=("application/json", "text/plain", "text/vtt", "text/srt", "application/x-subrip"),
    ),
    # Both from one upstream list, so that the id in the path never becomes part of an upstream URL.
    Endpoint(method="GET", path=MODELS, upstream="/models", body="none"),
    Endpoint(method="GET", path=f"{MODELS}/{{id}}", upstream="/models", body="none"),
    # The relay's own: what the caller has used and what remains. It goes nowhere.
    Endpoint(method="GET", path=USAGE, upstream="", body="none"),
)

_REALTIME = ("/v1/realtime/", "/v1/responses/ws/")


def match(method: str, path: str, headers: Mapping[str, str]) -> tuple[Endpoint, str]:
    """The endpoint for exactly this path, and the id in it.

    Raises RelayError: NO_WEBSOCKETS, NOT_FOUND, or METHOD_NOT_ALLOWED with an `allow` header.
    """
    if f"{path}/".startswith(_REALTIME) or headers.get("upgrade", "").lower() == "websocket":
        raise RelayError(ErrorKind.NO_WEBSOCKETS)
    found = [(endpoint, id) for endpoint in TABLE if (id := _matches(endpoint, path)) is not None]
    if not found:
        raise RelayError(ErrorKind.NOT_FOUND)
    for endpoint, id in found:
        if endpoint.method == method:
            return endpoint, id
    raise RelayError(
        ErrorKind.METHOD_NOT_ALLOWED, headers={"allow": ", ".join(endpoint.method for endpoint, _ in found)}
    )


def _matches(endpoint: Endpoint, path: str) -> str | None:
    fixed, _, variable = endpoint.path.partition("{")
    if not variable:
        return "" if path == fixed else None
    rest = path.removeprefix(fixed)
    return unquote(rest) if path.startswith(fixed) and rest and "/" not in rest else None
