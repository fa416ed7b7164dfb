"""Joins the HTTP chunks of an answer that arrived together into one, before the HTTP library sees them. Pure.

h11 and httpcore spend some 12 us on every chunk they take apart, which is three quarters of what a fast stream costs.
Chunk boundaries mean nothing (RFC 9112, section 7.1), so what one read has brought is framed anew as one chunk. No byte
is held back but an unfinished size line. Whatever is not plainly well-formed is passed on as it is, from there to the
end, so that the library alone judges it.

Reading along, it also knows whether a connection has brought exactly one answer. The library keeps what comes after one
and takes it for the beginning of the next, which is another caller's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_HEAD_END = b"\r\n\r\n"
# Where the library sees a head end: a bare LF will do for it (RFC 9112, section 2.2).
_LENIENT_HEAD_END = re.compile(rb"\n\r?\n")
# A head longer than httpcore takes (100 KB); one that ends otherwise than by CRLF CRLF is never seen to end.
_HEAD_BYTES = 1 << 17
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
# Fifteen digits, because sixteen could be more than any real length; extensions are left to the library.
_FIRST = re.compile(rb"([0-9a-fA-F]{1,15})\r\n")
_NEXT = re.compile(rb"\r\n([0-9a-fA-F]{1,15})\r\n")
_UNFINISHED_FIRST = re.compile(rb"[0-9a-fA-F]{0,15}\r?")
_UNFINISHED_NEXT = re.compile(rb"\r?|\r\n[0-9a-fA-F]{0,15}\r?")


class AnswerJoiner:
    """One answer's bytes, from its head on: `feed` takes what was read and returns what the library is to read."""

    def __init__(self) -> None:
        self.feed: Callable[[bytes], bytes] = self._head
        self._seen = b""
        self._held = b""
        self._left = 0
        self._first = True

    @property
    def exact(self) -> bool:
        """Whether what came is one whole answer and not a byte more. False where that cannot be told."""
        if self.feed == self._counted:
            return self._left == 0
        return self.feed == self._after_last and self._seen == _LAST_CHUNK

    def _head(self, data: bytes) -> bytes:
        before = len(self._seen)
        self._seen += data
        end = self._seen.find(_HEAD_END, max(0, before - 3))
        if end < 0:
            if len(self._seen) > _HEAD_BYTES:
                self.feed = _as_it_is
            return data
        end += len(_HEAD_END)
        head, rest = self._seen[:end], self._seen[end:]
        self._seen = b""
        if head.startswith(b"HTTP/1.1 1"):
            # An informational answer; the real one follows.
            return data[: end - before] + (self._head(rest) if rest else b"")
        self.feed = _as_it_is
        lengths = _LENGTH.findall(head)
        if _ends_early(head):
            pass  # to the library, the body began before
        elif _CHUNKED.search(head):
            self.feed = self._body
        elif len(lengths) == 1:
            self.feed, self._left = self._counted, int(lengths[0])
        return data[: end - before] + (self.feed(rest) if rest else b"")

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        return data

    def _after_last(self, data: bytes) -> bytes:
        self._seen = (self._seen + data)[: len(_LAST_CHUNK) + 1]
        return data

    def _body(self, data: bytes) -> bytes:
        data = self._held + data if self._held else data
        self._held = b""
        pieces: list[bytes] = []
        at, rest = 0, b""
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            size = (_FIRST if self._first else _NEXT).match(data, at)
            if size is None or not int(size[1], 16):
                rest = self._odd(data[at:], last=size is not None)
                break
            self._first = False
            self._left = int(size[1], 16)
            at = size.end()
        joined = b"".join(pieces)
        return (b"%x\r\n%b\r\n" % (len(joined), joined) if joined else b"") + rest

    def _odd(self, rest: bytes, *, last: bool) -> bytes:
        """What is not the head of a chunk: the last chunk, the beginning of a size line, or something to be judged."""
        unfinished = _UNFINISHED_FIRST if self._first else _UNFINISHED_NEXT
        if not last and unfinished.fullmatch(rest):
            self._held = rest
            return b""
        self.feed = self._after_last if last else _as_it_is
        self._seen = (rest if self._first else rest[2:])[: len(_LAST_CHUNK) + 1]
        if self._first or not rest.startswith(b"\r\n"):
            # Without the line break that has to end a chunk, a lone line break makes the library refuse what follows.
            return rest if self._first else b"\r\n" + rest
        return rest[2:]  # the line break that ended the chunk before, which has been given one already


def _ends_early(head: bytes) -> bool:
    found = _LENIENT_HEAD_END.search(head)
    return found is not None and found.end() < len(head)


def _as_it_is(data: bytes) -> bytes:
    return data
