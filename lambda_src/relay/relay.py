"""The handler: one request's way from the door to OpenAI and back. Reads like that sentence.

Knows the order of things; each thing itself is in its own module.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from relay import endpoints, sse, strict_json
from relay.endpoints import Endpoint
from relay.errors import Kind, RelayError
from relay.events import to_request
from relay.keys import Keys
from relay.logs import Log
from relay.metering import Meter
from relay.models import Request, Response
from relay.runtime import Reply
from relay.runtime_api import Invocation
from relay.settings import Settings
from relay.upstream import Answer, Call, Upstream
from relay.waiting import Watch

# What of upstream's headers reaches the caller. Everything else (cookies, organisation, hop-by-hop, server names) stays.
_PASSED = ("content-type", "retry-after", "retry-after-ms", "openai-processing-ms", "openai-version")
_PASSED_PREFIX = "x-ratelimit-"
_SSE_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
# An error body is read up to here; what OpenAI sends is a few hundred bytes.
_ERROR_BYTES = 65536
# Of the time that is left, at most this part is held back for ending well, so that short deadlines leave room to work.
_RESERVE_SHARE = 0.2
# How long upstream may take to close after its terminal event; nothing of the answer is missing then.
_AFTER_END_SECONDS = 1.0
# Codes of 429 that no waiting helps against.
_EXHAUSTED = ("insufficient_quota", "credit_balance_exhausted", "organization_usage_limit_exceeded")
_EXHAUSTED_SUFFIX = "_spend_limit_exceeded"


class Relay:
    """Answers invocations. One at a time: an environment never has two."""

    def __init__(self, *, settings: Settings, upstream: Upstream, keys: Keys, log: Log, stop_fd: int = -1) -> None:
        self._settings = settings
        self._upstream = upstream
        self._keys = keys
        self._log = log
        self._stop_fd = stop_fd

    def __call__(self, invocation: Invocation, reply: Reply) -> Response:
        """Answers one invocation; what it raises, the runtime turns into an answer."""
        record = _Record(invocation.id, reply, self._log)
        reply.when_done(record.finish)
        request = to_request(invocation.event, invocation.id)
        record.seen(request)
        endpoint = endpoints.match(request.method, request.path)
        body = self._validated(request)
        watch = self._watch(invocation, reply, body)
        key = self._keys.current()
        answer = self._upstream.open(_call(endpoint, request, body, key), watch)
        reply.when_done(lambda _: answer.close())
        record.fields["upstreamStatus"] = answer.status
        if answer.status == 401:
            self._keys.refused(key)
        if not 200 <= answer.status < 300:
            return _refusal(answer, reply)
        return self._stream(endpoint, body, answer, reply, watch)

    def _validated(self, request: Request) -> dict[str, Any]:
        if len(request.body) > self._settings.max_body_bytes:
            raise RelayError(Kind.TOO_LARGE, f"The body is over this endpoint's {self._settings.max_body_bytes} bytes.")
        return strict_json.parse(request.body)

    def _watch(self, invocation: Invocation, reply: Reply, body: Mapping[str, Any]) -> Watch:
        left = invocation.deadline - time.monotonic()
        reserve = min(self._settings.deadline_reserve_seconds, max(0.0, left) * _RESERVE_SHARE)
        watch = Watch(downstream=reply, deadline=invocation.deadline - reserve, stop_fd=self._stop_fd)
        if body.get("stream") is True and self._settings.heartbeat_seconds:
            watch.silence = self._settings.heartbeat_seconds

            def beat() -> None:
                # The bounded wait for a real status is over: from here on failures travel in the stream.
                if not reply.begun:
                    reply.begin(200, _SSE_HEADERS)
                watch.overdue = Kind.DEADLINE
                reply.keep_alive()

            watch.on_silence = beat
        return watch

    def _stream(
        self, endpoint: Endpoint, body: Mapping[str, Any], answer: Answer, reply: Reply, watch: Watch
    ) -> Response:
        is_sse = answer.headers.get("content-type", "").lower().startswith("text/event-stream")
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise RelayError(Kind.UPSTREAM_BROKEN, log="encoded although identity was asked for")
        if is_sse != (body.get("stream") is True):
            raise RelayError(Kind.UPSTREAM_BROKEN, log=f"content type {answer.headers.get('content-type', '')[:100]!r}")
        headers = _passed(answer)
        if not is_sse:
            watch.overdue = Kind.DEADLINE
            return Response(status=answer.status, headers=headers, body=answer.chunks)
        meter = Meter(endpoint.dialect)
        chunks = _to_the_end(answer.chunks, meter, watch)
        first = _first_event(chunks, meter, reply)
        watch.overdue = Kind.DEADLINE
        return Response(status=answer.status, headers={**_SSE_HEADERS, **headers}, body=chain(first, chunks))


def _call(endpoint: Endpoint, request: Request, body: dict[str, Any], key: str) -> Call:
    headers = {
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "accept": "text/event-stream" if body.get("stream") is True else "application/json",
        "accept-encoding": "identity",
        "user-agent": "openai-lambda-relay",
        "x-client-request-id": request.id,
    }
    return Call(method=endpoint.method, path=endpoint.upstream, headers=headers, body=strict_json.serialise(body))


def _passed(answer: Answer) -> dict[str, str]:
    passed = {
        name: value for name, value in answer.headers.items() if name in _PASSED or name.startswith(_PASSED_PREFIX)
    }
    if "x-request-id" in answer.headers:
        passed["x-openai-request-id"] = answer.headers["x-request-id"]
    return {name: value for name, value in passed.items() if value.isprintable()}


def _to_the_end(chunks: Iterator[bytes], meter: Meter, watch: Watch) -> Iterator[bytes]:
    """Passes `chunks` on and makes sure that they end with the dialect's terminal event, or with an exception."""
    failure = RelayError(Kind.UPSTREAM_BROKEN, log="ended without a terminal event")
    tail = b""
    try:
        for chunk in chunks:
            meter.feed(chunk)
            tail = (tail + chunk)[-sse.TAIL :]
            yield chunk
            if meter.ended:
                watch.deadline = min(watch.deadline, time.monotonic() + _AFTER_END_SECONDS)
                watch.on_silence = None
    except RelayError as error:
        failure = error
    meter.finish()
    if not meter.ended:
        raise failure
    if not sse.at_boundary(tail):
        yield b"\n\n"


def _first_event(chunks: Iterator[bytes], meter: Meter, reply: Reply) -> list[bytes]:
    """Reads up to the end of the first event, because an error that comes as such can still become a real status."""
    first: list[bytes] = []
    for chunk in chunks:
        first.append(chunk)
        if meter.error is not None and not reply.begun:
            raise _from_event(meter.error)
        if reply.begun or sse.at_boundary(chunk) or sum(map(len, first)) > _ERROR_BYTES:
            break
    return first


def _from_event(error: Mapping[str, Any]) -> RelayError:
    code = str(error.get("code") or error.get("type") or "")
    text = str(error.get("message") or "") or None
    if _is_exhausted(code):
        return RelayError(Kind.UPSTREAM_EXHAUSTED, text, code=code)
    if code in ("rate_limit_exceeded", "slow_down"):
        return RelayError(Kind.UPSTREAM_RATE_LIMIT, text, code=code)
    if code == "server_is_overloaded":
        return RelayError(Kind.UPSTREAM_OVERLOADED, log=code)
    if str(error.get("type")) == "invalid_request_error":
        return RelayError(Kind.BAD_REQUEST, text, code=code)
    return RelayError(Kind.UPSTREAM_ERROR, log=f"error event {code[:60]!r}")


def _is_exhausted(code: str) -> bool:
    return code in _EXHAUSTED or code.endswith(_EXHAUSTED_SUFFIX)


def _refusal(answer: Answer, reply: Reply) -> Response:
    """What OpenAI's error answer becomes: passed on when it is about the caller's request, our own words otherwise."""
    if answer.status in (401, 403):
        raise RelayError(Kind.UPSTREAM_KEY, log=f"upstream {answer.status}")
    if not 400 <= answer.status < 500:
        kind = {503: Kind.UPSTREAM_OVERLOADED, 504: Kind.UPSTREAM_TIMEOUT}.get(answer.status, Kind.UPSTREAM_ERROR)
        raise RelayError(kind, headers=_retry_after(answer), log=f"upstream {answer.status}")
    body = _bounded(answer.chunks)
    error = _error_in(body)
    code = str(error.get("code") or "")
    if not error:
        raise RelayError(Kind.UPSTREAM_ERROR, log=f"upstream {answer.status} without an error body")
    if reply.begun:
        raise RelayError(Kind.BAD_REQUEST, str(error.get("message") or "") or None, code=code)
    headers = {**_passed(answer), "content-type": "application/json"}
    if answer.status == 429:
        headers["x-should-retry"] = "false" if _is_exhausted(code) else "true"
    return Response(status=answer.status, headers=headers, body=iter([body]))


def _retry_after(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("retry-after", "retry-after-ms") if name in answer.headers}


def _bounded(chunks: Iterator[bytes]) -> bytes:
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > _ERROR_BYTES:
            return b""
    return body


def _error_in(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = fields.get("error") if isinstance(fields, dict) else None
    return error if isinstance(error, dict) else {}


class _Record:
    """The one log line of a request."""

    def __init__(self, request_id: str, reply: Reply, log: Log) -> None:
        self.fields: dict[str, Any] = {"requestId": request_id}
        self._reply = reply
        self._log = log
        self._started = time.monotonic()

    def seen(self, request: Request) -> None:
        self.fields |= {"method": request.method[:10], "path": request.path[:100]}

    def finish(self, failure: BaseException | None) -> None:
        outcome = failure.kind.name.lower() if isinstance(failure, RelayError) else "ok" if failure is None else "bug"
        self.fields |= {
            "outcome": outcome,
            "bytes": self._reply.body_size,
            "milliseconds": round((time.monotonic() - self._started) * 1000, 1),
        }
        if isinstance(failure, RelayError) and failure.log:
            self.fields["cause"] = failure.log
        self._log.info("request", **self.fields)
