"""What may happen to a body on its way: a chain of generators, bytes in, bytes out. Pure.

A transform is a function from an iterator of byte strings to an iterator of byte strings. It passes on everything it
has received before it lets an exception of its source through, what it does not understand as it is, and it never waits
for more than it needs. To add one, write the function and add a line to `for_response`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial

from relay.errors import ErrorKind, RelayError
from relay.models import Json, JsonObject
from relay.net import sse
from relay.response import errors
from relay.response.masking import LazyMask, may_hold_id
from relay.response.object_masks import EventMask, ObjectMask
from relay.response.stream_formats import StreamFormat

Transform = Callable[[Iterator[bytes]], Iterator[bytes]]

# What `include_usage` puts into every chunk but the last, as OpenAI writes it and in every other spelling. No text can
# hold such a key, because quotes are escaped there.
_USAGE = b'"usage"'
_NULL_USAGE = b',"usage":null'
_ANY_NULL_USAGE = re.compile(rb',\s*"usage":\s*null|"usage":\s*null\s*,\s*')
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
# An event longer than this is passed on in pieces: it is not one of those that the transforms below look for.
_EVENT_BYTES = 1 << 20


def for_response(*, content_type: str, strip_usage: bool, text_of: StreamFormat | None) -> list[Transform]:
    """The chain for one response of this content type, in the order in which the bytes pass through it."""
    chain: list[Transform] = []
    if content_type.lower().startswith("text/event-stream"):
        chain.append(mask_events)
    elif content_type.lower().startswith("application/json"):
        chain.append(mask_json)
    if strip_usage:
        chain.append(without_usage)
    if text_of is not None:
        chain.append(partial(only_text, stream_format=text_of))
    return chain


def mask_events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The transform for event streams."""
    splitter, event = sse.EventSplitter(), LazyMask(EventMask)
    try:
        for chunk in chunks:
            rest, ended, events, start = splitter.cut(chunk)
            if len(events) == len(chunk) and not ended and not may_hold_id(events):
                yield chunk  # nearly always
                continue
            passed = event.feed(rest)
            if ended:
                passed += event.finish()
                event = LazyMask(EventMask)
            passed += _masked(events) + event.feed(start)
            if passed:
                yield passed
    except Exception:  # whatever it was: it is raised again behind what had come
        if held := event.cut_off():
            yield held
        raise
    if held := event.finish():
        yield held


def mask_json(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The transform for a body of JSON that is not an error as a whole, such as a response that failed."""
    body = LazyMask(ObjectMask)
    try:
        for chunk in chunks:
            if passed := body.feed(chunk):
                yield passed
    except Exception:  # whatever it was: it is raised again behind what had come
        if held := body.cut_off():
            yield held
        raise
    if held := body.finish():
        yield held


def _masked(events: bytes) -> bytes:
    if not may_hold_id(events):
        return events
    masks = [(EventMask(), event) for event in sse.split(events)]
    return b"".join([event_mask.feed(event) + event_mask.finish() for event_mask, event in masks])


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
        if kept := b"".join(map(_without_usage, sse.split(block))):
            yield kept


def _without_usage(event: bytes) -> bytes:
    if _is_only_usage(event):
        # Blank lines before an event are not part of it.
        return event[: len(event) - len(event.lstrip(b"\r\n"))]
    return _ANY_NULL_USAGE.sub(b"", event)


def only_text(chunks: Iterator[bytes], stream_format: StreamFormat) -> Iterator[bytes]:
    """The text of the response and nothing else, so that `curl -N` types like a person.

    Raises RelayError for an error in the stream, and for a stream without text: plain text that simply stopped, or an
    empty body, would pass for a response.
    """
    is_empty = True
    for event in events(chunks):
        data = list(sse.data_lines(event))
        objects = [fields for each in data if (fields := _fields(each))]
        text = "".join(map(stream_format.text, objects)).encode("utf-8", "replace")
        if not objects and sse.is_over(event) and any(each and not each.startswith(b"[DONE]") for each in data):
            text = event
        if text:
            is_empty = False
            yield text
        for error in filter(None, map(stream_format.error, objects)):
            raise errors.to_relay_error(error)
    if is_empty:
        raise RelayError(ErrorKind.UPSTREAM_BROKEN, _NO_TEXT, log="a stream without text")


_NO_TEXT = "OpenAI's response holds no text. Ask without `accept: text/plain` to get it as it is."


def events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts a stream into its events, each with the blank line that ends it; what was left at a failure comes first."""
    for block in whole_events(chunks):
        yield from sse.split(block)


def whole_events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Passes on what has come as soon as it ends with an event; what was left at a failure comes before it."""
    splitter, held, size = sse.EventSplitter(), list[bytes](), 0
    try:
        for chunk in chunks:
            rest, ended, whole, start = splitter.cut(chunk)
            if not held and len(whole) == len(chunk):
                yield chunk  # the common case: upstream writes whole events
                continue
            if rest:
                held.append(rest)
                size += len(rest)
            if ended or whole or size > _EVENT_BYTES:
                if block := b"".join([*held, whole]):
                    yield block
                held, size = [], 0
            if start:
                held.append(start)
                size = len(start)
    except Exception:  # whatever it was: it is raised again behind what had come
        if block := b"".join(held):
            yield block
        raise
    if block := b"".join(held):
        yield block


def _is_only_usage(event: bytes) -> bool:
    if not _NO_CHOICES.search(event):
        return False
    return any(
        fields.get("choices") == [] and isinstance(fields.get("usage"), dict)
        for fields in map(_fields, sse.data_lines(event))
    )


def _fields(data: bytes) -> JsonObject:
    try:
        fields: Json = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
