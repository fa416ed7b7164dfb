"""A Runtime API on a raw socket that plays a script, for the faults no well-behaved service shows.

    with ScriptedRuntimeApi() as api:
        ... AWS_LAMBDA_RUNTIME_API=api.address ...
        exchange = api.invoke(event, deadline=5.0)                       # taken whole, answered 202
        exchange = api.invoke(event, reader=EarlyAnswer(410, after=100))
        api.answer_next(b"HTTP/1.1 500 No\\r\\nContent-Length: 0\\r\\n\\r\\n")  # instead of an invocation

One thread per connection. Every rule of the wire that the relay breaks raises FramingError, kept in `broken_rules`.
Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and runtimes-custom.html.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.harness.exchange import Exchange
from tests.support.harness.wire import FramingError, Head, PeerLeftError, Wire

# -- how a response is read


@dataclass(frozen=True, slots=True)
class Take:
    """Read to the end, then answer `status`; `answer` replaces the response's bytes."""

    status: int = 202
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class EarlyAnswer:
    """Answer as soon as `after` bytes are there, read no more, and keep the connection open until the relay leaves."""

    status: int
    after: int = 1


@dataclass(frozen=True, slots=True)
class EarlyAnswerAndClose:
    """Answer as soon as `after` bytes are there, and close."""

    status: int
    after: int = 1


@dataclass(frozen=True, slots=True)
class ResetAfter:
    """RST as soon as `after` bytes are there."""

    after: int = 1


@dataclass(frozen=True, slots=True)
class StallAfter:
    """Stop reading after `after` bytes."""

    after: int = 1


@dataclass(frozen=True, slots=True)
class Slow:
    """Read `size` bytes, wait `pause` seconds, and so on; then answer 202."""

    size: int
    pause: float


@dataclass(frozen=True, slots=True)
class Discard:
    """Read to the end without keeping anything, then answer 202: for answers of a hundred megabytes."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Read to the end, and never answer."""


Reader = Take | EarlyAnswer | EarlyAnswerAndClose | ResetAfter | StallAfter | Slow | Discard | Mute

# -- what /next gives


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handout:
    """An invocation, or (without an exchange) just bytes, after which the connection is closed."""

    data: bytes
    exchange: Exchange | None = None


class ScriptedRuntimeApi:
    """See the module. `reader` of an exchange is chosen when it is invoked."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, Any]]] = []
        self.broken_rules: list[str] = []
        self.next_calls = 0
        self.connections = 0
        self._waiting = 0
        self._handouts: deque[_Handout] = deque()
        self._exchanges: dict[str, tuple[Exchange, Reader]] = {}
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def address(self) -> str:
        """For AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def invoke(
        self,
        event: bytes,
        *,
        deadline: float | None = 10.0,
        reader: Reader | None = None,
        request_id: str = "",
        token: str = "",
    ) -> Exchange:
        """Hands `event` to the next /next. `deadline` is in seconds from now, None leaves the header out."""
        exchange = Exchange(request_id or f"8f507cfc-xmpl-4697-b07a-{next(self._ids):012d}")
        fields = [
            ("Lambda-Runtime-Aws-Request-Id", exchange.id),
            ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0"),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:relay"),
        ]
        if deadline is not None:
            fields.append(("Lambda-Runtime-Deadline-Ms", str(int((time.time() + deadline) * 1000))))
        if token:
            fields.append(("Lambda-Runtime-Invocation-Id", token))
        data = answer(200, event, fields)
        with self._changed:
            self._exchanges[exchange.id] = (exchange, reader or Take())
            self._handouts.append(_Handout(data=data, exchange=exchange))
            self._changed.notify_all()
        return exchange

    def answer_next(self, data: bytes) -> None:
        """Answers one /next with exactly `data` and closes the connection; b"" just closes it."""
        with self._changed:
            self._handouts.append(_Handout(data=data))
            self._changed.notify_all()

    def wait_next(self, calls: int, timeout: float = 60.0) -> None:
        """Returns when /next has been asked `calls` times in all."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.next_calls >= calls, timeout):
                raise TimeoutError(f"/next was asked {self.next_calls} times, not {calls}, within {timeout} s")

    def wait_idle(self, timeout: float) -> bool:
        """Whether a /next waits for an invocation, now or soon."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting > 0 and not self._handouts, timeout)

    def wait_errors(self, count: int, timeout: float = 60.0) -> list[tuple[str, dict[str, Any]]]:
        """The errors reported so far, once there are `count`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.errors) >= count, timeout):
                raise TimeoutError(f"{len(self.errors)} of {count} errors within {timeout} s")
            return list(self.errors)

    def drop_connections(self) -> None:
        """Closes every connection, as a service does that does not keep idle ones."""
        with self._changed:
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(5)

    # -- the server

    def _start(self, work: Any, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True, name="scripted-runtime-api")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        wire = Wire(connection)
        try:
            while not self._stopping.is_set():
                self._route(wire, wire.head())
        except PeerLeftError:
            pass
        except (FramingError, ValueError, OSError) as error:
            if not self._stopping.is_set():
                self.broken_rules.append(f"{type(error).__name__}: {error}")
        finally:
            self._open.discard(connection)
            connection.close()

    def _route(self, wire: Wire, head: Head) -> None:
        parts = head.path.removeprefix("/2018-06-01/runtime/").split("/")
        match (head.method, parts):
            case ("GET", ["invocation", "next"]):
                self._next(wire)
            case ("POST", ["invocation", request_id, "response"]) if request_id in self._exchanges:
                self._response(wire, head, *self._exchanges[request_id])
            case ("POST", [*_, "error"]):
                self._error(wire, head, parts)
            case _:
                raise FramingError(f"{head.method} {head.path}")

    def _next(self, wire: Wire) -> None:
        with self._changed:
            self.next_calls += 1
            self._waiting += 1
            self._changed.notify_all()
        try:
            while not (handout := self._handout(wire)):
                pass
        finally:
            with self._changed:
                self._waiting -= 1
        if handout.exchange is not None:
            handout.exchange.handed_out()
        wire.send(handout.data)
        if handout.exchange is None:
            raise PeerLeftError("closed by the script")

    def _handout(self, wire: Wire) -> _Handout | None:
        """The next one, or None after a while. Raises PeerLeftError when nobody waits for it any more."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._handouts), 0.02)
            if self._stopping.is_set() or _left(wire.sock):
                raise PeerLeftError("while waiting for an invocation")
            return self._handouts.popleft() if self._handouts else None

    def _error(self, wire: Wire, head: Head, parts: list[str]) -> None:
        error = json.loads(wire.exactly(int(head.header("content-length"))))
        error["headerType"] = head.header("lambda-runtime-function-error-type")
        with self._changed:
            self.errors.append((head.path, error))
            self._changed.notify_all()
        if parts[0] == "invocation":
            exchange, reader = self._exchanges[parts[1]]
            exchange.failed(error)
            wire.send(answer(reader.status if isinstance(reader, Take) else 202))
            exchange.ended("error")
        else:
            wire.send(answer(202))

    def _response(self, wire: Wire, head: Head, exchange: Exchange, reader: Reader) -> None:
        exchange.started(head)
        try:
            exchange.ended(_play(wire, exchange, reader))
        except PeerLeftError:
            exchange.ended("relay left")
            raise
        except FramingError as error:
            exchange.ended(f"broken rule: {error}")
            raise
        if not isinstance(reader, Take | Slow | Discard):
            raise PeerLeftError("closed by the script")


def answer(status: int, body: bytes = b"{}", fields: list[tuple[str, str]] | None = None) -> bytes:
    """An HTTP answer, framed by its length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name}: {text}" for name, text in fields or []]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _play(wire: Wire, exchange: Exchange, reader: Reader) -> str:
    """Reads the response as `reader` says; returns how it ended."""
    match reader:
        case Take(status, custom):
            _read_to_end(wire, exchange)
            wire.send(custom or answer(status))
            return f"answered {status}"
        case EarlyAnswer(status, after):
            _read_until(wire, exchange, after)
            wire.send(answer(status))
            exchange.ended(f"answered {status}")
            _wait_left(wire)
        case EarlyAnswerAndClose(status, after):
            _read_until(wire, exchange, after)
            wire.send(answer(status))
            return f"answered {status}"
        case ResetAfter(after):
            _read_until(wire, exchange, after)
            wire.reset()
            return "reset"
        case StallAfter(after):
            _read_until(wire, exchange, after)
            # The relay's FIN waits behind what is not read, so that its leaving cannot be seen here.
            exchange.ended("stalled")
            _wait_left(wire)
        case Slow(size, pause):
            while not exchange.complete:
                exchange.fed(wire.some(size))
                time.sleep(pause)
            wire.send(answer(202))
            return "answered 202"
        case Discard():
            exchange.discarded = _discard(wire)
            wire.send(answer(202))
            return "answered 202"
        case Mute():
            _read_to_end(wire, exchange)
            _wait_left(wire)
    return "relay left"


def _read_to_end(wire: Wire, exchange: Exchange) -> None:
    while not exchange.complete:
        exchange.fed(wire.some())


def _discard(wire: Wire) -> int:
    """Reads until the last chunk of a response without trailers; returns how many bytes that were, framing included."""
    size, tail = 0, b""
    while not tail.endswith(b"\r\n0\r\n\r\n"):
        data = wire.some(1 << 20)
        size, tail = size + len(data), (tail + data)[-7:]
    return size


def _read_until(wire: Wire, exchange: Exchange, size: int) -> None:
    while not exchange.complete and exchange.fed(wire.some(4096)) < size:
        pass


def _left(sock: socket.socket) -> bool:
    """Whether the peer has closed, whatever is still unread before that."""
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    return bool(poller.poll(0))


def _wait_left(wire: Wire) -> None:
    poller = select.poll()
    poller.register(wire.sock, select.POLLRDHUP)
    poller.poll(60_000)
