"""One response on its way to the Runtime API: head, chunks, and an end that is good or says what went wrong.

Knows HTTP's chunked coding and Lambda's error trailers; knows nothing of what the body holds. Source:
docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html (response streaming), and what AWS's own streaming client
(aws-lambda-ric for Node) puts on the wire.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

from relay.lambda_runtime.connection import RESPONSE_SECONDS, Connection, Fields, field_lines
from relay.lambda_runtime.errors import ResponseRefusedError

# Written chunks wait for one another until the reader is about to block; beyond this they go out at once.
_FLUSH_BYTES = 65536
# Of an error's text as a trailer; the text itself is in the stream. AWS names no limit.
_TRAILER_CHARACTERS = 1000
# The service gets this long to acknowledge a response even when the invocation's deadline has come: it is on loopback.
_LATE_SECONDS = 1.0
# A response that arrives early has arrived; what is still missing of it is not waited for while upstream generates.
_EARLY_SECONDS = 0.5


class ResponseStream:
    """The response to one invocation, written piece by piece.

    Nothing touches the wire before `begin`, and until then the service may close the connection that the invocation
    came over: `begin` takes one that is good. Blocks when the service does not take more, which is the back-pressure
    that reaches upstream. Every method raises ResponseRefusedError when the service has responded before the end,
    RuntimeApiError when the connection broke. `head` is the request's, complete; `deadline` is on time.monotonic()'s clock.

    `body_size` are the bytes of body written so far, without the prelude. `fd` is the descriptor that becomes readable when
    the service responds early; -1 before `begin`, when nothing is due.
    """

    def __init__(self, connect: Callable[[], Connection], head: bytes, deadline: float) -> None:
        self._connect = connect
        self._open: Connection | None = None
        self._head = head
        self._deadline = deadline
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.fd = -1
        self.body_size = 0

    def begin(self, prelude: bytes) -> None:
        """Starts the streamed response with `prelude`, which ends with eight NULs."""
        self._open = self._connect()
        self.fd = self._open.fd
        self._open.begin()
        self._queue(self._head + _chunk(prelude))

    def write(self, chunk: bytes) -> None:
        """Queues `chunk`. It is on the wire after the next `flush`, which whoever is about to wait has to call."""
        if chunk:  # a chunk of length zero would end the stream
            self.body_size += len(chunk)
            self._queue(_chunk(chunk))

    def flush(self) -> None:
        """Puts what was queued on the wire, in one write where the socket takes it."""
        if self._pending:
            data = b"".join(self._pending) if len(self._pending) > 1 else self._pending[0]
            self._pending.clear()
            self._pending_size = 0
            self._connection.send(data, self._deadline)

    def check_refused(self) -> None:
        """Raises when the service has responded already: it will read no more of this stream."""
        if self._open and self._connection.readable():
            raise ResponseRefusedError(self._connection.receive(time.monotonic() + _EARLY_SECONDS).status)

    def end(self) -> None:
        """Ends the stream well and takes the service's response."""
        if self.body_size == 0:
            # A response without a body byte can hang for minutes (aws-lambda-nodejs-runtime-interface-client issue 95).
            self.write(b"\n")
        self._finish(())

    def fail(self, error_type: str, message: str) -> None:
        """Ends the stream with Lambda's error trailers. `error_type` is "Function.Name" or "Runtime.Name"."""
        self._finish(_error_trailers(error_type, message))

    @property
    def _connection(self) -> Connection:
        assert self._open is not None, "begin first"
        return self._open

    def _queue(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= _FLUSH_BYTES:
            self.flush()

    def _finish(self, trailers: Fields) -> None:
        self._pending.append(b"0\r\n" + field_lines(trailers) + b"\r\n")
        self.flush()
        self._connection.finish()
        now = time.monotonic()
        by = min(now + RESPONSE_SECONDS, max(self._deadline, now + _LATE_SECONDS))
        status = self._connection.receive(by).status
        if status != 202:
            raise ResponseRefusedError(status)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _error_trailers(error_type: str, message: str) -> Fields:
    fields = {"errorType": error_type, "errorMessage": message[:_TRAILER_CHARACTERS], "stackTrace": []}
    body = base64.b64encode(json.dumps(fields).encode()).decode()
    return [("Lambda-Runtime-Function-Error-Type", error_type), ("Lambda-Runtime-Function-Error-Body", body)]
