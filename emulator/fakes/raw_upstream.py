"""A stand-in for OpenAI at the level of bytes and sockets, for the faults no well-behaved server can produce.

    with RawUpstream() as upstream:
        upstream.answer(*chat_stream("Hel", "lo"))  # every request from now on
        upstream.answer_next(Send(head(200)), Send(chunk(b"data: x")), Reset())  # the next one only; they queue
        upstream.greet_next(Reset())  # the next connection, before its first request is read
        ... OPENAI_BASE_URL=upstream.url ...
        upstream.wait_for_requests(1)[0].body
        upstream.requests[0].wait_over()  # "done", "peer left", "closed", "reset" or "stopped"

A script is a sequence of steps; after the last one the connection waits for its next request. `tls=` takes a server-side
ssl.SSLContext. One thread per connection; Content-Length and chunked request bodies are understood, and every request
is kept byte for byte. `BlackHole` is an address where connecting hangs.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from emulator.fakes.black_hole import BlackHole
from emulator.fakes.raw_request import GoneError, Recorded, RequestReader
from emulator.fakes.raw_steps import (
    EVENT_STREAM,
    LAST_CHUNK,
    Close,
    Reset,
    Script,
    Send,
    Sleep,
    Stall,
    Step,
    WaitFor,
    chat_chunk,
    chat_events,
    chat_stream,
    chunk,
    head,
    json_answer,
    sse,
)

__all__ = [
    "EVENT_STREAM",
    "LAST_CHUNK",
    "BlackHole",
    "Close",
    "RawUpstream",
    "Recorded",
    "Reset",
    "Script",
    "Send",
    "Sleep",
    "Stall",
    "Step",
    "WaitFor",
    "chat_chunk",
    "chat_events",
    "chat_stream",
    "chunk",
    "head",
    "json_answer",
    "sse",
]


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

    def wait_for_requests(self, count: int, timeout: float = 60.0) -> list[Recorded]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} of {count} requests within {timeout} s")
            return list(self.requests)

    def wait_for_connections(self, count: int, timeout: float = 60.0) -> None:
        """Returns once that many connections have been accepted."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.connections >= count, timeout):
                raise TimeoutError(f"{self.connections} of {count} connections within {timeout} s")

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
            with self._changed:
                self.connections += 1
                self._changed.notify_all()
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            self._play(connection, self._greetings.popleft() if self._greetings else (), bytearray())
            reader = RequestReader(connection)
            while not self._stopping.is_set():
                self._answer(connection, reader, number)
        except (GoneError, OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, reader: RequestReader, number: int) -> None:
        request = reader.read(number)
        with self._changed:
            self.requests.append(request)
            script = self._next.popleft() if self._next else self._default
            self._changed.notify_all()
        ending = "done"
        try:
            self._play(connection, script(request) if callable(script) else script, request.sent)
        except GoneError as gone:
            ending = str(gone)
            raise
        except OSError:
            ending = "peer left"
            raise
        finally:
            request.end(ending)

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
                    raise GoneError("closed")
                case Reset():
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()
                    raise GoneError("reset")

    def _wait(self, connection: socket.socket, done: Callable[[], bool], seconds: float) -> None:
        """Waits, while watching whether the peer leaves. Looks every 10 ms at what cannot be selected on."""
        until = time.monotonic() + seconds
        while not done() and (left := until - time.monotonic()) > 0:
            if self._stopping.is_set():
                raise GoneError("stopped")
            readable, _, _ = select.select([connection], [], [], min(left, 0.01))
            if readable and peer_left(connection):
                raise GoneError("peer left")


def peer_left(connection: socket.socket) -> bool:
    if isinstance(connection, ssl.SSLSocket):
        return connection.recv(1) == b""
    return connection.recv(1, socket.MSG_PEEK) == b""
