"""The connection to OpenAI below the HTTP library: httpcore's network backend over the relay's own sockets.

Knows httpcore; its exceptions are raised here and end in `client`. What blocks, blocks in the `Wait` of the invocation at
hand. A successor of httpcore takes a backend of the same shape.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from relay.net import connect
from relay.net.socket_stream import SocketStream
from relay.net.wait import Wait

# DNS, TCP and TLS together. OpenAI's edge answers in tens of milliseconds; 4 s is one lost SYN and its retries.
CONNECT_SECONDS = 4.0
# An idle connection is used again only within this time, on the wall clock: the environment may have been frozen
# meanwhile, and a connection that its peer or a NAT has forgotten swallows a POST without a word.
IDLE_SECONDS = 3.0
# Unacknowledged bytes on a dead path end the connection after this time instead of at the deadline (tcp(7)).
_UNACKNOWLEDGED_MS = 5000


class Backend(httpcore.NetworkBackend):
    """Connects while `connecting` lasts, resolver included, or takes what was connected ahead; what it returns waits in
    `wait`."""

    wait: Wait
    connecting: Wait

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead: connect.Ahead | None = None
        self._ahead_since = 0.0

    def connect_ahead(self, host: str, port: int, tls_context: ssl.SSLContext | None) -> None:
        if self._ahead is not None and self._is_fresh():
            return
        self.drop_ahead()
        wait = Wait(deadline=time.monotonic() + CONNECT_SECONDS)

        def make() -> socket.socket:
            sock = _connect(host, port, wait)
            return sock if tls_context is None else connect.wrap_tls(sock, tls_context, host, wait)

        self._ahead, self._ahead_since = connect.Ahead(make), self._clock()

    def drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.drop()
            self._ahead = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._take_ahead()
        try:
            return NetworkStream(stream or self._stream(_connect(host, port, self.connecting)), self)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def _stream(self, sock: socket.socket) -> SocketStream:
        return SocketStream(sock, lambda: self.wait)

    def wrap(self, sock: socket.socket, context: ssl.SSLContext, host: str | None) -> NetworkStream:
        """`sock` under TLS, verified for `host`."""
        return NetworkStream(self._stream(connect.wrap_tls(sock, context, host, self.connecting)), self)

    def _take_ahead(self) -> SocketStream | None:
        """What was connected ahead, if it is as good as a new connection. Its failure is no reason not to try anew."""
        if self._ahead is None or not self._is_fresh():
            self.drop_ahead()
            return None
        ahead, self._ahead = self._ahead, None
        sock = ahead.take(self.connecting)
        stream = None if sock is None else self._stream(sock)
        if stream is not None and stream.has_news():
            stream.close()
            return None
        return stream

    def _is_fresh(self) -> bool:
        # On the wall clock, because the environment may have been frozen meanwhile.
        return 0.0 <= self._clock() - self._ahead_since <= IDLE_SECONDS


def _connect(host: str, port: int, wait: Wait) -> socket.socket:
    sock = connect.connect(host, port, wait)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; the tools also run on macOS
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    return sock


class NetworkStream(httpcore.NetworkStream):
    """A `SocketStream` as httpcore takes it."""

    def __init__(self, sockets: SocketStream, backend: Backend) -> None:
        self.sockets = sockets
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What httpcore is to read: b"" when the peer has closed."""
        try:
            return self.sockets.read(max_bytes)
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def read_body(self) -> bytes:
        """Body that goes past httpcore; b"" when all that may follow is for httpcore to read."""
        try:
            return self.sockets.read_body()
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends, at the latest when the response is read."""
        try:
            self.sockets.write(buffer)
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Closes the connection."""
        self.sockets.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection under TLS."""
        if self.sockets.tls is not None:
            return self  # connected ahead, with the same context and for the same name
        try:
            return self._backend.wrap(self.sockets.sock, ssl_context, server_hostname)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the TLS handshake took too long") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        """As httpcore asks: of an idle connection, "is_readable" means that it is not to be used again."""
        if info == "is_readable":
            return not self.sockets.is_reusable()
        if info == "ssl_object":
            return self.sockets.tls
        return self.sockets.sock if info == "socket" else None
