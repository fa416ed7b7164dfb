"""Takes the body of a response out of its HTTP chunks; leaves head, end and everything odd to the HTTP library. Pure.

h11 and httpcore run some 12 us of code for every chunk, ten times that when the caches have gone cold between two tokens.
Chunk boundaries mean nothing (RFC 9112, section 7.1), and what a chunk looks like is simple: so the bytes of a body that
is plainly well-formed go past the library, and it sees the head and, behind it, the last chunk. Whatever is not plainly
well-formed is the library's from there to the end, so that it alone judges. No byte is held back but an unfinished size line.

Reading along, it also knows whether a connection has brought exactly one response. The library keeps what comes after one
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
# Of other versions and of what comes before a real response the library judges.
_FINAL = re.compile(rb"HTTP/1\.[01] [2-9]")
# These have no body whatever their headers say (RFC 9112, section 6.3).
_BODILESS = re.compile(rb"HTTP/1\.[01] (?:204|304)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
# More informational responses than anybody has a reason to send: any number may come (RFC 9110, section 15.2), and 100 and
# 103 come once each. Whoever reads ends it there.
MOST_INTERIM = 2_000
_LINE_BREAK = b"\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
# Fifteen digits, because sixteen could be more than any real length; extensions are left to the library.
_FIRST = re.compile(rb"([0-9a-fA-F]{1,15})\r\n")
_NEXT = re.compile(rb"\r\n([0-9a-fA-F]{1,15})\r\n")
_UNFINISHED_FIRST = re.compile(rb"[0-9a-fA-F]{0,15}\r?")
_UNFINISHED_NEXT = re.compile(rb"\r?|\r\n[0-9a-fA-F]{0,15}\r?")


class ResponseFraming:
    """One response's bytes, from its head on: `feed` takes what was read and returns the body in it that goes past the
    library, `take_rest` gives what the library is to read. `interim` counts the informational responses (1xx) before it.

    Body comes after all that was to be read when the body began, and before all that is to be read later. `in_body`:
    more of it may come.
    """

    def __init__(self) -> None:
        # How the next bytes are read. A function and not a method, which would hold this object, as it is held by it.
        self._read: Callable[[ResponseFraming, bytes], bytes] = ResponseFraming._head
        self.in_body = False
        self.interim = 0
        self._seen = b""
        self._held = b""
        self._left = 0
        self._first = True
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """The body in `data` that goes past the library."""
        return self._read(self, data)

    @property
    def exact(self) -> bool:
        """Whether what came is one whole response and not a byte more. False where that cannot be told."""
        if self._read is ResponseFraming._counted:
            return self._left == 0
        return self._read is ResponseFraming._after_last and self._seen == _LAST_CHUNK

    def take_rest(self) -> bytes:
        """What the library is to read."""
        rest = b"".join(self._rest)
        self._rest.clear()
        return rest

    def _head(self, data: bytes) -> bytes:
        before = len(self._seen)
        seen = self._seen + data
        start, look_from = 0, max(0, before - 3)
        while (end := seen.find(_HEAD_END, look_from)) >= 0:
            end += len(_HEAD_END)
            if not seen.startswith(b"HTTP/1.1 1", start):
                self._seen = b""
                self._rest.append(data[: end - before])
                self._begin(seen[start:end])
                return self.feed(seen[end:]) if end < len(seen) else b""
            # It was an informational response (RFC 9110, section 15.2), and the real one follows.
            start = look_from = end
            self.interim += 1
            if self.interim > MOST_INTERIM:
                break
        self._seen = seen[start:]
        if len(self._seen) > _HEAD_BYTES:
            self._read = ResponseFraming._as_it_is
        return self._as_it_is(data)

    def _begin(self, head: bytes) -> None:
        """How the bytes behind `head` are to be read."""
        self._read = ResponseFraming._as_it_is
        lengths = _LENGTH.findall(head)
        if _ends_early(head) or not _FINAL.match(head) or _BODILESS.match(head):
            pass  # to the library: the body began before, or there is none
        elif _CHUNKED.search(head):
            self._read, self.in_body = ResponseFraming._chunks, True
        elif len(lengths) == 1:
            self._read, self._left = ResponseFraming._counted, int(lengths[0])

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        return self._as_it_is(data)

    def _after_last(self, data: bytes) -> bytes:
        self._seen = (self._seen + data)[: len(_LAST_CHUNK) + 1]
        return self._as_it_is(data)

    def _as_it_is(self, data: bytes) -> bytes:
        self._rest.append(data)
        return b""

    def _chunks(self, data: bytes) -> bytes:
        data = self._held + data if self._held else data
        self._held = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            if len(data) - at == 2 and data.endswith(_LINE_BREAK) and not self._first:
                # One event, one chunk, one read: how a model types. Spared the expressions below.
                self._held = _LINE_BREAK
                break
            size = (_FIRST if self._first else _NEXT).match(data, at)
            left = int(size[1], 16) if size else 0
            if size is None or not left:
                self._odd(data[at:], last=size is not None)
                break
            self._first, self._left, at = False, left, size.end()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _odd(self, rest: bytes, *, last: bool) -> None:
        """What is not the head of a chunk: the last chunk, the beginning of a size line, or something to be judged."""
        unfinished = _UNFINISHED_FIRST if self._first else _UNFINISHED_NEXT
        if not last and unfinished.fullmatch(rest):
            self._held = rest
            return
        # Without the line break that has to end a chunk, a lone line break makes the library refuse what follows.
        broken = not self._first and not rest.startswith(_LINE_BREAK)
        # The line break that ended the chunk before belongs to what has gone past the library.
        rest = rest if self._first else rest.removeprefix(_LINE_BREAK)
        self._read = ResponseFraming._after_last if last else ResponseFraming._as_it_is
        self.in_body = False
        self._seen = rest[: len(_LAST_CHUNK) + 1]
        self._rest.append(_LINE_BREAK + rest if broken else rest)


def _ends_early(head: bytes) -> bool:
    found = _LENIENT_HEAD_END.search(head)
    return found is not None and found.end() < len(head)
