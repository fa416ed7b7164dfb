"""The response to one invocation: its head, its body, heartbeats while it waits, and its end.

Knows when a response has begun and what a failure becomes before and after that moment. Knows nothing of OpenAI.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack

from relay.errors import ErrorKind, RelayError
from relay.frozen import EMPTY, Frozen
from relay.lambda_runtime.client import Invocation
from relay.lambda_runtime.response_stream import ResponseStream
from relay.models import Delivery, Response
from relay.net import sse
from relay.net.wait import Wait

# Of the time that is left, at most this part is held back for ending well, so that short deadlines leave room to work.
_RESERVE_SHARE = 0.2
# The prelude ends with eight NUL bytes (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html and AWS's own clients).
PRELUDE_END = b"\0" * 8

# Made once, because json.dumps with options makes one for each call.
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class Timing(Frozen):
    """How long a response may be silent and when it ends, in seconds.

    After `heartbeat_seconds` of silence a stream gets a comment (0: never). Work ends `reserve_seconds` before the
    invocation's deadline, or a fifth of the time that is left where that is less.
    """

    heartbeat_seconds: float
    reserve_seconds: float


class Reply:
    """The response to one invocation. The handler gets it beside the invocation, and the loop sends the handler's Response.

    `wait` is the invocation's: everything that blocks on its behalf waits there, and so hears its end. `closing` holds
    what has to be closed or settled when the invocation is over, however it ends: the last one registered first, and
    after the caller has its response.
    """

    def __init__(
        self,
        stream: ResponseStream,
        invocation: Invocation,
        timing: Timing,
        *,
        stop_fd: int = -1,
    ) -> None:
        left = max(0.0, invocation.deadline - time.monotonic())
        self.closing = ExitStack()
        self.wait = Wait(
            deadline=invocation.deadline - min(timing.reserve_seconds, left * _RESERVE_SHARE),
            stop_fd=stop_fd,
            overdue=self._overdue,
            downstream=stream,
            silence=timing.heartbeat_seconds,
            on_silence=self._heartbeat if timing.heartbeat_seconds else None,
        )
        self.closing.callback(self.wait.close)
        self._stream = stream
        self._request_id = invocation.id
        self._early_headers: Mapping[str, str] | None = None
        self._status = 0
        self._first_byte_at = 0.0
        self._last = b""
        # Of every response, whatever it says, beside its own.
        self.headers: Mapping[str, str] = EMPTY
        # Whether the head is written: from then on status and headers cannot change any more.
        self.begun = False
        self._is_sse = False
        self._is_text = False

    @property
    def delivery(self) -> Delivery:
        """What has been written so far."""
        return Delivery(status=self._status, body_bytes=self._stream.body_size, first_byte_at=self._first_byte_at)

    def expect_stream(self, headers: Mapping[str, str]) -> None:
        """Says that the response will be a stream: when silence lasts, its head is 200 with `headers`, and not waited for.

        From then on a failure travels in the stream.
        """
        self._early_headers = headers

    def send(self, response: Response) -> None:
        """Writes all of `response`. Where a heartbeat has written the head already, that head holds."""
        body = response.body
        try:
            if not self.begun:
                self._begin(response.status, response.headers)
            for chunk in body:
                self._write(chunk)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        self._stream.end()

    def fail(self, error: RelayError) -> None:
        """Ends the response with `error`: as its status and body where it has not begun, else inside the body."""
        body = error.body()
        if not self.begun:
            self._begin(error.kind.spec.status, error.response_headers())
            self._write(body)
            self._stream.end()
            return
        if self._is_sse:
            self._stream.write(sse.error_event(body, self._tail))
        elif self._is_text:
            # Plain text has no way to say that it broke off but to say it.
            self._stream.write(f"\n\n[{error.text}]\n".encode("utf-8", "replace"))
        self._stream.fail(f"Function.{_camel_case(error.kind)}", error.text)

    @property
    def _tail(self) -> bytes:
        """What was written last, heartbeats apart: enough to tell whether an event has ended."""
        return self._last[-sse.TAIL :]

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        content_type = headers.get("content-type", "")
        self._is_sse = content_type.startswith("text/event-stream")
        self._is_text = content_type.startswith("text/plain")
        self._stream.begin(_prelude(status, {"x-request-id": self._request_id, **self.headers, **headers}))
        self.begun = True
        self._status = status

    def _write(self, chunk: bytes) -> None:
        """Adds to the body; on the wire at the latest when somebody waits."""
        self._last = chunk if len(chunk) >= sse.TAIL else self._last[-sse.TAIL :] + chunk
        self._stream.write(chunk)
        if not self._first_byte_at:
            self._first_byte_at = time.monotonic()
            if self._is_sse or self._is_text:
                # The first token is what a person waits for: it does not wait for what else has come with it.
                self._stream.flush()

    def _heartbeat(self) -> None:
        """Begins a stream that is expected, and adds a comment that no client sees if it is between two events."""
        if not self.begun and self._early_headers is not None:
            self._begin(200, self._early_headers)
        if self._is_sse and sse.at_boundary(self._tail):
            self._stream.write(sse.HEARTBEAT)

    def _overdue(self) -> RelayError:
        kind = ErrorKind.DEADLINE if self.begun else ErrorKind.UPSTREAM_TIMEOUT
        return RelayError(kind, log="not complete at the deadline")


def _prelude(status: int, headers: Mapping[str, str]) -> bytes:
    """The JSON head of a streamed response and the NULs that end it. Header values are strings, without line breaks."""
    return _COMPACT.encode({"statusCode": status, "headers": dict(headers)}).encode() + PRELUDE_END


def _camel_case(kind: ErrorKind) -> str:
    return "".join(word.capitalize() for word in kind.name.split("_"))
