"""Finds ids of the organisation and pieces of keys in OpenAI's errors. Pure.

Whose key it is, is not the callers' to know: "Rate limit reached for gpt-5 in organization org-... on tokens per min".
Nearly every event and body passes as it is, without a look at its members.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

MASK = b"[...]"
# How an id or a key begins: without one of these there is nothing to mask. Five searches, asked of every event.
MARKS = (b"org-", b"org_", b"proj-", b"proj_", b"sk-")
# At the beginning of a word; in JSON an escape may come directly before it.
WORD = rb"(?:(?<![A-Za-z0-9_])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))"
_KEY = rb"sk-(?:[A-Za-z0-9_-]*(?:\*|\.\.)[A-Za-z0-9_*.-]*|[A-Za-z0-9_-]{6,})"
_OURS = re.compile(WORD + rb"(?:(?:org|proj)[-_][A-Za-z0-9]{12,}|" + _KEY + rb")")
# The beginning of a mark, and the bytes with which that can end.
_BEGINNING = re.compile(WORD + rb"(?:o|or|org|p|pr|pro|proj|s|sk)\Z")
_BEFORE_BYTES = 16
_LAST_BYTES = (b"o", b"r", b"g", b"p", b"j", b"s", b"k")
# Of an event or a body this much is remembered while it passes.
_REMEMBERED_BYTES = 1 << 20


def mask(data: bytes) -> bytes:
    """`data`, all of which speaks of a failure, without ids and pieces of keys."""
    return _OURS.sub(MASK, data) if may_hold_id(data) else data


def mask_text(text: str) -> str:
    """The same for text."""
    return mask(text.encode("utf-8", "replace")).decode()


def may_hold_id(data: bytes) -> bool:
    """Whether `data` holds a mark. Every byte of a stream passes here."""
    # One byte is found ten times quicker than several; pictures and sound have neither of these.
    if data.find(b"-") < 0 and data.find(b"_") < 0:
        return False
    # Written out, because a loop takes twice the time.
    return (data.find(b"sk-") >= 0 or data.find(b"org") >= 0 or data.find(b"proj") >= 0) and (
        max(map(data.find, MARKS)) >= 0
    )


class Mask(Protocol):
    """Masks one event or body that comes in pieces."""

    def feed(self, data: bytes) -> bytes:
        """What of `data`, and of what was held, can pass."""

    def finish(self) -> bytes:
        """What is held, when what follows cannot belong to it."""

    def cut_off(self) -> bytes:
        """What is held, when what belongs to it will not come."""


class LazyMask:
    """Masks one event or body, but does not look at its members before it holds what may be an id, which is nearly never.

    Until then its bytes pass as they are, but for an end that may begin an id, and are remembered, up to 1 MiB of them.
    """

    def __init__(self, kind: Callable[[], Mask]) -> None:
        self._kind = kind
        self._mask: Mask | None = None
        self._passed: list[bytes] = []
        self._size = 0
        self._tail = b""
        # The last bytes that passed, which tell whether a word begins behind them.
        self._before = b""
        # What the mask holds of what has passed already.
        self._skip = 0

    def feed(self, data: bytes) -> bytes:
        if self._mask is None:
            near = self._tail + data if self._tail else data
            if self._size < _REMEMBERED_BYTES and not may_hold_id(near):
                end = len(near) - _beginning_at_end(near, self._before)
                self._tail, passed = near[end:], near[:end]
                self._before = (self._before + passed[-_BEFORE_BYTES:])[-_BEFORE_BYTES:]
                self._passed.append(passed)
                self._size += len(passed)
                return passed
            self._tail, data = b"", near
        return self._cut(self._looking().feed(data))

    def finish(self) -> bytes:
        """What is held, when what follows cannot belong to it."""
        if self._mask is None:
            return self._tail
        return self._cut(self._mask.finish())

    def cut_off(self) -> bytes:
        """What is held, when what belongs to it will not come."""
        if self._mask is None and not self._tail:
            return b""
        tail, self._tail = self._tail, b""
        mask = self._looking()
        return self._cut(mask.feed(tail) + mask.cut_off())

    def _looking(self) -> Mask:
        if self._mask is None:
            self._mask = self._kind()
            # No id begins in what has passed, so the mask gives all of it back as it was, now or with what follows.
            self._skip = self._size - len(b"".join(map(self._mask.feed, self._passed)))
            self._passed.clear()
        return self._mask

    def _cut(self, data: bytes) -> bytes:
        if not self._skip:
            return data
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        return data[skipped:]


def _beginning_at_end(data: bytes, before: bytes) -> int:
    """How many of the last bytes of `data`, which came after `before`, may begin an id."""
    if not data.endswith(_LAST_BYTES):
        return 0
    found = _BEGINNING.search((before + data[-_BEFORE_BYTES:])[-_BEFORE_BYTES:])
    return found.end() - found.start() if found else 0
