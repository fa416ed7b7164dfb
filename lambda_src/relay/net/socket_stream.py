"""A connected socket as a stream that waits nowhere but in a `Wait`, and the bodies of HTTP/1.1 responses in it.

Knows sockets and where a plain response body lies (`chunked_body`); the head before it and all that is odd is read by an
HTTP library above. Raises OSError where the connection fails, and what the wait raises.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable

from relay.net.chunked_body import MOST_INTERIM, AnswerFraming
from relay.net.wait import Wait

# What is written waits for more up to this size, and until the response is read: a prompt of some pages and its head.
_HELD_BYTES = 16_384
# As httpcore reads.
_READ_BYTES = 65_536


class SocketStream:
    """One connection. `wait` gives the wait of the invocation at hand, which is another one at each exchange."""

    def __init__(self, sock: socket.socket, wait: Callable[[], Wait]) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._wait = wait
        self._framing = AnswerFraming()
        self._early_body = b""
        self._unsent = b""

    def read(self, max_bytes: int) -> bytes:
        """The head of a response, and of its body what `read_body` leaves. b"" when the peer has closed."""
        with contextlib.suppress(OSError):
            # As httpcore does: a peer that refuses to read on may have said why, and that is to be read next.
            self._send_held()
        while not (rest := self._framing.take_rest()) and (data := self._receive(max_bytes)):
            self._early_body += self._framing.feed(data)
        if self._framing.interim > MOST_INTERIM:
            raise OSError(f"more than {MOST_INTERIM} informational responses")
        return rest

    def read_body(self) -> bytes:
        """Body of the response of which the head was read; b"" when all that may follow is for `read`."""
        body, self._early_body = self._early_body, b""
        while not body and self._framing.in_body and (data := self._receive(_READ_BYTES)):
            body = self._framing.feed(data)
        return body

    def _receive(self, max_bytes: int) -> bytes:
        """Waits for bytes; b"" when the peer has closed."""
        wait = self._wait()
        while True:
            # What the TLS layer holds decrypted, poll(2) no longer sees.
            if self.tls is None or not self.tls.pending():
                wait.readable(self.sock.fileno())
            try:
                return self.sock.recv(max_bytes)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue  # half a TLS record, or a socket that only seemed readable
            except ssl.SSLWantWriteError:
                wait.writable(self.sock.fileno())

    def write(self, data: bytes) -> None:
        """Sends `data`, at the latest when the response is read. What is read after this belongs to another response."""
        self._framing, self._early_body = AnswerFraming(), b""
        if len(self._unsent) + len(data) <= _HELD_BYTES:
            # Head and body come one after the other: together they take one packet and wake the other side once.
            self._unsent += data
            return
        self._send_held()
        self._send(data)

    def _send_held(self) -> None:
        held, self._unsent = self._unsent, b""
        self._send(held)

    def _send(self, data: bytes) -> None:
        wait = self._wait()
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                wait.writable(self.sock.fileno())
            except ssl.SSLWantReadError:
                wait.readable(self.sock.fileno())

    def close(self) -> None:
        """Closes the connection."""
        self.sock.close()

    def is_reusable(self) -> bool:
        """Of an idle connection, where nothing is due: whether it is open and to be trusted. What came already, behind the
        last response, counts too."""
        return self._framing.exact and not self.has_news()

    def has_news(self) -> bool:
        """Whether the peer has sent something or closed, where nothing is due. (TLS 1.3 session tickets also make the bare
        socket readable; the TLS layer swallows them, so it is asked.)"""
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True
