"""A request as it comes over a raw socket, kept byte for byte, and the story of its answer."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field


class GoneError(Exception):
    """The connection is over; the text says how."""


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

    def wait_over(self, timeout: float = 60.0) -> str:
        """How the answer ended, once it has. Raises TimeoutError."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"the answer to {self.method} {self.target} is still going on")
        return self.over


class RequestReader:
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
            raise GoneError("peer left")
        self._buffer += data
