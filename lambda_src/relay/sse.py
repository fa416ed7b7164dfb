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


def error_event(body: bytes, tail: bytes) -> bytes:
    """The event on which OpenAI's SDKs raise, in both dialects; after a cut event, the blank line that ends that one first.

    `body` is {"error": {...}} on one line. A top-level {"type": "error"} would not raise in the Responses API.
    """
    closing = b"" if at_boundary(tail) else b"\n\n"
    return closing + b"event: error\ndata: " + body + b"\n\n"


def data_lines(event: bytes) -> Iterator[bytes]:
    """The values of the `data` fields of `event`, without the one space that may follow the colon."""
    for line in event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            yield value.removeprefix(b" ")
