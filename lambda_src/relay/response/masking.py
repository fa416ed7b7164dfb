"""Takes ids of the organisation and pieces of keys out of OpenAI's errors, in whichever form an error comes. Pure.

Whose key it is, is not the callers' to know: "Rate limit reached for gpt-5 in organization org-... on tokens per min".
Only what speaks of a failure is changed. What a model or a caller wrote passes as it is, at every split of the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from relay.formats.json_outline import JsonOutline
from relay.net import sse
from relay.response.lazy_mask import WORD, LazyMask, may_hold_id

MASK = b"[...]"
_KEY = rb"sk-(?:[A-Za-z0-9_-]*(?:\*|\.\.)[A-Za-z0-9_*.-]*|[A-Za-z0-9_-]{6,})"
_OURS = re.compile(WORD + rb"(?:(?:org|proj)[-_][A-Za-z0-9]{12,}|" + _KEY + rb")")
# What was cut inside an id or a key.
_CUT_OFF = re.compile(WORD + rb"(?:(?:org|proj)[-_][A-Za-z0-9]*|sk-[A-Za-z0-9_*.-]*)\Z")
# What may become an id or a key with the bytes that follow is held back, up to a length that none has.
_RUN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_*.-"
_HELD_BYTES = 4096

# The members, of an event or a body or of the `response` in it, that speak of a failure and of nothing else.
_FAILURE = frozenset({"error", "message", "detail", "details", "incomplete_details", "status_details", "last_error"})
# Where the whole event tells of a failure, only what a caller or a model wrote is exempt.
_CONTENT = frozenset(
    {"output", "instructions", "input", "prompt", "tools", "tool_choice", "text", "metadata", "user", "choices", "item"}
    | {"reasoning", "model", "safety_identifier", "prompt_cache_key", "delta", "part"}
)
_FAILING_NAMES = ("error", "failed", "incomplete")
_NAME_BYTES = 64


def mask(data: bytes) -> bytes:
    """`data`, all of which speaks of a failure, without ids and pieces of keys."""
    return _OURS.sub(MASK, data) if may_hold_id(data) else data


def mask_text(text: str) -> str:
    """The same for text."""
    return mask(text.encode("utf-8", "replace")).decode()


def mask_events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The transform for event streams."""
    splitter, event = sse.EventSplitter(), LazyMask(_EventMask)
    try:
        for chunk in chunks:
            rest, ended, events, start = splitter.cut(chunk)
            if len(events) == len(chunk) and not ended and not may_hold_id(events):
                yield chunk  # nearly always
                continue
            passed = event.feed(rest)
            if ended:
                passed += event.finish()
                event = LazyMask(_EventMask)
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
    body = LazyMask(_ObjectMask)
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
    masks = [(_EventMask(), event) for event in sse.split(events)]
    return b"".join([event_mask.feed(event) + event_mask.finish() for event_mask, event in masks])


class _IdMask:
    """Masks text that comes in pieces. What is given back is as `mask` of the whole would be."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        text = self._held + data
        end = len(text.rstrip(_RUN))
        end -= text.endswith(b"\\", 0, end)
        if len(text) - end > _HELD_BYTES:
            end = len(text)
        self._held = text[end:]
        return mask(text[:end])

    def finish(self) -> bytes:
        """What is held, when what follows cannot belong to it."""
        held, self._held = self._held, b""
        return mask(held)

    def cut_off(self) -> bytes:
        """What is held, when what belongs to it will not come."""
        return _CUT_OFF.sub(MASK, self.finish())


class _ObjectMask:
    """Masks one JSON object. `fails`: it is known to tell of a failure."""

    def __init__(self) -> None:
        self.fails = False
        self._outline = JsonOutline("response")
        self._mask = _IdMask()
        self._type = b""
        self.finish = self._mask.finish
        self.cut_off = self._mask.cut_off

    def feed(self, data: bytes) -> bytes:
        passed = []
        for label, piece in self._outline.feed(data):
            self._learn(label, piece)
            if self._speaks_of_failure(label.removeprefix("response.")):
                passed.append(self._mask.feed(piece))
            else:
                passed += [self._mask.finish(), piece]
        return b"".join(passed)

    def _learn(self, label: str, piece: bytes) -> None:
        if label == "type":
            self._type = (self._type + piece)[:_NAME_BYTES]
            self.fails = self.fails or _is_failing(self._type)
        elif label in ("error", "response.error"):
            self.fails = self.fails or piece.lstrip()[:1] in (b"{", b'"')

    def _speaks_of_failure(self, name: str) -> bool:
        return name in _FAILURE or (self.fails and name not in _CONTENT)


class _EventMask:
    """Masks one event of a stream."""

    def __init__(self) -> None:
        self._fields = sse.FieldReader()
        self._data = _ObjectMask()
        self._name = b""
        self.finish = self._data.finish
        self.cut_off = self._data.cut_off

    def feed(self, data: bytes) -> bytes:
        passed = []
        for name, piece in self._fields.feed(data):
            if name == b"data":
                passed.append(self._data.feed(piece))
                continue
            passed += [self._data.finish(), piece]
            if name == b"event":
                self._name = (self._name + piece)[:_NAME_BYTES]
                self._data.fails = self._data.fails or _is_failing(self._name)
        return b"".join(passed)


def _is_failing(name: bytes) -> bool:
    return name.strip(b' "').decode("utf-8", "replace").endswith(_FAILING_NAMES)
