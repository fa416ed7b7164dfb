"""A stand-in for OpenAI at the level of bytes and sockets, for the faults no well-behaved server can produce.

    with RawUpstream() as upstream:
        upstream.answer(*chat_stream("Hel", "lo"))              # every request from now on
        upstream.answer_next(Send(head(200)), Send(chunk(b"data: x")), Reset())   # the next one only, queued
        upstream.greet_next(Reset())                            # before the next connection's first request
        is read ... OPENAI_BASE_URL=upstream.url ...
        upstream.requests[0].body; upstream.wait_for_requests(1); upstream.requests[0].wait_over()

A script is a sequence of steps; after the last one the connection waits for its next request. `tls=` takes a
server-side ssl.SSLContext. One thread per connection; Content-Length and chunked request bodies are
understood, and every request is kept byte for byte. `BlackHole` is an address where connecting hangs.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

# -- steps ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """Seconds of silence; ends early when the peer leaves."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence until the peer leaves or the server stops."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Silence until a test sets the event."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Close:
    """FIN, in the middle of whatever was being sent."""


@dataclass(frozen=True, slots=True)
class Reset:
    """RST: what the peer has not read yet may be lost to it."""


Step = Send | Sleep | Stall | WaitFor | Close | Reset
Script = Iterable[Step]

# -- bytes to send -------------------------------------------------------------------------------------------

EVENT_STREAM = (("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked"))
LAST_CHUNK = b"0\r\n\r\n"


def head(status: int = 200, headers: Iterable[tuple[str, str]] = EVENT_STREAM, reason: str = "Whatever") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {text}" for name, text in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sse(payload: object) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def chat_chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> bytes:
    """One chunk of a chat completion's stream, as an SSE event."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {"id": "chatcmpl-raw", "object": "chat.completion.chunk", "created": 1795000000, "model": "gpt-5"}
    return sse({**body, "choices": [choice], **more})


def chat_events(*words: str) -> list[bytes]:
    """The events of a whole chat completion, the [DONE] included."""
    events = [
        chat_chunk({"role": "assistant", "content": ""}),
        *(chat_chunk({"content": word}) for word in words),
    ]
    return [*events, chat_chunk({}, "stop"), b"data: [DONE]\n\n"]


def chat_stream(*words: str, pause: float = 0.0, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """A whole, well-formed streamed answer, one HTTP chunk per event, `pause` seconds before each."""
    steps: list[Step] = [Send(head(headers=(*EVENT_STREAM, *headers)))]
    for event in chat_events(*words):
        steps += [*([Sleep(pause)] if pause else []), Send(chunk(event))]
    return [*steps, Send(LAST_CHUNK)]


def json_answer(status: int, payload: object, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    fixed = (("content-type", "application/json"), ("content-length", str(len(body))))
    return [Send(head(status, (*fixed, *headers))), Send(body)]


# -- the server ----------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Recorded:
    """One request as it came: `raw_head` and `raw_body` are the wire's bytes, `body` is without chunk
    framing.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    raw_head: bytes
    raw_body: bytes
    body: bytes
    connection: int
    at: float
    sent: bytearray = field(default_factory=bytearray)  # the answer so far, as written to the socket
    over: str = ""  # "done", "peer left", "closed", "reset", "stopped"
    over_at: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def header(self, name: str) -> str | None:
        return next((text for key, text in self.headers if key.lower() == name.lower()), None)

    def end(self, how: str) -> None:
        self.over, self.over_at = how, time.monotonic()
        self._over.set()

    def wait_over(self, timeout: float = 5.0) -> str:
        """How the answer ended, once it has. Raises TimeoutError."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"the answer to {self.method} {self.target} is still going on")
        return self.over


class _GoneError(Exception):
    """The connection is over; the text says how."""


class RawUpstream:
    def __init__(self, *, tls: ssl.SSLContext | None = None, path: str = "/v1") -> None:
        self.requests: list[Recorded] = []
        self.connections = 0
        self._tls = tls
        self._path = path
        self._default: Script | Callable[[Recorded], Script] = chat_stream("Hello", " there")
        self._next: deque[Script] = deque()
        self._greetings: deque[Script] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        scheme, host = ("http", "127.0.0.1") if self._tls is None else ("https", "localhost")
        return f"{scheme}://{host}:{self.port}{self._path}"

    def answer(self, *steps: Step) -> None:
        with self._changed:
            self._default = steps

    def answer_with(self, script: Callable[[Recorded], Script]) -> None:
        """Choose the script by looking at the request."""
        with self._changed:
            self._default = script

    def answer_next(self, *steps: Step) -> None:
        with self._changed:
            self._next.append(steps)

    def greet_next(self, *steps: Step) -> None:
        with self._changed:
            self._greetings.append(steps)

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[Recorded]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests within {timeout} s")
            return list(self.requests)

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
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True, name="raw-upstream")
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
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            self._play(connection, self._greetings.popleft() if self._greetings else (), bytearray())
            reader = _RequestReader(connection)
            while not self._stopping.is_set():
                self._answer(connection, reader, number)
        except (_GoneError, OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, reader: _RequestReader, number: int) -> None:
        request = reader.read(number)
        with self._changed:
            self.requests.append(request)
            script = self._next.popleft() if self._next else self._default
            self._changed.notify_all()
        how = "done"
        try:
            self._play(connection, script(request) if callable(script) else script, request.sent)
        except _GoneError as gone:
            how = str(gone)
            raise
        except OSError:
            how = "peer left"
            raise
        finally:
            request.end(how)

    def _play(self, connection: socket.socket, script: Iterable[Step], sent: bytearray) -> None:
        for step in script:
            match step:
                case Send(data):
                    connection.sendall(data)
                    sent += data
                case Sleep(seconds):
                    self._wait(connection, lambda: False, seconds)
                case Stall():
                    self._wait(connection, lambda: False, float("inf"))
                case WaitFor(event):
                    self._wait(connection, event.is_set, float("inf"))
                case Close():
                    connection.close()
                    raise _GoneError("closed")
                case Reset():
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()
                    raise _GoneError("reset")

    def _wait(self, connection: socket.socket, done: Callable[[], bool], seconds: float) -> None:
        """Waits, while watching whether the peer leaves. Looks every 10 ms at what cannot be selected on."""
        until = time.monotonic() + seconds
        while not done() and (left := until - time.monotonic()) > 0:
            if self._stopping.is_set():
                raise _GoneError("stopped")
            readable, _, _ = select.select([connection], [], [], min(left, 0.01))
            if readable and peer_left(connection):
                raise _GoneError("peer left")


def peer_left(connection: socket.socket) -> bool:
    if isinstance(connection, ssl.SSLSocket):
        return connection.recv(1) == b""
    return connection.recv(1, socket.MSG_PEEK) == b""


class _RequestReader:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def read(self, number: int) -> Recorded:
        raw_head = self._until(b"\r\n\r\n")
        first, *lines = raw_head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(name, text.strip()) for name, _, text in (line.partition(":") for line in lines)]
        known = {name.lower(): text for name, text in headers}
        if "chunked" in known.get("transfer-encoding", ""):
            raw_body, body = self._chunked()
        else:
            raw_body = body = self._exactly(int(known.get("content-length", "0")))
        return Recorded(
            method=method,
            target=target,
            headers=headers,
            raw_head=raw_head,
            raw_body=raw_body,
            body=body,
            connection=number,
            at=time.monotonic(),
        )

    def _chunked(self) -> tuple[bytes, bytes]:
        raw, body = bytearray(), bytearray()
        while True:
            line = self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            data = self._exactly(size + 2)
            raw += line + data
            body += data[:size]
            if size == 0:
                return bytes(raw), bytes(body)

    def _until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            self._fill()
        return self._take(at + len(end))

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self) -> None:
        data = self._connection.recv(64 * 1024)
        if not data:
            raise _GoneError("peer left")
        self._buffer += data


class BlackHole:
    """An address where a connection attempt neither succeeds nor fails: a listener whose queue is full
    (Linux).
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._filling: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._filling.append(filler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for filler in self._filling:
            filler.close()
        self._listener.close()
