"""Lambda's Runtime API: asks for the next invocation, opens its response, reports errors.

Knows paths and AWS's header names; knows nothing of events, OpenAI or the loop. Nothing that is written here needs
escaping: what comes from the service (an id, a token) has passed `http1_response` or a pattern, the rest is the
relay's own. Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping

from relay.frozen import Frozen
from relay.lambda_runtime.connection import RESPONSE_SECONDS, Connection, Fields, field_lines
from relay.lambda_runtime.errors import ResponseRefusedError, RuntimeApiError, StoppedError
from relay.lambda_runtime.response_stream import ResponseStream

_VERSION = "2018-06-01"
_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
_TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
# An id becomes a part of a path; AWS's are UUIDs.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
# Milliseconds since the epoch have 13 digits until the year 2286.
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
# What a deadline header is taken for that is missing or no such number. AWS always sends one.
_UNKNOWN_DEADLINE_SECONDS = 60.0
# Lambda's longest time-out (docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html): no deadline is later.
_LONGEST_SECONDS = 900.0


class Invocation(Frozen):
    """One call of the function. `deadline` is on time.monotonic()'s clock, in seconds; the process is killed then.

    `function_arn` is the name by which the function was invoked, with its alias if that was part of it.
    """

    id: str
    event: bytes
    deadline: float
    function_arn: str = ""
    trace_id: str = ""
    # Echoed so that the service can tell a late response from the current one; absent on older service versions.
    token: str = ""


class RuntimeApi:
    """One client for one Runtime API endpoint ("host:port"), on one connection that is kept while both sides agree.

    Once `stop_fd` is readable, no wait lasts longer than half a second, and no new invocation is waited for.
    """

    def __init__(self, address: str, *, stop_fd: int = -1) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._stop_fd = stop_fd
        common = field_lines([("Host", address), ("User-Agent", "openai-lambda-relay")])
        self._common = common
        self._next = _request_line("GET", "invocation/next") + common + b"\r\n"
        self._streamed = common + field_lines(
            [
                ("Lambda-Runtime-Function-Response-Mode", "streaming"),
                ("Transfer-Encoding", "chunked"),
                ("Content-Type", _CONTENT_TYPE),
                ("Trailer", _TRAILERS),
            ]
        )
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        """A connection between two exchanges; a new one when the last exchange did not end cleanly."""
        if self._connection is None or not self._connection.usable():
            self.close()
            try:
                self._connection = Connection(self._host, self._port, stop_fd=self._stop_fd)
            except OSError as error:
                raise RuntimeApiError(f"cannot connect: {error}") from error
        return self._connection

    def next(self) -> Invocation:
        """Waits for the next invocation, without a time limit: the environment is frozen meanwhile.

        Raises StoppedError when the process is asked to stop before one comes, RuntimeApiError when what comes back is
        not an invocation.
        """
        connection = self.connection()
        connection.ask(self._next, time.monotonic() + RESPONSE_SECONDS)
        if not connection.arrives_before_stop():
            raise StoppedError
        response = connection.arrived(time.monotonic() + RESPONSE_SECONDS)
        if response.status != 200:
            raise RuntimeApiError(f"/next returned {response.status}")
        return _invocation(response.headers, response.body)

    def respond(self, invocation: Invocation) -> ResponseStream:
        """The stream that carries the response to `invocation`."""
        line = _request_line("POST", f"invocation/{invocation.id}/response")
        head = line + self._streamed + field_lines(_token(invocation)) + b"\r\n"
        return ResponseStream(self.connection, head, invocation.deadline)

    def fail(self, invocation: Invocation, error_type: str, message: str) -> None:
        """Reports an invocation that cannot even be answered. Only before a response has begun (else 403)."""
        path = f"invocation/{invocation.id}/error"
        self._post_error(path, error_type, message, _token(invocation), request_id=invocation.id)

    def fail_init(self, error_type: str, message: str) -> None:
        """Reports that this process cannot serve at all. The process exits with 1 afterwards."""
        self._post_error("init/error", error_type, message, ())

    def close(self) -> None:
        """Drops the connection; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post_error(self, path: str, error_type: str, message: str, headers: Fields, request_id: str = "") -> None:
        fields = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": []}
        body = json.dumps(fields).encode()
        head = field_lines(
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Lambda-Runtime-Function-Error-Type", error_type),
                *headers,
            ]
        )
        request = _request_line("POST", path) + self._common + head + b"\r\n" + body
        status = self.connection().exchange(request, time.monotonic() + RESPONSE_SECONDS).status
        if status != 202:
            raise ResponseRefusedError(status)


def _request_line(method: str, path: str) -> bytes:
    return f"{method} /{_VERSION}/runtime/{path} HTTP/1.1\r\n".encode()


def _token(invocation: Invocation) -> Fields:
    return [("Lambda-Runtime-Invocation-Id", invocation.token)] if invocation.token else []


def _invocation(headers: Mapping[str, str], event: bytes) -> Invocation:
    request_id = headers.get("lambda-runtime-aws-request-id", "")
    if not _REQUEST_ID.fullmatch(request_id):
        raise RuntimeApiError("/next gave no request id")
    return Invocation(
        id=request_id,
        event=event,
        deadline=time.monotonic() + _seconds_left(headers.get("lambda-runtime-deadline-ms", "")),
        function_arn=headers.get("lambda-runtime-invoked-function-arn", ""),
        trace_id=headers.get("lambda-runtime-trace-id", ""),
        token=headers.get("lambda-runtime-invocation-id", ""),
    )


def _seconds_left(deadline_ms: str) -> float:
    """Until a deadline in milliseconds since the epoch. Negative when it has passed."""
    if not _MILLISECONDS.fullmatch(deadline_ms):
        return _UNKNOWN_DEADLINE_SECONDS
    return min(int(deadline_ms) / 1000 - time.time(), _LONGEST_SECONDS)
