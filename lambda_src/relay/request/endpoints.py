"""The table of what the relay serves. A new endpoint is an entry here and its test. Pure.

All that the relay knows of an endpoint stands in its entry, and nothing else names a path. Path, host and query of an
upstream request come from this table, never from the caller's hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.limits import cost_bound
from relay.limits.cost_bound import CostBound
from relay.models import Json
from relay.request import body_rules, known_fields
from relay.request.body_rules import BodyRules
from relay.response import stream_formats
from relay.response.stream_formats import StreamFormat


class Endpoint(Frozen):
    """One of OpenAI's endpoints.

    `path` is what callers use, a last segment of "{id}" standing for any one segment. `upstream` is relative to
    OPENAI_BASE_URL. `body` is what a request's is, "either" being JSON or a form. `rules` checks a request's fields and
    changes them to what may be sent. `bound` says what a request can cost at most, and `fields` which of a body's fields are
    known to be within that; an entry without a bound does not construct (TypeError). `stream_format` is how the endpoint
    streams, where it does, asked for by `stream_field` with one of `stream_values`. `content_types` are those of a response
    that does not stream, "audio/" being any of these. `caller_id`: whether OpenAI takes a `safety_identifier` here.
    """

    method: str
    path: str
    upstream: str
    bound: CostBound
    fields: frozenset[str] = frozenset()
    body: Literal["json", "form", "either", "none"] = "json"
    rules: BodyRules = body_rules.model
    stream_format: StreamFormat | None = None
    stream_field: str = "stream"
    stream_values: tuple[bool | str, ...] = (True,)
    content_types: tuple[str, ...] = ("application/json",)
    caller_id: bool = False

    def streams(self, fields: Mapping[str, Json]) -> bool:
        """Whether the response to a request with these fields is an event stream."""
        given = fields.get(self.stream_field)
        # By type too: 1 equals True.
        asks = any(type(given) is type(value) and given == value for value in self.stream_values)
        return self.stream_format is not None and asks


# Both from one upstream list, so that the id in the path never becomes part of an upstream URL.
MODELS = Endpoint(method="GET", path="/v1/models", upstream="/models", body="none", bound=cost_bound.FREE)
MODEL = MODELS.changed(path="/v1/models/{id}")
# The relay's own: what the caller has used and what remains. It goes nowhere.
USAGE = Endpoint(method="GET", path="/v1/usage", upstream="", body="none", bound=cost_bound.FREE)

TABLE = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        upstream="/chat/completions",
        rules=body_rules.chat,
        bound=cost_bound.CHAT,
        fields=known_fields.CHAT,
        stream_format=stream_formats.CHAT,
        caller_id=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses",
        upstream="/responses",
        rules=body_rules.responses,
        bound=cost_bound.RESPONSES,
        fields=known_fields.RESPONSES,
        stream_format=stream_formats.RESPONSES,
        caller_id=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/input_tokens",
        upstream="/responses/input_tokens",
        rules=body_rules.input_tokens,
        bound=cost_bound.FREE,
        fields=known_fields.INPUT_TOKENS,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/compact",
        upstream="/responses/compact",
        rules=body_rules.compaction,
        bound=cost_bound.COMPACTION,
        fields=known_fields.COMPACTION,
    ),
    Endpoint(
        method="POST",
        path="/v1/embeddings",
        upstream="/embeddings",
        bound=cost_bound.EMBEDDINGS,
        fields=known_fields.EMBEDDINGS,
    ),
    Endpoint(
        method="POST",
        path="/v1/moderations",
        upstream="/moderations",
        rules=body_rules.moderations,
        bound=cost_bound.MODERATIONS,
        fields=known_fields.MODERATIONS,
    ),
    Endpoint(
        method="POST",
        path="/v1/images/generations",
        upstream="/images/generations",
        rules=body_rules.images,
        bound=cost_bound.IMAGES,
        fields=known_fields.IMAGES,
        stream_format=stream_formats.IMAGES,
    ),
    Endpoint(
        method="POST",
        path="/v1/images/edits",
        upstream="/images/edits",
        body="either",
        rules=body_rules.image_edits,
        bound=cost_bound.IMAGES,
        fields=known_fields.IMAGE_EDITS,
        stream_format=stream_formats.IMAGE_EDITS,
        stream_values=(True, "true"),
    ),
    Endpoint(
        method="POST",
        path="/v1/audio/speech",
        upstream="/audio/speech",
        rules=body_rules.speech,
        bound=cost_bound.SPEECH,
        fields=known_fields.SPEECH,
        stream_format=stream_formats.SPEECH,
        stream_field="stream_format",
        stream_values=("sse",),
        content_types=("audio/", "application/octet-stream"),
    ),
    Endpoint(
        method="POST",
        path="/v1/audio/transcriptions",
        upstream="/audio/transcriptions",
        body="form",
        rules=body_rules.transcriptions,
        bound=cost_bound.TRANSCRIPTIONS,
        fields=known_fields.TRANSCRIPTIONS,
        stream_format=stream_formats.TRANSCRIPTION,
        stream_values=("true",),
        content_types=("application/json", "text/plain", "text/vtt", "text/srt", "application/x-subrip"),
    ),
    MODELS,
    MODEL,
    USAGE,
)

_REALTIME = ("/v1/realtime/", "/v1/responses/ws/")
# What a WebSocket's handshake asks for, which OpenAI serves at no other method's path. Source: Codex, responses_websocket.rs.
_HANDSHAKE = ("GET", "/v1/responses")


def match(method: str, path: str, headers: Mapping[str, str]) -> tuple[Endpoint, str]:
    """The endpoint for exactly this path, and the id in it.

    Raises RelayError: NO_WEBSOCKETS, NOT_FOUND, or METHOD_NOT_ALLOWED with an `allow` header.
    """
    if f"{path}/".startswith(_REALTIME) or (method, path) == _HANDSHAKE or _is_websocket(headers):
        raise RelayError(ErrorKind.NO_WEBSOCKETS)
    matches = [(endpoint, id) for endpoint in TABLE if (id := _matches(endpoint, path)) is not None]
    if not matches:
        raise RelayError(ErrorKind.NOT_FOUND)
    for endpoint, id in matches:
        if endpoint.method == method:
            return endpoint, id
    allowed = ", ".join(endpoint.method for endpoint, _ in matches)
    raise RelayError(ErrorKind.METHOD_NOT_ALLOWED, headers={"allow": allowed})


def _is_websocket(headers: Mapping[str, str]) -> bool:
    """By what is left of a handshake: `Upgrade` belongs to one connection, and doors on the way may take it off."""
    protocols = headers.get("upgrade", "").lower().split(",")
    return "sec-websocket-key" in headers or any(name.strip() == "websocket" for name in protocols)


def _matches(endpoint: Endpoint, path: str) -> str | None:
    fixed, _, variable = endpoint.path.partition("{")
    if not variable:
        return "" if path == fixed else None
    rest = path.removeprefix(fixed)
    return unquote(rest) if path.startswith(fixed) and rest and "/" not in rest else None
