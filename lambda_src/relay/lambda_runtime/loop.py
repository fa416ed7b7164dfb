"""The loop: takes an invocation, has the handler answer it, sends the response, survives whatever went wrong.

Knows what a failure becomes before, in and after a response. Knows nothing of OpenAI.

    phase                 expected failure (RelayError)               bug (any other exception)
    before the prelude    its status and its OpenAI-shaped body       500 with the request id
    mid-stream            one SSE error event, then error trailers    the same, "Internal error."
    after the end         log only                                    log only
    not an HTTP event     POST /error                                 POST /error
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from relay.errors import DeliveryError, ErrorKind, NotHttpError, RelayError
from relay.lambda_runtime.client import Invocation, RuntimeApi
from relay.lambda_runtime.errors import ResponseRefusedError, StoppedError
from relay.lambda_runtime.reply import Reply, Timing
from relay.lambda_runtime.shutdown import Stop
from relay.log import Log
from relay.models import Response

# /next must not be asked in a tight loop when it fails: the pause doubles from twice this, and after this many failures
# in a row, 3 s, the process gives up, and Lambda starts a new one.
_NEXT_FAILURES = 6
_BACKOFF_SECONDS = 0.05

Handler = Callable[[Invocation, Reply], Response]
"""Answers one invocation: returns its response, or raises RelayError, NotHttpError, or anything else for a bug.

The response's body may raise as well. What has to be closed or settled is registered in the reply's `closing`."""


class Runtime:
    """One process's loop."""

    def __init__(
        self,
        api: RuntimeApi,
        handler: Handler,
        log: Log,
        stop: Stop,
        *,
        timing: Timing,
    ) -> None:
        self._api = api
        self._handler = handler
        self._log = log
        self._stop = stop
        self._timing = timing

    def run(self) -> int:
        """Serves until asked to stop (0) or until the Runtime API cannot be spoken to (1)."""
        failures = 0
        while not self._stop.requested:
            try:
                invocation = self._api.next()
            except StoppedError:
                return 0
            except DeliveryError as error:
                failures += 1
                self._log.warn("next_failed", error=str(error), failures=failures)
                self._api.close()
                if failures >= _NEXT_FAILURES:
                    return 1
                # A sleep that a request to stop ends.
                select.select([self._stop.fd], [], [], _BACKOFF_SECONDS * 2**failures)
                continue
            failures = 0
            self._serve(invocation)
        return 0

    def _serve(self, invocation: Invocation) -> None:
        # Stock runtimes set this per invocation, and tracing libraries read it.
        os.environ["_X_AMZN_TRACE_ID"] = invocation.trace_id
        stream = self._api.respond(invocation)
        reply = Reply(stream, invocation, self._timing, stop_fd=self._stop.fd)
        failure: Exception | None = None
        try:
            with reply.closing:
                try:
                    reply.send(self._handler(invocation, reply))
                except Exception as error:  # whatever it is, the caller is told and the next invocation served
                    failure = error
                    self._report(invocation, reply, error)
                    raise
        except Exception as error:  # the one that was reported, or what failed while closing
            if error is not failure:
                self._log.error("done_failed", failure=error, requestId=invocation.id)

    def _report(self, invocation: Invocation, reply: Reply, error: Exception) -> None:
        """Tells the caller in the way that the phase allows, and the log what the caller may not know."""
        try:
            if isinstance(error, DeliveryError):
                self._note_undelivered(invocation, error)
            elif isinstance(error, NotHttpError):
                self._log.warn("not_http", requestId=invocation.id, error=str(error))
                self._api.fail(invocation, "Function.NotAnHttpEvent", str(error))
            elif isinstance(error, RelayError):
                reply.fail(error)
            else:
                self._log.error("bug", failure=error, requestId=invocation.id)
                text = f"{ErrorKind.INTERNAL.spec.text} Request id: {invocation.id}"
                reply.fail(RelayError(ErrorKind.INTERNAL, text))
        except DeliveryError as refused:
            self._note_undelivered(invocation, refused)
        except Exception as bug:  # not even the failure could be told; the next invocation gets a new connection
            self._log.error("bug", failure=bug, requestId=invocation.id)
            self._api.close()

    def _note_undelivered(self, invocation: Invocation, error: DeliveryError) -> None:
        """410: this invocation is not ours any more; 413, 400, 403: the response was not accepted. Either way it is over.

        Whether its connection is good for the next one, the client sees for itself.
        """
        status = error.status if isinstance(error, ResponseRefusedError) else 0
        self._log.warn("response_refused", requestId=invocation.id, status=status, error=str(error))
