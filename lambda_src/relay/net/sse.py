"""Server-sent events as bytes: where an event ends, what its fields hold, and the events the relay writes itself. Pure.

Source: WHATWG HTML, "9.2.6 Interpreting an event stream": a line ends with CRLF, LF or CR; a blank line dispatches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# One LF only. OpenAI's SDKs hold the last event id: after an `id:` line, a comment followed by a *blank* line dispatches
# an event without data, and the SDK fails on it (tried with openai-python 3.54). A comment line alone is safe everywhere.
HEARTBEAT = b": keep-alive\n"

# Enough of what was sent last to tell a blank line, whichever line ending upstream uses.
TAIL = 4

# The one definition of an event's end: the end of a line, and a blank line. A CR is the end of a line only once it is
# known that no LF follows: until then the event is open, and nothing can be put in between.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
# Where no more bytes come, the last CR has no LF behind it.
_LAST_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)\Z")
_LINE_BREAKS = b"\r\n"
_TO_LINE_END = re.compile(rb"[^\r\n]*+")
_NAME = re.compile(rb"[^:\r\n]*+")
# What is longer is no name of a field.
_NAME_BYTES = 16


class EventSplitter:
    """Cuts one stream into its events as its bytes come. Holds nothing back; time is linear in the bytes."""

    def __init__(self) -> None:
        # The last bytes of the event that is open; b"" when none is.
        self._tail = b""

    def cut(self, chunk: bytes) -> tuple[bytes, bool, bytes, bytes]:
        """The parts of `chunk`, in order: (rest, ended, events, start).

        `rest` belongs to the event that was open, and `ended` says whether that has come to its end; `events` are whole
        events, and `start` is the beginning of one that is open from now on. Without an open event, `rest` is empty.
        """
        tail = self._tail
        if not tail:
            if chunk.endswith(b"\n\n"):
                return b"", False, chunk, b""  # the common case: upstream writes whole events
            last = _last_end(chunk)
            self._tail = chunk[last:][-TAIL:]
            return b"", False, chunk[:last], chunk[last:]
        first = first_end(chunk, tail)
        if first < 0:
            self._tail = (tail + chunk)[-TAIL:]
            return chunk, False, b"", b""
        last = first + _last_end(chunk[first:])
        self._tail = chunk[last:][-TAIL:]
        return chunk[:first], True, chunk[first:last], chunk[last:]


def first_end(data: bytes, tail: bytes = b"") -> int:
    """Where in `data` the event ends that is open before it, with `tail` as its last bytes; -1 when it does not."""
    if data.find(b"\r") >= 0 or tail.find(b"\r") >= 0:
        found = _EVENT_END.search(tail + data)
        return found.end() - len(tail) if found else -1
    if tail.endswith(b"\n") and data.startswith(b"\n"):
        return 1
    # Searches for one byte are fifty times quicker than for two, and lines are long as a rule.
    at = data.find(b"\n")
    while at >= 0:
        if data.startswith(b"\n", at + 1):
            return at + 2
        at = data.find(b"\n", at + 1)
    return -1


def _last_end(data: bytes) -> int:
    """Where the last event of those that begin in `data` ends; 0 when none does."""
    if data.endswith(b"\n\n"):
        return len(data)
    if data.find(b"\r") >= 0:
        return max((found.end() for found in _EVENT_END.finditer(data)), default=0)
    # Finding one byte is fifty times quicker than finding two: a long event has begun behind the last end as a rule.
    end = data.rfind(b"\n") + 1
    if data.endswith(b"\n\n", 0, end):
        return end
    found = data.rfind(b"\n\n", 0, end)
    return found + 2 if found >= 0 else 0


def split(data: bytes) -> list[bytes]:
    """The events in `data`, each with the blank line that ends it; what follows the last one counts as one."""
    ends = [found.end() for found in _EVENT_END.finditer(data)]
    return [event for start, end in zip([0, *ends], [*ends, len(data)], strict=True) if (event := data[start:end])]


def at_boundary(tail: bytes) -> bool:
    """Whether a stream that ends with `tail` stands between two events, so that a comment may be put in.

    After a CR it never does: the next byte could still be the LF of a CRLF.
    """
    return tail == b"" or (tail.endswith(b"\n") and is_over(tail))


def ending(tail: bytes) -> bytes:
    """What is missing for a stream that was cut after `tail` to stand between two events."""
    if at_boundary(tail):
        return b""
    return b"\n" if tail.endswith(b"\n") else b"\n\n"


def is_over(tail: bytes) -> bool:
    """Whether a stream of which no more comes has dispatched its last event: no LF can follow a CR then."""
    return tail == b"" or _LAST_END.search(tail) is not None


def error_event(body: bytes, tail: bytes) -> bytes:
    """The event on which OpenAI's SDKs raise, in all stream formats; after a cut event, the blank line that ends it first.

    `body` is {"error": {...}} on one line. A top-level {"type": "error"} would not raise in the Responses API.
    """
    return ending(tail) + b"event: error\ndata: " + body + b"\n\n"


def data_lines(event: bytes) -> Iterator[bytes]:
    """The values of the `data` fields of `event`, without the one space that may follow the colon."""
    for line in event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            yield value.removeprefix(b" ")


class FieldReader:
    """Reads the fields of one event as its bytes come. Time is linear in the bytes."""

    def __init__(self) -> None:
        self._name = b""
        self._after_colon = False
        self._in_value = False

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """(name, bytes) for all of `data`, in order; the name is b"" for what is not part of a field's value.

        A value may come in several pieces, directly one after another.
        """
        pieces: list[tuple[bytes, bytes]] = []
        has_cr = data.find(b"\r") >= 0
        at = 0
        while at < len(data):
            start, name = at, b""
            if self._in_value:
                at, name = _line_end(data, at, has_cr=has_cr), self._name
                self._in_value = at == len(data)
            elif self._after_colon:
                at += data.startswith(b" ", at)
                self._after_colon, self._in_value = False, True
            elif data[at] in _LINE_BREAKS:
                at, self._name = at + 1, b""
            elif data.startswith(b":", at):
                at, self._after_colon = at + 1, True
            else:
                at = _NAME.match(data, at).end()  # type: ignore[union-attr]  # it also matches nothing
                self._name = (self._name + data[start:at])[:_NAME_BYTES]
            if at > start:
                pieces.append((name, data[start:at]))
        return pieces


def _line_end(data: bytes, start: int, *, has_cr: bool) -> int:
    if has_cr:
        return _TO_LINE_END.match(data, start).end()  # type: ignore[union-attr]  # it also matches nothing
    end = data.find(b"\n", start)
    return end if end >= 0 else len(data)
