"""Reads along with a response: whether it has come to its end, whether OpenAI tells of an error in it, what it used. Pure.

Looks at bytes without touching them. Time is linear in the bytes and memory is bounded, whatever the length of an event
or a body and whatever a caller or OpenAI wrote into it: single events of several megabytes (images) are ordinary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from relay.formats.json_members import MemberReader
from relay.models import Json, JsonObject, Usage
from relay.net import sse
from relay.response.members import BODY_MEMBERS, EVENT_MEMBERS, error_in, raises_in_sdks, usage_in
from relay.response.stream_formats import StreamFormat

# What begins the data of a chat stream's last event, and a name longer than any event's.
_DONE = b"[DONE]"
_NAME_BYTES = 64
# An event of more bytes is looked into as it comes.
_HELD_BYTES = 1 << 20
_HEAD_BYTES = 1 << 12
_ENDS_BYTES = 1 << 14


class Meter(Protocol):
    """Reads along with one response. `ended`: nothing is missing. `error`: OpenAI's error object, from the stream itself.

    `began`: an event of a stream has come whole. `surplus`: how many of the bytes fed last came after the event that ended
    it; None when nothing has ended it.
    """

    ended: bool
    began: bool
    surplus: int | None
    error: Mapping[str, Json] | None

    @property
    def usage(self) -> Usage | None:
        """What OpenAI counted, where that is certain to be all of it."""

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""

    def finish(self, failure: Exception | None) -> None:
        """Upstream has ended: well, or with `failure`."""


class EventMeter:
    """Of an event stream. Reads no further than its terminal event, of which there is one for each of `choices` (images)."""

    def __init__(self, stream_format: StreamFormat, *, choices: int = 1) -> None:
        self._format = stream_format
        self._marks = (_DONE, b"error", *[name.encode() for name in stream_format.terminal_types])
        self._splitter = sse.EventSplitter()
        self._open: _Event | None = None
        self._left = choices
        self._usage: Usage | None = None
        self._counts_all = False
        self.ended = self.began = False
        self.surplus: int | None = None
        self.error: Mapping[str, Json] | None = None

    @property
    def usage(self) -> Usage | None:
        """What OpenAI counted; None while more may be billed than was counted, as after the first of several images."""
        return self._usage if self._counts_all else None

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""
        if self._left <= 0:
            self.surplus = len(chunk)
            return
        rest, ended, events, start = self._splitter.cut(chunk)
        self.began = self.began or ended or bool(events)
        if self._open is not None:
            self._open.feed(rest)
        if ended and self._close(surplus=len(chunk) - len(rest)):
            return
        if events and self._is_interesting(events):
            surplus = len(chunk) - len(rest)
            for event in sse.split(events):
                surplus -= len(event)
                self._open = _Event()
                self._open.feed(event)
                if self._close(surplus=surplus):
                    return
        if start:
            self._open = _Event()
            self._open.feed(start)

    def finish(self, failure: Exception | None) -> None:
        """What came last counts as an event, although the blank line behind it is missing. Of several images that broke off
        one is not enough."""
        if self._open is not None:
            self._read(self._open)
        if failure is not None and self._left > 0:
            self.ended = False

    def _is_interesting(self, events: bytes) -> bool:
        """Whether `events` may end a stream, fail it, or count its tokens. Asked of every chunk, so it has to be quick."""
        # find, because `in` first takes its operand for a number, which costs five times the search itself.
        if max(map(events.find, self._marks)) >= 0:
            return True
        # What `include_usage` puts into every chunk but the last counts nothing.
        return events.count(b'"usage"') != events.count(b'"usage":null')

    def _close(self, *, surplus: int) -> bool:
        """Reads the event that was open; True when it ends the stream."""
        if self._open is not None:
            self._read(self._open)
            self._open = None
        if self._left <= 0:
            self.surplus = surplus
        return self._left <= 0

    def _read(self, event: _Event) -> None:
        if event.held and not self._is_interesting(event.ends()):
            return
        reader = event.read()
        if reader.start.startswith(_DONE):
            self._counts_all = True
            self._end(self._left)
            return
        fields = reader.fields()
        if fields is None:
            return  # cut, or not of a kind that says anything of the stream
        is_terminal = fields.get("type") in self._format.terminal_types
        self._count(usage_in(fields), is_terminal=is_terminal)
        self.error = error_in(fields) or self.error
        if is_terminal:
            self._end(1)
            self._counts_all = self._left <= 0
        elif raises_in_sdks(fields):
            # It ends a stream as surely as a good end does, but says nothing of what was billed until then.
            self._end(self._left)
        elif fields.get("choices") == []:
            self._counts_all = self._usage is not None

    def _count(self, usage: Usage | None, *, is_terminal: bool) -> None:
        """Of several images in one stream each counts its own; a count before the end is replaced by the next one."""
        if usage is not None:
            self._usage = self._usage.plus(usage) if self._usage and self.ended and is_terminal else usage

    def _end(self, choices: int) -> None:
        self.ended = True
        self._left -= choices


class _Event:
    """One event as its bytes come. `held` are its bytes while they are few: into most events nobody looks."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self._held_bytes = 0
        self._reader: _EventReader | None = None

    def feed(self, data: bytes) -> None:
        if self._reader is not None:
            self._reader.feed(data)
            return
        self.held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES:
            self.read()

    def ends(self) -> bytes:
        """What is held; of a long event its ends, where what tells of the stream stands."""
        whole = b"".join(self.held)
        return whole if len(whole) <= _ENDS_BYTES else whole[:_HEAD_BYTES] + whole[-_ENDS_BYTES:]

    def read(self) -> _EventReader:
        """Looks into what is held, and into all that follows."""
        if self._reader is None:
            self._reader = _EventReader()
            for data in self.held:
                self._reader.feed(data)
            self.held.clear()
        return self._reader


class _EventReader:
    """Reads the members of one event that count. `start`: how its data begins."""

    def __init__(self) -> None:
        self.start = b""
        self._name = b""
        self._fields = sse.FieldReader()
        self._members = MemberReader(EVENT_MEMBERS, "response")

    def feed(self, data: bytes) -> None:
        for name, piece in self._fields.feed(data):
            if name == b"data":
                self.start += piece[: len(_DONE) - len(self.start)]
                self._members.feed(piece)
            elif name == b"event":
                self._name = (self._name + piece)[:_NAME_BYTES]

    def fields(self) -> JsonObject | None:
        """The members that count, None where the data is not one whole JSON object. The type of an event is also its name,
        where its data tells none."""
        fields = self._members.fields()
        if fields is None or "type" in fields:
            return fields
        return {**fields, "type": self._name.decode("utf-8", "replace")}


class BodyMeter:
    """Of a body that is not a stream. JSON has to be complete; of anything else (audio, text) only the transport can tell."""

    def __init__(self, content_type: str) -> None:
        self._is_json = content_type.lower().startswith("application/json")
        self._members = MemberReader(BODY_MEMBERS, "response")
        self._is_empty = True
        self.ended = self.began = False
        self.surplus: int | None = None
        self.error: Mapping[str, Json] | None = None
        self.usage: Usage | None = None

    def feed(self, chunk: bytes) -> None:
        """Sees the next bytes."""
        self._is_empty = self._is_empty and not chunk
        if self._is_json:
            self._members.feed(chunk)

    def finish(self, failure: Exception | None) -> None:
        """Reads what came. A close-delimited body that was cut shows only here, and so does one that is empty."""
        fields = self._members.fields() if self._is_json else None
        is_complete = fields is not None if self._is_json else not self._is_empty
        self.ended = is_complete and failure is None
        self.usage = usage_in(fields) if fields is not None else None
