"""Masks the members of events and bodies that speak of a failure, in whichever form OpenAI's errors come. Pure.

What a model or a caller wrote passes as it is, at every split of the bytes. Looked for are the ids of `masking`, once it has
found that there may be one.
"""

from __future__ import annotations

import re

from relay.formats.json_outline import JsonOutline
from relay.net import sse
from relay.response.masking import MASK, WORD, mask

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


class ObjectMask:
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


class EventMask:
    """Masks one event of a stream."""

    def __init__(self) -> None:
        self._fields = sse.FieldReader()
        self._data = ObjectMask()
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
