"""Lambda's Runtime API on the wire. Knows HTTP and AWS's header names; knows nothing of events, OpenAI or the loop.

Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and runtimes-custom.html (response streaming), and what
AWS's own streaming client (aws-lambda-ric for Node) puts on the wire. h11 parses and frames heads and trailers; body
chunks are framed here, because that is one bytes join instead of a trip through a state machine per chunk.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import h11

_VERSION = "2018-06-01"
_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
_TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
_READ_SIZE = 65536
# Written chunks wait for one another until the reader is about to block; beyond this they go out at once.
_FLUSH_AT = 65536
# The API is on the loopback of the same machine: an answer that takes longer than this is not coming.
_ANSWER_SECONDS = 5.0
# Of an error's text as a trailer; the text itself is in the stream. AWS names no limit.
_TRAILER_CHARACTERS = 1000
# An id becomes a part of a path; AWS's are UUIDs.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
# What a missing deadline header is taken for. AWS always sends one.
_UNKNOWN_DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of the function. `deadline` is on time.monotonic()'s clock, in seconds; the process is killed then."""

    id: str
    event: bytes
    deadline: float
    trace_id: str = ""
    # Echoed so that the service can tell a late answer from the current one; absent on older service versions.
    token: str = ""


class RuntimeApiError(Exception):
    """The Runtime API could not be reached, broke off, or said something that is not an answer."""


class ResponseRefusedError(Exception):
    """The Runtime API refused a response: 400 malformed, 403 out of order, 410 stale invocation, 413 too large."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the Runtime API answered {status}")
        self.status = status


class ResponseStream:
    """The answer to one invocation, written piece by piece. Nothing touches the wire before `begin`, and until then the
    service may close the connection that the invocation came over: `begin` takes one that is good.

    Blocks when the service does not take more, which is the back-pressure that reaches upstream. Every method raises
    ResponseRefusedError when the service has answered before the end, RuntimeApiError when the connection broke.
    """

    def __init__(self, connect: Callable[[], _Connection], invocation: Invocation) -> None:
        self._connect = connect
        self._open: _Connection | None = None
        self._invocation = invocation
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._body_size = 0

    @property
    def begun(self) -> bool:
        """Whether the prelude is written, or queued."""
        return self._open is not None

    @property
    def body_size(self) -> int:
        """Bytes of body written so far, without the prelude."""
        return self._body_size

    def fileno(self) -> int:
        """The descriptor that becomes readable when the service answers early; -1 before `begin`, when nothing is due."""
        return self._connection.fileno() if self._open else -1

    def begin(self, prelude: bytes) -> None:
        """Starts the streamed answer with `prelude`, which ends with eight NULs."""
        self._open = self._connect()
        headers = [
            ("Lambda-Runtime-Function-Response-Mode", "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", _CONTENT_TYPE),
            ("Trailer", _TRAILERS),
        ]
        if self._invocation.token:
            headers.append(("Lambda-Runtime-Invocation-Id", self._invocation.token))
        head = self._connection.head("POST", f"invocation/{self._invocation.id}/response", headers)
        self._queue(head + _chunk(prelude))

    def write(self, chunk: bytes) -> None:
        """Queues `chunk`. It is on the wire after the next `flush`, which whoever is about to wait has to call."""
        if chunk:  # a chunk of length zero would end the stream
            self._body_size += len(chunk)
            self._queue(_chunk(chunk))

    def flush(self) -> None:
        """Puts what was queued on the wire, in one write where the socket takes it."""
        if self._pending:
            data = b"".join(self._pending) if len(self._pending) > 1 else self._pending[0]
            self._pending.clear()
            self._pending_size = 0
            self._connection.send(data, self._invocation.deadline)

    def check_refused(self) -> None:
        """Raises when the service has answered already: it will read no more of this stream."""
        if self._open and self._connection.readable():
            raise ResponseRefusedError(self._answer())

    def end(self) -> None:
        """Ends the stream well and takes the service's answer."""
        if self._body_size == 0:
            # An answer without a body byte can hang for minutes (aws-lambda-nodejs-runtime-interface-client issue 95).
            self.write(b"\n")
        self._finish(())

    def fail(self, error_type: str, message: str) -> None:
        """Ends the stream with Lambda's error trailers. `error_type` is "Function.Name" or "Runtime.Name"."""
        self._finish(_error_headers(error_type, message))

    @property
    def _connection(self) -> _Connection:
        assert self._open is not None, "begin first"
        return self._open

    def _queue(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= _FLUSH_AT:
            self.flush()

    def _finish(self, trailers: Sequence[tuple[str, str]]) -> None:
        self._pending.append(self._connection.tail(trailers))
        self.flush()
        status = self._answer()
        if status != 202:
            raise ResponseRefusedError(status)

    def _answer(self) -> int:
        status, _, _ = self._connection.receive(time.monotonic() + _ANSWER_SECONDS)
        return status


class RuntimeApi:
    """One client for one Runtime API endpoint ("host:port"), on one connection that is kept while both sides agree."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._connection: _Connection | None = None

    def connection(self) -> _Connection:
        """A connection between two exchanges; a new one when the last exchange did not end cleanly."""
        if self._connection is None or not self._connection.usable():
            self.close()
            try:
                self._connection = _Connection(self._host, self._port)
            except OSError as error:
                raise RuntimeApiError(f"cannot connect: {error}") from error
        return self._connection

    def next(self) -> Invocation:
        """Waits for the next invocation, without a time limit: the environment is frozen meanwhile.

        Raises RuntimeApiError when what comes back is not an invocation.
        """
        connection = self.connection()
        connection.send(connection.head("GET", "invocation/next", []) + connection.tail(()), None)
        status, headers, event = connection.receive(None)
        if status != 200:
            raise RuntimeApiError(f"/next answered {status}")
        return _invocation(headers, event)

    def respond(self, invocation: Invocation) -> ResponseStream:
        """The stream that answers `invocation`."""
        return ResponseStream(self.connection, invocation)

    def fail(self, invocation: Invocation, error_type: str, message: str) -> None:
        """Reports an invocation that cannot even be answered. Only before a response has begun (else 403)."""
        headers = [("Lambda-Runtime-Invocation-Id", invocation.token)] if invocation.token else []
        self._post_error(f"invocation/{invocation.id}/error", error_type, message, headers, request_id=invocation.id)

    def fail_init(self, error_type: str, message: str) -> None:
        """Reports that this process cannot serve at all. The process exits with 1 afterwards."""
        self._post_error("init/error", error_type, message, [])

    def close(self) -> None:
        """Drops the connection; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post_error(
        self, path: str, error_type: str, message: str, headers: list[tuple[str, str]], request_id: str = ""
    ) -> None:
        fields = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": []}
        body = json.dumps(fields).encode()
        connection = self.connection()
        head = connection.head(
            "POST",
            path,
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Lambda-Runtime-Function-Error-Type", error_type),
                *headers,
            ],
        )
        deadline = time.monotonic() + _ANSWER_SECONDS
        connection.send(head + connection.body(body) + connection.tail(()), deadline)
        status, _, _ = connection.receive(deadline)
        if status != 202:
            raise ResponseRefusedError(status)


class _Connection:
    """One TCP connection: h11's state machine, a non-blocking socket, and a wait that knows its end."""

    def __init__(self, host: str, port: int) -> None:
        self._host = f"{host}:{port}"
        self._sock = socket.create_connection((host, port), timeout=_ANSWER_SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self._h11 = h11.Connection(h11.CLIENT)

    def fileno(self) -> int:
        return self._sock.fileno()

    def usable(self) -> bool:
        """Whether both sides are ready for another exchange."""
        states = (self._h11.our_state, self._h11.their_state)
        if states == (h11.DONE, h11.DONE):
            self._h11.start_next_cycle()
        elif states != (h11.IDLE, h11.IDLE):
            return False
        # Between exchanges nothing is due: a readable socket means that the other side closed it.
        return not self.readable()

    def readable(self) -> bool:
        """Whether the service has sent something (or closed)."""
        return bool(_poll(self._sock, select.POLLIN, 0))

    def head(self, method: str, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
        """A request's head, framed."""
        request = h11.Request(
            method=method,
            target=f"/{_VERSION}/runtime/{path}",
            headers=[("Host", self._host), ("User-Agent", "openai-lambda-relay"), *headers],
        )
        return self._h11.send(request) or b""

    def body(self, data: bytes) -> bytes:
        """A body of known length, framed."""
        return self._h11.send(h11.Data(data=data)) or b""

    def tail(self, trailers: Sequence[tuple[str, str]]) -> bytes:
        """The end of a request, framed."""
        return self._h11.send(h11.EndOfMessage(headers=list(trailers))) or b""

    def send(self, data: bytes, deadline: float | None) -> None:
        """Writes all of `data`, waiting for the reader up to `deadline` (monotonic seconds, None: for ever)."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT | select.POLLIN, deadline)
                if self.readable():
                    raise ResponseRefusedError(self.receive(deadline)[0]) from None
            except OSError as error:
                # Who refuses may close at once, with its answer still to be read.
                with contextlib.suppress(RuntimeApiError):
                    raise ResponseRefusedError(self.receive(time.monotonic())[0]) from None
                raise self._gone(f"write failed: {error}") from error

    def receive(self, deadline: float | None) -> tuple[int, Mapping[str, str], bytes]:
        """The answer's status, its headers with lower-case names, and its body."""
        status, headers, body = 0, {}, []
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                # h11's text quotes what came, which may be an event.
                raise self._gone(f"not an HTTP answer: {str(error).partition(':')[0]}") from error
            if event is h11.NEED_DATA:
                self._h11.receive_data(self._read(deadline))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, b"".join(body)
            elif not isinstance(event, h11.InformationalResponse):
                raise self._gone("the connection closed before an answer")

    def close(self) -> None:
        self._sock.close()

    def _read(self, deadline: float | None) -> bytes:
        while True:
            try:
                return self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
            except OSError as error:
                raise self._gone(f"read failed: {error}") from error

    def _wait(self, events: int, deadline: float | None) -> None:
        milliseconds = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
        if not _poll(self._sock, events, milliseconds):
            raise self._gone("no progress before the deadline")

    def _gone(self, why: str) -> RuntimeApiError:
        self._h11.send_failed()
        return RuntimeApiError(why)


def _poll(sock: socket.socket, events: int, milliseconds: int | None) -> list[tuple[int, int]]:
    poller = select.poll()
    poller.register(sock, events)
    return poller.poll(milliseconds)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _error_headers(error_type: str, message: str) -> list[tuple[str, str]]:
    fields = {"errorType": error_type, "errorMessage": message[:_TRAILER_CHARACTERS], "stackTrace": []}
    body = base64.b64encode(json.dumps(fields).encode()).decode()
    return [("Lambda-Runtime-Function-Error-Type", error_type), ("Lambda-Runtime-Function-Error-Body", body)]


def _invocation(headers: Mapping[str, str], event: bytes) -> Invocation:
    request_id = headers.get("lambda-runtime-aws-request-id", "")
    if not _REQUEST_ID.fullmatch(request_id):
        raise RuntimeApiError("/next gave no request id")
    return Invocation(
        id=request_id,
        event=event,
        deadline=time.monotonic() + _seconds_left(headers.get("lambda-runtime-deadline-ms", "")),
        trace_id=headers.get("lambda-runtime-trace-id", ""),
        token=headers.get("lambda-runtime-invocation-id", ""),
    )


def _seconds_left(deadline_ms: str) -> float:
    try:
        return int(deadline_ms) / 1000 - time.time()
    except ValueError:
        return _UNKNOWN_DEADLINE_SECONDS
