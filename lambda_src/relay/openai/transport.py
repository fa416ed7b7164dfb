"""The connection to OpenAI below the HTTP library: httpcore's network backend over plain sockets.

Knows httpcore and sockets; httpcore's exceptions are raised here and end in `client`. What blocks, blocks in the `Wait` of the
invocation at hand. A successor of httpcore takes a backend of the same shape.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from relay.net import connect
from relay.net.chunked_body import MOST_INTERIM, ResponseFraming
from relay.net.wait import Wait

# DNS, TCP and TLS together. OpenAI's edge answers in tens of milliseconds; 4 s is one lost SYN and its retries.
CONNECT_SECONDS = 4.0
# An idle connection is used again only within this time, on the wall clock: the environment may have been frozen
# meanwhile, and a connection that its peer or a NAT has forgotten swallows a POST without a word.
IDLE_SECONDS = 3.0
# Unacknowledged bytes on a dead path end the connection after this time instead of at the deadline (tcp(7)).
_UNACKNOWLEDGED_MS = 5000
# What is written waits for more up to this size, and until the response is read: a prompt of some pages and its head.
_HELD_BYTES = 16_384
# As httpcore reads.
_READ_BYTES = 65_536


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
            return stream or NetworkStream(_connect(host, port, self.connecting), self)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def _take_ahead(self) -> NetworkStream | None:
        """What was connected ahead, if it is as good as a new connection. Its failure is no reason not to try anew."""
        if self._ahead is None or not self._is_fresh():
            self.drop_ahead()
            return None
        ahead, self._ahead = self._ahead, None
        sock = ahead.take(self.connecting)
        stream = None if sock is None else NetworkStream(sock, self)
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
    """One connection as httpcore takes it, non-blocking, and the bodies of the responses in it.

    httpcore reads the head of a response and all that is odd; where a plain body lies, `chunked_body` knows. What is read
    or written waits in the backend's `wait`, which is another one at each exchange.
    """

    def __init__(self, sock: socket.socket, backend: Backend) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._backend = backend
        self._framing = ResponseFraming()
        self._early_body = b""
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The head of a response, and of its body what `read_body` leaves. b"" when the peer has closed."""
        with contextlib.suppress(httpcore.WriteError):
            # As httpcore does: a peer that refuses to read on may have said why, and that is to be read next.
            self._send_held()
        while not (rest := self._framing.take_rest()) and (data := self._receive(max_bytes)):
            self._early_body += self._framing.feed(data)
        if self._framing.interim > MOST_INTERIM:
            raise httpcore.ReadError(f"more than {MOST_INTERIM} informational responses")
        return rest

    def read_body(self) -> bytes:
        """Body of the response of which the head was read; b"" when all that may follow is for httpcore to read."""
        body, self._early_body = self._early_body, b""
        while not body and self._framing.in_body and (data := self._receive(_READ_BYTES)):
            body = self._framing.feed(data)
        return body

    def _receive(self, max_bytes: int) -> bytes:
        """Waits for bytes; b"" when the peer has closed."""
        wait = self._backend.wait
        try:
            while True:
                # What the TLS layer holds decrypted, poll(2) no longer sees.
                if self._tls is None or not self._tls.pending():
                    wait.readable(self._sock.fileno())
                try:
                    return self._sock.recv(max_bytes)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue  # half a TLS record, or a socket that only seemed readable
                except ssl.SSLWantWriteError:
                    wait.writable(self._sock.fileno())
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends, at the latest when the response is read. What is read after this belongs to another response."""
        if not self._unsent:
            self._framing, self._early_body = ResponseFraming(), b""
        if len(self._unsent) + len(buffer) <= _HELD_BYTES:
            # Head and body come one after the other: together they take one packet and wake the other side once.
            self._unsent += buffer
            return
        self._send_held()
        self._send(buffer)

    def _send_held(self) -> None:
        held, self._unsent = self._unsent, b""
        self._send(held)

    def _send(self, data: bytes) -> None:
        wait = self._backend.wait
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[self._sock.send(view) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    wait.writable(self._sock.fileno())
                except ssl.SSLWantReadError:
                    wait.readable(self._sock.fileno())
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Closes the connection."""
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection under TLS."""
        if self._tls is not None:
            return self  # connected ahead, with the same context and for the same name
        try:
            tls = connect.wrap_tls(self._sock, ssl_context, server_hostname, self._backend.connecting)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the TLS handshake took too long") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return NetworkStream(tls, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """As httpcore asks: of an idle connection, "is_readable" means that it is not to be used again."""
        if info == "is_readable":
            # What came already, behind the last response, counts too.
            return not self._framing.exact or self.has_news()
        if info == "ssl_object":
            return self._tls
        return self._sock if info == "socket" else None

    def has_news(self) -> bool:
        """Whether the peer has sent something or closed, where nothing is due. (TLS 1.3 session tickets also make the bare
        socket readable; the TLS layer swallows them, so it is asked.)"""
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True
