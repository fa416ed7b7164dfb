"""As much of HTTP/1.1 as the fakes need, on blocking sockets: they must cost less than what they measure."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
EXPECTS = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
READ = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body; `rest` is what was read beyond the head."""

    method: str
    path: str
    raw: bytes
    rest: bytes


def read_head(connection: socket.socket, rest: bytes = b"") -> Head | None:
    """None when the peer has closed the connection."""
    while b"\r\n\r\n" not in rest:
        piece = connection.recv(READ)
        if not piece:
            return None
        rest += piece
    raw, rest = rest.split(b"\r\n\r\n", 1)
    if EXPECTS.search(raw):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    method, path, _ = raw.split(b"\r\n", 1)[0].split(b" ")
    return Head(method=method.decode(), path=path.decode(), raw=raw, rest=rest)


def read_body(connection: socket.socket, head: Head) -> tuple[bytes, bytes]:
    """A body with a content length, and what was read beyond it."""
    found = LENGTH.search(head.raw)
    wanted = int(found.group(1)) if found else 0
    body = head.rest
    while len(body) < wanted:
        piece = connection.recv(READ)
        if not piece:
            raise ConnectionError("the request broke off")
        body += piece
    return body[:wanted], body[wanted:]


def dechunk(raw: bytes) -> bytes:
    """The content of a chunked body. Raises ValueError when it is malformed or not complete."""
    pieces: list[bytes] = []
    at = 0
    while True:
        line = raw.index(b"\r\n", at)
        size = int(raw[at:line].split(b";")[0], 16)
        if size == 0:
            return b"".join(pieces)
        end = line + 2 + size
        if raw[end : end + 2] != b"\r\n":
            raise ValueError(f"chunk of {size} bytes at {at} is not followed by CRLF")
        pieces.append(raw[line + 2 : end])
        at = end + 2


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(body)}", "content-type: application/json", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def serve(listener: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    """One thread for each connection, until the process is killed."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_handle, args=(connection, handle), daemon=True).start()


def _handle(connection: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    with connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handle(connection)
        except OSError:  # the competitor was stopped
            pass


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=64)
