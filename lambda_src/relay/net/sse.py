"""Server-sent events as bytes: where an event ends, and the few events the relay writes itself. Pure.

Source: WHATWG HTML, "9.2.6 Interpreting an event stream": a line ends with CRLF, LF or CR; a blank line dispatches.
"""

from __future__ import annotations

from collections.abc import Iterator

# One LF only. OpenAI's SDKs hold the last event id: after an `id:` line, a comment followed by a *blank* line dispatches
# an event without data, and the SDK fails on it (tried with openai-python 3.54). A comment line alone is safe everywhere.
HEARTBEAT = b": keep-alive\n"

# Enough of what was sent last to tell a blank line, whichever line ending upstream uses.
TAIL = 4


def at_boundary(tail: bytes) -> bool:
    """Whether a stream that ends with `tail` stands between two events, so that a comment may be put in.

    Streams with CR-only line endings are never said to: the next byte could still belong to a CRLF.
    """
    return tail == b"" or tail.endswith((b"\n\n", b"\n\r\n"))


def ending(tail: bytes) -> bytes:
    """What is missing for a stream that was cut after `tail` to stand between two events."""
    if at_boundary(tail):
        return b""
    return b"\n" if tail.endswith(b"\n") else b"\n\n"


def is_over(tail: bytes) -> bool:
    """Whether a stream of which no more comes has dispatched its last event: no LF can follow a CR then."""
    return at_boundary(tail) or tail.endswith((b"\r\r", b"\n\r", b"\r\r\n"))


def end_of_event(data: bytes, start: int, before: bytes) -> int:
    """How much of `data` belongs to the event that is still open at `start`; -1 when all of it and more to come.

    `before` is what was sent before `data`, its last TAIL bytes being enough.
    """
    at = data.find(b"\n", start)
    while at >= 0:
        if at_boundary((before[-TAIL:] + data[: at + 1])[-TAIL:] if at < TAIL else data[at - TAIL : at + 1]):
            return at + 1
        at = data.find(b"\n", at + 1)
    return -1


def holds_event(data: bytes | bytearray, start: int = 0) -> bool:
    """Whether a blank line ends an event in `data`, looking from `start` on."""
    return any(data.find(end, max(0, start)) >= 0 for end in (b"\n\n", b"\n\r\n", b"\r\r"))


def error_event(body: bytes, tail: bytes) -> bytes:
    """The event on which OpenAI's SDKs raise, in both dialects; after a cut event, the blank line that ends that one first.

    `body` is {"error": {...}} on one line. A top-level {"type": "error"} would not raise in the Responses API.
    """
    return ending(tail) + b"event: error\ndata: " + body + b"\n\n"


def data_lines(event: bytes) -> Iterator[bytes]:
    """The values of the `data` fields of `event`, without the one space that may follow the colon."""
    for line in event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            yield value.removeprefix(b" ")
