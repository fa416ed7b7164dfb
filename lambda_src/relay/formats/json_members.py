"""Reads a few members of one JSON object as its bytes come: short ones by the json module, long ones in one pass. Pure."""

from __future__ import annotations

import json

from relay.formats.json_outline import JsonOutline
from relay.models import Json, JsonObject

UNREADABLE = "?"
"""Stands for a value that came and is not read: it is too long, nested too deep, or no JSON."""

_VALUE_BYTES = 1 << 16
# An object of more bytes than this is not kept whole.
_AT_ONCE_BYTES = 1 << 20


class MemberReader:
    """Reads the members `labels` of one JSON object as its bytes come, and passes over all others.

    Of a member that comes twice the last counts. A value of more than 64 KB is none of those that are looked for, and of
    what is no valid JSON, brackets and quotes alone decide.
    """

    def __init__(self, labels: frozenset[str], within: str) -> None:
        self._labels = labels
        self._within = within
        # Kept as they come while they are few: the json module reads those ten times quicker, all at once.
        self._pieces: list[bytes] = []
        self._size = 0
        self._outline: JsonOutline | None = None
        self._values: dict[str, bytearray] = {}
        self._last = ""
        self._fields: JsonObject | None = None

    def feed(self, data: bytes) -> None:
        """Takes more of the object."""
        self._fields = None
        if self._outline is not None:
            self._label(self._outline, data)
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _AT_ONCE_BYTES:
            self._read_by_outline()

    def fields(self) -> JsonObject | None:
        """The members: {"name": value, within: {"name": value}}. A value that cannot be read is UNREADABLE.

        None while the object has not ended, or where something came behind it.
        """
        fields = self._parse()
        if fields is not None:
            return fields
        if not self._read_by_outline().complete:
            return None
        outer: JsonObject = {}
        inner: JsonObject = {}
        for label, value in self._values.items():
            name = label.removeprefix(f"{self._within}.")
            (outer if name == label else inner)[name] = _value(value)
        return outer | ({self._within: inner} if inner else {})

    def _parse(self) -> JsonObject | None:
        """The members that are looked for, where the whole object is at hand and valid; else None."""
        if self._outline is None and self._fields is None:
            whole = _object(b"".join(self._pieces))
            if whole is None:
                self._read_by_outline()
            else:
                self._fields = self._chosen(whole)
        return self._fields

    def _chosen(self, whole: JsonObject) -> JsonObject:
        # No member's own name has a dot: that is how those of `within` are told from the others.
        fields = {name: _short(value) for name, value in whole.items() if name in self._labels and "." not in name}
        within = whole.get(self._within)
        if isinstance(within, dict):
            inner = {name: _short(value) for name, value in within.items() if f"{self._within}.{name}" in self._labels}
            fields |= {self._within: inner} if inner else {}
        return fields

    def _read_by_outline(self) -> JsonOutline:
        if self._outline is None:
            self._outline = JsonOutline(self._within)
            for piece in self._pieces:
                self._label(self._outline, piece)
            self._pieces.clear()
        return self._outline

    def _label(self, outline: JsonOutline, data: bytes) -> None:
        for label, piece in outline.feed(data):
            if label in self._labels:
                if label != self._last:
                    self._values[label] = bytearray()
                value = self._values[label]
                value += piece[: _VALUE_BYTES + 1 - len(value)]
            self._last = label


def _object(data: bytes) -> JsonObject | None:
    try:
        value: Json = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _short(value: Json) -> Json:
    return UNREADABLE if isinstance(value, str) and len(value) > _VALUE_BYTES else value


def _value(text: bytearray) -> Json:
    try:
        value: Json = json.loads(text) if len(text) <= _VALUE_BYTES else UNREADABLE
    except (ValueError, RecursionError):
        return UNREADABLE
    return value
