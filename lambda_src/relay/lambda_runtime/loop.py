"""The loop: take an invocation, let the handler answer it, carry the answer out, survive whatever went wrong.

Knows when an answer has begun and what a failure becomes before, in and after it. Knows nothing of OpenAI.

    phase                 expected failure (RelayError)               bug (any other exception)
    before the prelude    its status and its OpenAI-shaped body       500 with the request id
    mid-stream            one SSE error event, then error trailers    the same, "Internal error."
    after the end         log only                                    log only
    not an HTTP event     POST /error                                 POST /error
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping

from relay.doors.function_url import NotHttpError, to_prelude
from relay.errors import ErrorKind, RelayError
from relay.lambda_runtime.client import (
    Invocation,
    ResponseRefusedError,
    ResponseStream,
    RuntimeApi,
    RuntimeApiError,
    StoppedError,
)
from relay.log import Log
from relay.models import Response
from relay.net import sse

# /next must not be asked in a tight loop when it fails; after this many failures in a row the process gives up,
# and Lambda starts a new one.
_NEXT_FAILURES = 6
_BACKOFF_SECONDS = 0.05

# What is called when an exchange is over, with what went wrong (None: nothing did).
Done = Callable[[BaseException | None], None]
Handler = Callable[[Invocation, "Reply"], Response]


class Reply:
    """The answer to one invocation as the handler sees it. `status` is 0 and `first_byte_at` (monotonic seconds) 0.0
    until there is one.

    A handler normally returns a Response and lets the runtime write it. While it has to wait it may begin the answer
    itself and keep it alive; the status and headers of what it returns are void then.
    """

    def __init__(self, stream: ResponseStream, request_id: str) -> None:
        self._stream = stream
        self._request_id = request_id
        self._last = b""
        self._is_sse = False
        self._is_text = False
        self.status = 0
        self.first_byte_at = 0.0
        self._done: list[Done] = []

    @property
    def begun(self) -> bool:
        """Whether the prelude is written: from then on the status cannot change any more."""
        return self._stream.begun

    @property
    def body_size(self) -> int:
        """Bytes of body so far."""
        return self._stream.body_size

    @property
    def stream(self) -> ResponseStream:
        """The stream below, for whoever waits on the reply's behalf: it is asked at every token."""
        return self._stream

    @property
    def tail(self) -> bytes:
        """What was written last, heartbeats apart: enough to tell whether an event has ended."""
        return self._last[-sse.TAIL :]

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Writes the prelude."""
        content_type = headers.get("content-type", "")
        self._is_sse = content_type.startswith("text/event-stream")
        self._is_text = content_type.startswith("text/plain")
        self.status = status
        self._stream.begin(to_prelude(status, {"x-request-id": self._request_id, **headers}))

    def write(self, chunk: bytes) -> None:
        """Adds to the body; on the wire at the latest when the handler waits for more."""
        self._last = chunk if len(chunk) >= sse.TAIL else self._last[-sse.TAIL :] + chunk
        self._stream.write(chunk)
        if not self.first_byte_at:
            self.first_byte_at = time.monotonic()
            if self._is_sse or self._is_text:
                # The first token is what a person waits for: it does not wait for what else has come with it.
                self._stream.flush()

    def keep_alive(self) -> None:
        """Adds a comment that no client sees, if the body is an event stream between two events."""
        if self._is_sse and sse.at_boundary(self.tail):
            self._stream.write(sse.HEARTBEAT)

    def when_done(self, done: Done) -> None:
        """Has `done` called exactly once, after the last byte; the last one registered first."""
        self._done.append(done)

    def end(self) -> None:
        """Ends the answer well."""
        self._stream.end()

    def fail(self, error: RelayError) -> None:
        """Ends the answer with `error`, in the way that the phase allows."""
        body = error.body()
        if not self.begun:
            self.begin(error.kind.spec.status, error.response_headers())
            self.write(body)
            self._stream.end()
            return
        if self._is_sse:
            self._stream.write(sse.error_event(body, self.tail))
        elif self._is_text:
            # Plain text has no way to say that it broke off but to say it.
            self._stream.write(f"\n\n[{error.text}]\n".encode("utf-8", "replace"))
        self._stream.fail(f"Function.{_camel(error.kind)}", error.text)

    def close(self, failure: BaseException | None, log: Log) -> None:
        """Calls everything that `when_done` has registered; what fails there is logged and stops nothing."""
        while self._done:
            try:
                self._done.pop()(failure)
            except Exception as error:
                log.error("done_failed", failure=error, requestId=self._request_id)


class Stop:
    """The wish to end: `fd` becomes readable, which the process waits for beside all else that it waits for."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self.requested = False

    def request(self) -> None:
        """From now on, for good."""
        self.requested = True
        os.write(self._write_fd, b"x")

    def on(self, number: int) -> None:
        """Lets a signal say it. Only the main thread may.

        Python runs its handlers between two instructions, so after a signal that comes just before poll(2) it would run
        this one after the poll, which may be never. The interpreter's own handler, which is C, writes at once.
        """
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        signal.signal(number, self._said)

    def _said(self, number: int, frame: object) -> None:
        self.requested = True


class Runtime:
    """One process's loop."""

    def __init__(self, api: RuntimeApi, handler: Handler, log: Log, stop: Stop) -> None:
        self._api = api
        self._handler = handler
        self._log = log
        self._stop = stop

    def run(self) -> int:
        """Serves until told to stop (0) or until the Runtime API cannot be spoken to (1)."""
        failures = 0
        while True:
            if self._stop.requested:
                return 0
            try:
                invocation = self._api.next(self._stop.fd)
            except StoppedError:
                return 0
            except (RuntimeApiError, ResponseRefusedError) as error:
                failures += 1
                self._log.warn("next_failed", error=str(error), failures=failures)
                self._api.close()
                if failures >= _NEXT_FAILURES:
                    return 1
                # A sleep that the wish to stop ends.
                select.select([self._stop.fd], [], [], _BACKOFF_SECONDS * 2**failures)
                continue
            failures = 0
            self._serve(invocation)

    def _serve(self, invocation: Invocation) -> None:
        # Stock runtimes set this per invocation, and tracing libraries read it.
        os.environ["_X_AMZN_TRACE_ID"] = invocation.trace_id
        reply = Reply(self._api.respond(invocation), invocation.id)
        failure = self._answer(invocation, reply)
        reply.close(failure, self._log)

    def _answer(self, invocation: Invocation, reply: Reply) -> BaseException | None:
        """Answers, and returns what went wrong."""
        try:
            self._carry(self._handler(invocation, reply), reply)
        except (ResponseRefusedError, RuntimeApiError) as error:
            self._refused(invocation, error)
            return error
        except Exception as error:
            self._fail(invocation, reply, error)
            return error
        return None

    @staticmethod
    def _carry(response: Response, reply: Reply) -> None:
        body = response.body
        try:
            if not reply.begun:
                reply.begin(response.status, response.headers)
            for chunk in body:
                reply.write(chunk)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        reply.end()

    def _fail(self, invocation: Invocation, reply: Reply, error: Exception) -> None:
        try:
            if isinstance(error, NotHttpError):
                self._log.warn("not_http", requestId=invocation.id, error=str(error))
                self._api.fail(invocation, "Function.NotAnHttpEvent", str(error))
                return
            if isinstance(error, RelayError):
                reply.fail(error)
                return
            self._log.error("bug", failure=error, requestId=invocation.id)
            reply.fail(RelayError(ErrorKind.INTERNAL, f"{ErrorKind.INTERNAL.spec.text} Request id: {invocation.id}"))
        except (ResponseRefusedError, RuntimeApiError) as refused:
            self._refused(invocation, refused)
        except Exception as bug:
            # Not even the failure could be told; the next invocation gets a connection of its own.
            self._log.error("bug", failure=bug, requestId=invocation.id)
            self._api.close()

    def _refused(self, invocation: Invocation, error: Exception) -> None:
        """410: this invocation is not ours any more; 413, 400, 403: the answer was not taken. Either way it is over.

        Whether its connection is good for the next one, the client sees for itself.
        """
        status = error.status if isinstance(error, ResponseRefusedError) else 0
        self._log.warn("response_refused", requestId=invocation.id, status=status, error=str(error))


def _camel(kind: ErrorKind) -> str:
    return "".join(word.capitalize() for word in kind.name.split("_"))
