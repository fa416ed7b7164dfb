"""What a passing answer says about itself: whether it has come to its end, and what it used. Pure.

Looks at bytes without touching them. Memory is bounded whatever the length of a line: single SSE lines of several
megabytes (images) are ordinary. A chunk that can hold nothing of interest costs one regular expression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relay import sse

# A line up to this length is read as JSON; of a longer one only the ends are kept.
_LINE_BYTES = 1 << 20
_HEAD_BYTES = 1 << 10
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a stream of one kind of endpoint says that it is complete: an event type, or the word [DONE]."""

    terminal_types: frozenset[str] = frozenset()


CHAT = Dialect()

_INTERESTING = re.compile(rb'\[DONE\]|"usage":\s*\{|"error"|"type":\s*"[a-z_.]+\.(?:completed|incomplete|failed|done)"')
_TYPE = re.compile(rb'^\{\s*"type":\s*"([a-z_.]+)"')


class Meter:
    """Reads along with one event stream."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._line = bytearray()
        self._head = b""
        self.ended = False
        self.error: dict[str, Any] | None = None
        self.usage: dict[str, Any] | None = None

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""
        if not self._line and chunk.endswith(b"\n") and not _INTERESTING.search(chunk):
            return
        *lines, rest = chunk.replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._add(line)
            self._end_line()
        self._add(rest)

    def finish(self) -> None:
        """Upstream has ended: what came last counts as a line, although its line break is missing."""
        self._end_line()

    def _add(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > _LINE_BYTES:
            self._head = self._head or bytes(self._line[:_HEAD_BYTES])
            del self._line[:-_TAIL_BYTES]

    def _end_line(self) -> None:
        line, head = bytes(self._line), self._head
        self._line.clear()
        self._head = b""
        if head:
            self._read_long(next(sse.data_lines(head), b""), line)
        elif _INTERESTING.search(line):
            for data in sse.data_lines(line):
                self._read(data)

    def _read(self, data: bytes) -> None:
        if data.startswith(b"[DONE]"):
            self.ended = True
            return
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(fields, dict):
            self._read_fields(fields)

    def _read_fields(self, fields: dict[str, Any]) -> None:
        error = fields.get("error")
        if isinstance(error, dict) and error:
            self.error, self.ended = error, True
        if fields.get("type") in self._dialect.terminal_types:
            self.ended = True
        inner = fields.get("response")
        for holder in (fields, inner if isinstance(inner, dict) else {}):
            if isinstance(holder.get("usage"), dict):
                self.usage = holder["usage"]

    def _read_long(self, head: bytes, tail: bytes) -> None:
        """A line too long to be read as a whole: its type is at its head, its usage near its tail."""
        found = _TYPE.match(head)
        if found and found[1].decode() in self._dialect.terminal_types:
            self.ended = True
        for usage in _usages(tail):
            self.usage = usage


def _usages(tail: bytes) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    text = tail.decode("utf-8", "replace")
    for found in re.finditer(r'"usage":\s*(?=\{)', text):
        try:
            value, _ = decoder.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value.get("total_tokens"), int):
            yield value
