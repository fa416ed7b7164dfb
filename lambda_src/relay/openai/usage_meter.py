"""What a passing answer says about itself: whether it has come to its end, and what it used. Pure.

Looks at bytes without touching them. Memory is bounded whatever the length of a line or a body: single SSE lines of
several megabytes (images) are ordinary. A chunk that can hold nothing of interest costs five searches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from relay.models import Usage
from relay.net import sse
from relay.openai import errors
from relay.openai.stream_formats import StreamFormat

# A line or body up to this length is read as JSON; of a longer one only the ends are kept.
_WHOLE_BYTES = 1 << 20
_HEAD_BYTES = 1 << 10
_TAIL_BYTES = 1 << 16
# Of a line longer than this only the ends are searched. A value that long is an image, a sound or a text; the type comes
# before it and the usage after it.
_LONG_LINE = 1 << 13
_LINE_HEAD = 1 << 10
_LINE_TAIL = 1 << 12

# Begins with its own word, so that a search is a search for that word and not a trial at every byte.
_TERMINAL = re.compile(rb'"type":\s*"[a-z_.]+\.(?:completed|incomplete|failed|done)"')
# The type of an event of which only the head is at hand: among the plain values before the first long one.
_TYPE = re.compile(
    rb'\{(?:\s*"[a-z_]+":\s*(?:"[^"\\]*"|[0-9.]+|null|true|false)\s*,)*?\s*"type":\s*"([a-z_.]+)"',
)
_USAGE = re.compile(r'"usage":\s*(?=\{)')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Meter(Protocol):
    """Reads along with one answer. `ended`: nothing is missing. `error`: OpenAI said so in the stream itself.

    `surplus`: how many of the bytes fed last came after the line that ended a stream; None when nothing has ended it.
    """

    ended: bool
    surplus: int | None
    error: Mapping[str, Any] | None
    usage: Usage | None

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""

    def finish(self, failure: Exception | None) -> None:
        """Upstream has ended: well, or with `failure`."""


class _Text:
    """A line or a body as it grows: whole up to a size, its two ends beyond."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._head = b""

    def add(self, part: bytes) -> None:
        self._bytes += part
        if len(self._bytes) > _WHOLE_BYTES:
            self._head = self._head or bytes(self._bytes[:_HEAD_BYTES])
            del self._bytes[:-_TAIL_BYTES]

    def take(self) -> tuple[bytes, bytes]:
        """(head, rest) and starts anew; an empty head means that `rest` is the whole."""
        taken = self._head, bytes(self._bytes)
        self._head = b""
        self._bytes.clear()
        return taken

    def __bool__(self) -> bool:
        return bool(self._bytes)


class EventMeter:
    """Of an event stream. Reads no further than its terminal event, of which there is one for each of `answers` (images)."""

    def __init__(self, dialect: StreamFormat, *, answers: int = 1) -> None:
        self._dialect = dialect
        self._line = _Text()
        self._left = answers
        self.ended = False
        self.surplus: int | None = None
        self.error: Mapping[str, Any] | None = None
        self.usage: Usage | None = None

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""
        if self._left <= 0:
            self.surplus = len(chunk)
            return
        text = chunk.replace(b"\r", b"\n")
        start, end = 0, text.rfind(b"\n") + 1
        if self._line and end:
            start = text.find(b"\n") + 1
            if self._ends_with(text[: start - 1], surplus=len(text) - start):
                return
        whole_lines = text[start:end]
        if _is_interesting(whole_lines):
            surplus = len(text) - start
            for line in whole_lines.split(b"\n")[:-1]:
                surplus -= len(line) + 1
                if self._ends_with(line, surplus=surplus):
                    return
        if end < len(text):
            self._line.add(text[end:])

    def _ends_with(self, rest_of_line: bytes, *, surplus: int) -> bool:
        """Whether the line that `rest_of_line` completes ends the stream."""
        self._line.add(rest_of_line)
        self._end_line()
        if self._left <= 0:
            self.surplus = surplus
        return self._left <= 0

    def finish(self, failure: Exception | None) -> None:
        """What came last counts as a line, although its line break is missing. Of several answers that broke off one is
        not enough."""
        self._end_line()
        if failure is not None and self._left > 0:
            self.ended = False

    def _end_line(self) -> None:
        head, line = self._line.take()
        if head:
            self._read_long(next(sse.data_lines(head), b""), line)
        elif _is_interesting(line):
            for data in sse.data_lines(line):
                self._read(data)

    def _read(self, data: bytes) -> None:
        if data.startswith(b"[DONE]"):
            self._end(self._left)
            return
        fields = _object(data)
        self.error = errors.in_event(fields) or self.error
        if errors.raises_in_sdks(fields):
            # It ends a stream as surely as a good end does.
            self._end(self._left)
        self._count(usage_in(fields))
        if fields.get("type") in self._dialect.terminal_types:
            self._end(1)

    def _count(self, usage: Usage | None) -> None:
        """Of several answers in one stream each counts its own."""
        if usage is not None:
            self.usage = self.usage.plus(usage) if self.usage and self.ended else usage

    def _end(self, answers: int) -> None:
        self.ended = True
        self._left -= answers

    def _read_long(self, head: bytes, tail: bytes) -> None:
        """A line too long to be read as a whole: its type is at its head, its usage near its tail."""
        self._count(_usage_near_end(tail))
        found = _TYPE.match(head)
        if found and found[1].decode() in self._dialect.terminal_types:
            self._end(1)


def _is_interesting(data: bytes) -> bool:
    """Whether `data` may end a stream, fail it, or count its tokens. Asked of every chunk, so it has to be quick."""
    if len(data) > _LONG_LINE:
        data = _without_insides(data)
    return (
        # find, because `in` first takes its operand for a number, which costs five times the search itself.
        data.find(b"[DONE]") >= 0
        or data.find(b'"error"') >= 0
        # What `include_usage` puts into every chunk but the last counts nothing.
        or data.count(b'"usage"') != data.count(b'"usage":null')
        or (data.find(b'"type"') >= 0 and _TERMINAL.search(data) is not None)
    )


def _without_insides(data: bytes) -> bytes:
    """`data` with its long lines reduced to their ends. Looks for line breaks only, which is fifty times quicker."""
    pieces: list[bytes] = []
    kept = at = 0
    while len(data) - at > _LONG_LINE:
        last = data.rfind(b"\n", at, at + _LONG_LINE)
        if last >= 0:
            at = last + 1
            continue
        end = data.find(b"\n", at + _LONG_LINE)
        end = end if end >= 0 else len(data)
        pieces.append(data[kept : at + _LINE_HEAD])
        kept, at = end - _LINE_TAIL, end
    return b"\n".join([*pieces, data[kept:]])


class BodyMeter:
    """Of a body that is not a stream. JSON has to be complete; of anything else (audio, text) only the transport can tell."""

    def __init__(self, content_type: str) -> None:
        self._is_json = content_type.lower().startswith("application/json")
        self._body = _Text()
        self.ended = False
        self.surplus: int | None = None
        self.error: Mapping[str, Any] | None = None
        self.usage: Usage | None = None

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""
        if self._is_json:
            self._body.add(chunk)

    def finish(self, failure: Exception | None) -> None:
        """Reads what came. A close-delimited body that was cut shows only here."""
        head, body = self._body.take()
        if not self._is_json:
            self.ended = failure is None
        elif head:
            self.usage = _usage_near_end(body)
            # Usage comes last as a rule, and is read only where the outermost bracket closes behind it.
            whole = self.usage is not None or b'"usage"' not in body
            self.ended = failure is None and whole and body.rstrip().endswith(b"}")
        else:
            fields = _object(body)
            self.usage = usage_in(fields)
            self.ended = bool(fields)


def usage_in(fields: Mapping[str, Any]) -> Usage | None:
    """The usage that an event or a body carries, at its top or (Responses) in its `response`."""
    for holder in (fields, fields.get("response")):
        if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
            return _usage(holder["usage"], holder)
    return None


def _usage(counts: Mapping[str, Any], holder: Mapping[str, Any]) -> Usage | None:
    into = _details(counts, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    out = _details(counts, "completion_tokens_details", "output_tokens_details", "output_token_details")
    if not any(isinstance(counts.get(name), int) for name in ("prompt_tokens", "input_tokens")):
        return None
    return Usage(
        input=_count(counts, "prompt_tokens", "input_tokens"),
        cached_input=_count(into, "cached_tokens"),
        cache_write=_count(into, "cache_write_tokens", "cache_creation_tokens"),
        audio_input=_count(into, "audio_tokens"),
        image_input=_count(into, "image_tokens"),
        output=_count(counts, "completion_tokens", "output_tokens"),
        reasoning=_count(out, "reasoning_tokens"),
        audio_output=_count(out, "audio_tokens"),
        image_output=_count(out, "image_tokens"),
        model=_word(holder.get("model")),
        service_tier=_word(holder.get("service_tier")),
    )


def _details(counts: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((counts[name] for name in names if isinstance(counts.get(name), dict)), {})


def _count(counts: Mapping[str, Any], *names: str) -> int:
    found = next((counts[name] for name in names if type(counts.get(name)) is int), 0)
    return max(0, found)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _usage_near_end(tail: bytes) -> Usage | None:
    """The usage of an answer, in the last bytes of its JSON: a member of the outermost object, or of its `response`.

    Where it stands decides, not what it is called: a caller's own JSON schema comes back in the answer and may hold
    an object of that name, but deeper down. (In text, its quotes would be escaped.)
    """
    text = tail.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    for match in reversed(list(_USAGE.finditer(text))):
        try:
            counts, end = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if _closings(text[end:]) in ("}", "}}"):
            return _usage(counts, {})
    return None


def _closings(text: str) -> str:
    """The brackets in `text` that close what was opened before it."""
    closing, depth = "", 0
    for mark in re.findall(r"[][{}]", _STRING.sub("", text)):
        depth += 1 if mark in "[{" else -1
        if depth < 0:
            closing, depth = closing + mark, 0
    return closing
