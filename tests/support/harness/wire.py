"""HTTP/1.1 as bytes, read strictly: what the relay writes is judged by the letter, not by a lenient library.

Knows heads and chunks. Source: RFC 9112 sections 2, 6 and 7.1. Knows nothing of Lambda.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field

_SIZE_LINE = re.compile(rb"[0-9a-fA-F]+\r\n")


class FramingError(AssertionError):
    """The relay wrote something that is not HTTP/1.1."""


class PeerLeftError(Exception):
    """The peer closed or reset the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request's head. Header names are lower-case; `fields` keeps each line."""

    method: str
    path: str
    fields: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """All values of `name`, joined by commas; "" when there is none."""
        return ", ".join(text for key, text in self.fields if key == name)


def parse_head(data: bytes) -> Head:
    first, *lines = data.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    method, path, version = first.split(" ")
    if version != "HTTP/1.1":
        raise FramingError(first)
    fields = tuple((name.lower(), text.strip()) for name, _, text in (line.partition(":") for line in lines))
    return Head(method=method, path=path, fields=fields)


@dataclass(slots=True)
class ChunkDecoder:
    """Decodes a chunked body however it is cut. `chunks` are those that are complete, `size` is their sum."""

    chunks: list[bytes] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    done: bool = False
    size: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _last_size: bool = False

    @property
    def data(self) -> bytes:
        """Everything received so far, the beginning of an unfinished chunk included."""
        line, _, rest = bytes(self._buffer).partition(b"\r\n")
        partial = b"" if self._last_size or not rest else rest[: int(line, 16)]
        return b"".join(self.chunks) + partial

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while not self.done and (self._trailers() if self._last_size else self._chunk()):
            pass
        if self.done and self._buffer:
            raise FramingError(f"bytes after the end: {bytes(self._buffer[:40])!r}")

    def _chunk(self) -> bool:
        end = self._buffer.find(b"\r\n") + 2
        if end < 2:
            if len(self._buffer) > 16:
                raise FramingError(f"no chunk size: {bytes(self._buffer[:40])!r}")
            return False
        line = bytes(self._buffer[:end])
        if not _SIZE_LINE.fullmatch(line):
            raise FramingError(f"no chunk size: {line!r}")
        size = int(line, 16)
        if size == 0:
            self._last_size = True
            del self._buffer[:end]
            return True
        if len(self._buffer) < end + size + 2:
            return False
        if self._buffer[end + size : end + size + 2] != b"\r\n":
            raise FramingError("a chunk is longer than its size says")
        self.chunks.append(bytes(self._buffer[end : end + size]))
        del self._buffer[: end + size + 2]
        self.size += size
        return True

    def _trailers(self) -> bool:
        line, found, _ = bytes(self._buffer).partition(b"\r\n")
        if not found:
            return False
        del self._buffer[: len(line) + 2]
        if not line:
            self.done = True
            return True
        name, _, text = line.decode("ascii").partition(":")
        self.trailers[name.lower()] = text.strip()
        return True


class Wire:
    """A connection with a buffer for reading. Raises PeerLeftError when the peer is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def head(self) -> Head:
        while (at := self._buffer.find(b"\r\n\r\n")) < 0:
            self._buffer += self._recv(65536)
        data = bytes(self._buffer[: at + 4])
        del self._buffer[: at + 4]
        return parse_head(data)

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._buffer += self._recv(65536)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def some(self, size: int = 65536) -> bytes:
        """What there is, up to `size`."""
        if not self._buffer:
            return self._recv(size)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise PeerLeftError(str(error)) from error

    def reset(self) -> None:
        """RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _recv(self, size: int) -> bytes:
        try:
            data = self.sock.recv(size)
        except OSError as error:
            raise PeerLeftError(str(error)) from error
        if not data:
            raise PeerLeftError("closed")
        return data
