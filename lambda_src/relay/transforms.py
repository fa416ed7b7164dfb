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

from relay import openai_errors, sse
from relay.dialects import Dialect

Transform = Callable[[Iterator[bytes]], Iterator[bytes]]

# What `include_usage` puts into every chunk but the last: a key that no text can hold, because quotes are escaped there.
_NULL_USAGE = re.compile(rb',\s*"usage":\s*null|"usage":\s*null\s*,\s*')
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
# An event longer than this is passed on in pieces: it is not one of those that the transforms below look for.
_EVENT_BYTES = 1 << 20


def for_request(*, strip_usage: bool, text_of: Dialect | None) -> list[Transform]:
    """The chain for one answer, in the order in which the bytes pass through it."""
    chain: list[Transform] = []
    if strip_usage:
        chain.append(without_usage)
    if text_of is not None:
        chain.append(partial(only_text, dialect=text_of))
    return chain


def without_usage(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Takes out what `stream_options.include_usage` added, for a caller who has not asked for it."""
    for event in events(chunks):
        if not _is_only_usage(event):
            yield _NULL_USAGE.sub(b"", event)


def only_text(chunks: Iterator[bytes], dialect: Dialect) -> Iterator[bytes]:
    """The text of the answer and nothing else, so that `curl -N` types like a person.

    Raises RelayError for an error in the stream: plain text that simply stopped would pass for an answer.
    """
    for event in events(chunks):
        said = [fields for data in sse.data_lines(event) if (fields := _fields(data))]
        text = "".join(map(dialect.text, said))
        if text:
            yield text.encode("utf-8", "replace")
        for error in filter(None, map(dialect.error, said)):
            raise openai_errors.meaning(error)


def events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts a stream into its events, each with the blank line that ends it; what was left at a failure comes first."""
    held = b""
    try:
        for chunk in chunks:
            held += chunk
            if b"\n" not in chunk and len(held) <= _EVENT_BYTES:
                continue
            if sse.at_boundary(held) or len(held) > _EVENT_BYTES:
                # The common case: upstream writes whole events.
                parts, held = held, b""
            else:
                end = max(
                    held.rfind(b"\n\n") + 2 if b"\n\n" in held else 0,
                    held.rfind(b"\n\r\n") + 3 if b"\n\r\n" in held else 0,
                )
                parts, held = held[:end], held[end:]
            yield from _split(parts)
    except Exception:
        if held:
            yield held
        raise
    if held:
        yield held


def _split(complete: bytes) -> list[bytes]:
    return [event for event in re.split(rb"(?<=\n\n)|(?<=\n\r\n)", complete) if event]


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
