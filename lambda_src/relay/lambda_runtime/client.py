"""Lambda's Runtime API on the wire. Knows HTTP and AWS's header names; knows nothing of events, OpenAI or the loop.

Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and runtimes-custom.html (response streaming), and what
AWS's own streaming client (aws-lambda-ric for Node) puts on the wire. Nothing that is written here needs escaping: what
comes from the service (an id, a token) has passed `http1` or a pattern, the rest is the relay's own.
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

from relay.frozen import Frozen
from relay.net.http1_response import BadResponseError, ResponseReader

_VERSION = "2018-06-01"
_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
_TRAILERS = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
_READ_SIZE = 65536
# Written chunks wait for one another until the reader is about to block; beyond this they go out at once.
_FLUSH_AT = 65536
# The API is on the loopback of the same machine: an answer that takes longer than this is not coming.
_ANSWER_SECONDS = 5.0
# Of an answer. Lambda's events have 6 MB (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
_MOST_BYTES = 1 << 26
# Of an error's text as a trailer; the text itself is in the stream. AWS names no limit.
_TRAILER_CHARACTERS = 1000
# An id becomes a part of a path; AWS's are UUIDs.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
# What a missing deadline header is taken for. AWS always sends one.
_UNKNOWN_DEADLINE_SECONDS = 60.0
_ARRIVAL = select.POLLIN
_ARRIVAL_OR_ROOM = select.POLLIN | select.POLLOUT

Headers = Sequence[tuple[str, str]]


class Invocation(Frozen):
    """One call of the function. `deadline` is on time.monotonic()'s clock, in seconds; the process is killed then."""

    id: str
    event: bytes
    deadline: float
    trace_id: str = ""
    # Echoed so that the service can tell a late answer from the current one; absent on older service versions.
    token: str = ""


class StoppedError(Exception):
    """The process was told to stop while it waited for work."""


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

    def __init__(self, connect: Callable[[], _Connection], head: bytes, deadline: float) -> None:
        self._connect = connect
        self._open: _Connection | None = None
        self._fd = -1
        self._head = head
        self._deadline = deadline
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
        return self._fd

    def begin(self, prelude: bytes) -> None:
        """Starts the streamed answer with `prelude`, which ends with eight NULs."""
        self._open = self._connect()
        self._fd = self._open.fileno()
        self._open.begin()
        self._queue(self._head + _chunk(prelude))

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
            self._connection.send(data, self._deadline)

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

    def _finish(self, trailers: Headers) -> None:
        self._pending.append(b"0\r\n" + _lines(trailers) + b"\r\n")
        self.flush()
        self._connection.finish()
        status = self._answer()
        if status != 202:
            raise ResponseRefusedError(status)

    def _answer(self) -> int:
        return self._connection.receive(time.monotonic() + _ANSWER_SECONDS).status


class RuntimeApi:
    """One client for one Runtime API endpoint ("host:port"), on one connection that is kept while both sides agree."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        common = _lines([("Host", address), ("User-Agent", "openai-lambda-relay")])
        self._common = common
        self._next = _request_line("GET", "invocation/next") + common + b"\r\n"
        self._streamed = common + _lines(
            [
                ("Lambda-Runtime-Function-Response-Mode", "streaming"),
                ("Transfer-Encoding", "chunked"),
                ("Content-Type", _CONTENT_TYPE),
                ("Trailer", _TRAILERS),
            ]
        )
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

    def next(self, stop_fd: int = -1) -> Invocation:
        """Waits for the next invocation, without a time limit: the environment is frozen meanwhile.

        Raises StoppedError when `stop_fd` becomes readable before one comes, RuntimeApiError when what comes back is
        not an invocation.
        """
        connection = self.connection()
        connection.ask(self._next, None)
        if not connection.arrives_before(stop_fd):
            raise StoppedError
        answer = connection.arrived(time.monotonic() + _ANSWER_SECONDS)
        if answer.status != 200:
            raise RuntimeApiError(f"/next answered {answer.status}")
        return _invocation(answer.headers, answer.body)

    def respond(self, invocation: Invocation) -> ResponseStream:
        """The stream that answers `invocation`."""
        line = _request_line("POST", f"invocation/{invocation.id}/response")
        return ResponseStream(
            self.connection, line + self._streamed + _lines(_token(invocation)) + b"\r\n", invocation.deadline
        )

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

    def _post_error(self, path: str, error_type: str, message: str, headers: Headers, request_id: str = "") -> None:
        fields = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": []}
        body = json.dumps(fields).encode()
        head = _lines(
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Lambda-Runtime-Function-Error-Type", error_type),
                *headers,
            ]
        )
        request = _request_line("POST", path) + self._common + head + b"\r\n" + body
        status = self.connection().exchange(request, time.monotonic() + _ANSWER_SECONDS).status
        if status != 202:
            raise ResponseRefusedError(status)


class _Connection:
    """One TCP connection: a non-blocking socket, a wait that knows its end, and whether the last exchange was whole."""

    def __init__(self, host: str, port: int) -> None:
        self._sock = socket.create_connection((host, port), timeout=_ANSWER_SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self._pollers = {events: _poller(self._sock, events) for events in (_ARRIVAL, _ARRIVAL_OR_ROOM)}
        self._beside: tuple[int, select.poll] | None = None
        self._sent = self._answered = True

    def fileno(self) -> int:
        return self._sock.fileno()

    def usable(self) -> bool:
        """Whether both sides are ready for another exchange."""
        # Between exchanges nothing is due: a readable socket means that the other side closed it.
        return self._sent and self._answered and not self.readable()

    def readable(self) -> bool:
        """Whether the service has sent something (or closed)."""
        return bool(self._pollers[_ARRIVAL].poll(0))

    def begin(self) -> None:
        """A request is about to be sent. No other may be, until this one is finished and its answer read."""
        self._sent = self._answered = False

    def finish(self) -> None:
        """All of the request was sent."""
        self._sent = True

    def exchange(self, request: bytes, deadline: float | None) -> ResponseReader:
        """Sends a whole request and waits for its answer."""
        self.ask(request, deadline)
        return self.receive(deadline)

    def ask(self, request: bytes, deadline: float | None) -> None:
        """Sends a whole request."""
        self.begin()
        self.send(request, deadline)
        self.finish()

    def arrives_before(self, other_fd: int) -> bool:
        """Waits until there is something to read here or in `other_fd`; whether it is here."""
        if self._beside is None or self._beside[0] != other_fd:
            poller = _poller(self._sock, _ARRIVAL)
            if other_fd >= 0:
                poller.register(other_fd, _ARRIVAL)
            self._beside = other_fd, poller
        return any(fd != other_fd for fd, _ in self._beside[1].poll())

    def send(self, data: bytes, deadline: float | None) -> None:
        """Writes all of `data`, waiting for the reader up to `deadline` (monotonic seconds, None: for ever)."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                self._wait(_ARRIVAL_OR_ROOM, deadline)
                if self.readable():
                    raise ResponseRefusedError(self.receive(deadline).status) from None
            except OSError as error:
                # Who refuses may close at once, with its answer still to be read.
                with contextlib.suppress(RuntimeApiError):
                    raise ResponseRefusedError(self.receive(time.monotonic()).status) from None
                raise RuntimeApiError(f"write failed: {error}") from error

    def receive(self, deadline: float | None) -> ResponseReader:
        """Waits for the answer; complete."""
        self._wait(_ARRIVAL, deadline)
        return self.arrived(deadline)

    def arrived(self, deadline: float | None) -> ResponseReader:
        """The answer of which the first bytes are there; complete."""
        answer = ResponseReader(_MOST_BYTES)
        try:
            while not answer.feed(self._read(deadline)):
                pass
        except BadResponseError as error:
            raise RuntimeApiError(str(error)) from error
        self._answered = answer.reusable
        return answer

    def close(self) -> None:
        self._sock.close()

    def _read(self, deadline: float | None) -> bytes:
        while True:
            try:
                return self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                self._wait(_ARRIVAL, deadline)
            except OSError as error:
                raise RuntimeApiError(f"read failed: {error}") from error

    def _wait(self, events: int, deadline: float | None) -> None:
        milliseconds = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
        if not self._pollers[events].poll(milliseconds):
            raise RuntimeApiError("no progress before the deadline")


def _poller(sock: socket.socket, events: int) -> select.poll:
    poller = select.poll()
    poller.register(sock, events)
    return poller


def _request_line(method: str, path: str) -> bytes:
    return f"{method} /{_VERSION}/runtime/{path} HTTP/1.1\r\n".encode()


def _lines(headers: Headers) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")


def _token(invocation: Invocation) -> Headers:
    return [("Lambda-Runtime-Invocation-Id", invocation.token)] if invocation.token else []


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _error_headers(error_type: str, message: str) -> Headers:
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
