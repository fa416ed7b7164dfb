"""From OpenAI's response to the caller's: what passes, what becomes an error of the relay's, and where a stream really ends.

Errors about the caller's request pass with OpenAI's own text. Errors about the relay's key, and whatever OpenAI's
servers say when they are ill, get the relay's text: the first quote parts of the key, the second are not for callers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from relay.errors import ErrorKind, RelayError
from relay.models import Json, JsonObject, Response
from relay.net import sse
from relay.net.wait import Wait
from relay.openai.client import UpstreamResponse
from relay.response import errors
from relay.response.masking import mask
from relay.response.members import error_in
from relay.response.usage_meter import EventMeter, Meter

SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
TEXT_HEADERS = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-cache"}

# What of upstream's headers reaches the caller. Everything else (cookies, organisation, hop-by-hop, servers) does not.
_PASSED = ("content-type", "retry-after", "retry-after-ms", "x-should-retry", "openai-processing-ms", "openai-version")
_PASSED_PREFIX = "x-ratelimit-"
# A header's value beyond this is not one of those; all of them have to fit the prelude's 16 KB.
_VALUE_CHARACTERS = 512
_HEADER_CHARACTERS = 8192
# An error body is read up to here; what OpenAI sends is a few hundred bytes. The list of models is some 20 KB.
_ERROR_BYTES = 65_536
_MODELS_BYTES = 4_194_304
# How long upstream may take to close after its terminal event; nothing of the response is missing then.
_AFTER_END_SECONDS = 1.0


def is_sse(response: UpstreamResponse) -> bool:
    """Whether the body is an event stream."""
    return response.headers.get("content-type", "").lower().startswith("text/event-stream")


def passed_headers(response: UpstreamResponse) -> dict[str, str]:
    """The headers of `response` that the caller sees; OpenAI's request id beside the relay's own."""
    headers = {
        name: value for name, value in response.headers.items() if name in _PASSED or name.startswith(_PASSED_PREFIX)
    }
    if "x-request-id" in response.headers:
        headers["x-openai-request-id"] = response.headers["x-request-id"]
    headers = {name: text for name, text in headers.items() if _is_plain(text) and len(text) <= _VALUE_CHARACTERS}
    if sum(len(name) + len(text) for name, text in headers.items()) > _HEADER_CHARACTERS:
        return {"content-type": headers.get("content-type", "")}
    return headers


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def check(response: UpstreamResponse, *, wants_stream: bool, kinds: tuple[str, ...]) -> None:
    """Raises UPSTREAM_BROKEN when a successful response is not in the form that was asked for: a client would misread it.

    `kinds`: the content types of the endpoint when it does not stream; one that ends in "/" is a prefix.
    """
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise RelayError(ErrorKind.UPSTREAM_BROKEN, log="encoded although identity was asked for")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    matches = is_sse(response) if wants_stream else kind in kinds or kind.startswith(_prefixes(kinds))
    if not matches:
        raise RelayError(ErrorKind.UPSTREAM_BROKEN, log=f"status {response.status}, content type {kind[:60]!r}")


def _prefixes(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(kind for kind in kinds if kind.endswith("/"))


def to_the_end(chunks: Iterator[bytes], meter: Meter, wait: Wait) -> Iterator[bytes]:
    """Passes `chunks` on and makes sure that they are complete: ends with the terminal event, or with an exception.

    Nothing passes after a terminal event: a second one, or a word after an error, would be read as a different response.
    """
    failure: RelayError | None = None
    sent, dispatched = b"", False
    try:
        for chunk in chunks:
            if dispatched:
                continue  # only read, so that the connection can be used again
            meter.feed(chunk)
            passed = chunk
            if meter.surplus is not None:
                passed, dispatched = chunk[: len(chunk) - meter.surplus], True
                wait.drain_within(_AFTER_END_SECONDS)
            sent = passed if len(passed) >= sse.TAIL else sent[-sse.TAIL :] + passed
            if passed:
                yield passed
    except RelayError as error:
        failure = error
    meter.finish(failure)
    if not meter.ended:
        raise failure or _without_end(meter)
    if isinstance(meter, EventMeter) and not sse.is_over(sent):
        # The terminal event came whole, only the line breaks that dispatch it are missing.
        yield sse.ending(sent)


def _without_end(meter: Meter) -> RelayError:
    if meter.error is not None:
        return errors.to_relay_error(meter.error)
    return RelayError(ErrorKind.UPSTREAM_BROKEN, log="stream ended before its terminal event")


def first_event(chunks: Iterator[bytes], meter: Meter, begun: Callable[[], bool]) -> Iterator[bytes]:
    """Reads until the first event is complete, because an error that comes as such can still become a real status.

    Gives back what it has read, with the failure behind it if there was one and the response has `begun` meanwhile.
    """
    first = bytearray()
    try:
        for chunk in chunks:
            first += chunk
            if begun() or meter.began or len(first) > _ERROR_BYTES:
                break
    except RelayError as failure:
        if not begun():
            raise
        return _then(bytes(first), failure)
    if meter.error is not None and not begun() and (not meter.began or _begins_with_error(bytes(first))):
        raise errors.to_relay_error(meter.error)
    return iter([bytes(first)] if first else [])


def first_piece(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Reads until something of a body has come, because one that is empty or fails before can still become a real status.

    Gives back what it has read.
    """
    first = next(chunks, b"")
    return iter([first] if first else [])


def _begins_with_error(data: bytes) -> bool:
    """Whether the first event in `data` is the error; the one read that brought it may have brought others before it."""
    return any(error_in(_object(line)) for line in sse.data_lines(sse.split(data)[0]))


def _then(data: bytes, failure: RelayError) -> Iterator[bytes]:
    if data:
        yield data
    raise failure


def is_unbilled(response: UpstreamResponse) -> bool:
    """Whether a response that is not a success has certainly cost nothing. Of a 503 OpenAI's own error tells, if it comes."""
    if response.status != 503:
        return errors.is_unbilled_status(response.status)
    try:
        error = _error_in(_bounded(response.chunks, _ERROR_BYTES))
    except RelayError:
        return False
    return bool(error) and errors.is_unbilled(error)


def refusal(response: UpstreamResponse, *, begun: bool) -> Response:
    """What a response that is not a success becomes. Raises RelayError where the words are to be the relay's own.

    `begun`: the caller has been given a 200 already, so that only an error event can tell.
    """
    if response.status in (401, 403):
        raise RelayError(ErrorKind.UPSTREAM_KEY, log=f"upstream {response.status}")
    if not 400 <= response.status < 500:
        kind = {503: ErrorKind.UPSTREAM_OVERLOADED, 504: ErrorKind.UPSTREAM_TIMEOUT}.get(
            response.status, ErrorKind.UPSTREAM_ERROR
        )
        raise RelayError(kind, headers=_retry_after(response), log=f"upstream {response.status}")
    body = _bounded(response.chunks, _ERROR_BYTES)
    error = _error_in(body)
    otherwise = ErrorKind.UPSTREAM_RATE_LIMIT if response.status == 429 else ErrorKind.UPSTREAM_ERROR
    if not error:
        raise RelayError(
            otherwise, headers=_retry_after(response), log=f"upstream {response.status} without an error body"
        )
    if begun:
        raise errors.to_relay_error(error, otherwise)
    headers = {**passed_headers(response), "content-type": "application/json"}
    if response.status == 429:
        exhausted = errors.is_exhausted(errors.word(error.get("code")))
        headers["x-should-retry"] = "false" if exhausted else "true"
    return Response(status=response.status, headers=headers, body=iter([mask(body)]))


def models(response: UpstreamResponse, allows: Callable[[str], bool], id: str) -> Response:
    """The list of models that `allows` lets pass, or the one called `id`."""
    models = _object(_bounded(response.chunks, _MODELS_BYTES)).get("data")
    if not isinstance(models, list):
        raise RelayError(ErrorKind.UPSTREAM_BROKEN, log="the list of models cannot be read")
    allowed = [model for model in models if isinstance(model, dict) and allows(errors.word(model.get("id")))]
    body: JsonObject = {"object": "list", "data": [*allowed]}
    if id:
        named = [model for model in allowed if model.get("id") == id]
        if not named:
            raise RelayError(ErrorKind.MODEL_NOT_ALLOWED, param="model")
        body = named[0]
    headers = {**passed_headers(response), "content-type": "application/json"}
    return Response(status=200, headers=headers, body=iter([json.dumps(body, separators=(",", ":")).encode()]))


def own(fields: Mapping[str, Json]) -> Response:
    """A response that is the relay's own."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    return Response(status=200, headers={"content-type": "application/json"}, body=iter([body]))


def _retry_after(response: UpstreamResponse) -> dict[str, str]:
    return {name: text for name, text in passed_headers(response).items() if name.startswith("retry-after")}


def _bounded(chunks: Iterator[bytes], most: int) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most:
            return b""
    return bytes(body)


def _error_in(body: bytes) -> Mapping[str, Json]:
    """OpenAI's error object, which always says something; what has none is not from OpenAI."""
    error = _object(body).get("error")
    return error if isinstance(error, dict) and errors.word(error.get("message")) else {}


def _object(body: bytes) -> JsonObject:
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
