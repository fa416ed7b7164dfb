"""What may happen to a body on its way: a chain of generators, bytes in, bytes out. Pure.

A transform is a function from an iterator of byte strings to an iterator of byte strings. It passes on everything it
has received before it lets an exception of its source through, and it never waits for more than it needs. To add one,
write the function and add a line to `for_request`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from relay.net import sse
from relay.openai import errors
from relay.openai.stream_formats import StreamFormat

Transform = Callable[[Iterator[bytes]], Iterator[bytes]]

# What `include_usage` puts into every chunk but the last, as OpenAI writes it and in every other spelling. No text can
# hold such a key, because quotes are escaped there.
_USAGE = b'"usage"'
_NULL_USAGE = b',"usage":null'
_ANY_NULL_USAGE = re.compile(rb',\s*"usage":\s*null|"usage":\s*null\s*,\s*')
_BLANK_LINE = re.compile(rb"\n\r?\n")
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
# An event longer than this is passed on in pieces: it is not one of those that the transforms below look for.
_EVENT_BYTES = 1 << 20


def for_request(*, strip_usage: bool, text_of: StreamFormat | None) -> list[Transform]:
    """The chain for one answer, in the order in which the bytes pass through it."""
    chain: list[Transform] = []
    if strip_usage:
        chain.append(without_usage)
    if text_of is not None:
        chain.append(partial(only_text, dialect=text_of))
    return chain


def without_usage(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Takes out what `stream_options.include_usage` added, for a caller who has not asked for it."""
    for block in whole_events(chunks):
        # The work of every chunk: one search up to the first, and one replacement from its comma on.
        at = block.find(_USAGE)
        if at < 0:
            yield block
            continue
        at = max(0, at - 1)
        rest = block[at:].replace(_NULL_USAGE, b"")
        if rest.find(_USAGE) < 0:
            yield block[:at] + rest
            continue
        # What is left over is the last event, or another spelling.
        kept = b"".join(_ANY_NULL_USAGE.sub(b"", event) for event in _split(block) if not _is_only_usage(event))
        if kept:
            yield kept


def only_text(chunks: Iterator[bytes], dialect: StreamFormat) -> Iterator[bytes]:
    """The text of the answer and nothing else, so that `curl -N` types like a person.

    Raises RelayError for an error in the stream: plain text that simply stopped would pass for an answer.
    """
    for event in events(chunks):
        said = [fields for data in sse.data_lines(event) if (fields := _fields(data))]
        text = "".join(map(dialect.text, said))
        if text:
            yield text.encode("utf-8", "replace")
        for error in filter(None, map(dialect.error, said)):
            raise errors.meaning(error)


def events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts a stream into its events, each with the blank line that ends it; what was left at a failure comes first."""
    for block in whole_events(chunks):
        yield from _split(block)


def whole_events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Passes on what has come as soon as it ends with an event; what was left at a failure comes before it."""
    held = b""
    try:
        for chunk in chunks:
            block = held + chunk if held else chunk
            # The common case: upstream writes whole events.
            if sse.at_boundary(block) or len(block) > _EVENT_BYTES:
                end = len(block)
            else:
                end = _last_boundary(block) if b"\n" in chunk else 0
            held = block[end:]
            if end:
                yield block[:end]
    except Exception:
        if held:
            yield held
        raise
    if held:
        yield held


def _split(block: bytes) -> list[bytes]:
    """The events in `block`; what follows the last one counts as one."""
    ends = [found.end() for found in _BLANK_LINE.finditer(block)]
    return [event for start, end in zip([0, *ends], [*ends, len(block)], strict=True) if (event := block[start:end])]


def _last_boundary(block: bytes) -> int:
    """Where the last event in `block` ends; 0 when none does."""
    end = block.rfind(b"\n") + 1
    if sse.at_boundary(block[max(0, end - 3) : end]):
        return end  # a long event has begun behind it: finding one byte is fifty times quicker than finding two
    lf, crlf = block.rfind(b"\n\n"), block.rfind(b"\n\r\n")
    return max(lf + 2 if lf >= 0 else 0, crlf + 3 if crlf >= 0 else 0)


def _is_only_usage(event: bytes) -> bool:
    if not _NO_CHOICES.search(event):
        return False
    return any(
        fields.get("choices") == [] and isinstance(fields.get("usage"), dict)
        for fields in map(_fields, sse.data_lines(event))
    )


def _fields(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
