"""Finds the outermost members of one JSON object in its bytes as they come. Pure.

Time is linear in the bytes and memory is constant, whatever the nesting, the lengths and the pieces: nothing is parsed
but the names of the outermost members. What stands deeper down, or in a text, is never taken for one of them.
Source: RFC 8259. Of what is no valid JSON, brackets and quotes alone decide.
"""

from __future__ import annotations

import json
import re

Labelled = list[tuple[str, bytes]]
"""(label, bytes) in the order of the bytes: "" for what is no member's value."""

# Names that are longer are not looked for.
_NAME_BYTES = 64
# What may follow an opening quote up to the closing one; a lone backslash at the end is left over.
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
# What means nothing beside the members themselves.
_BESIDE = re.compile(rb'[^"\[\]{},:]*+')
# And inside the value of one, where whole texts mean nothing either, nor do objects and arrays that hold at most one more
# level: only what is nested deeper or cut by the end of a piece is looked at bracket by bracket. Nothing is tried twice.
_PLAIN = rb'[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb"[\[{](?:" + _PLAIN + rb")*+[\]}]"
_INSIDE = re.compile(rb"(?:%b|[\[{](?:%b|%b)*+[\]}])*+" % (_PLAIN, _PLAIN, _FLAT), re.DOTALL)
_WHITE_SPACE = b" \t\r\n"


class JsonOutline:
    """Reads along with one object. `complete`: it has ended, and nothing but white space came behind it.

    The members of the object are labelled with their names, and so are those of its member `within`: "within.name".
    """

    def __init__(self, within: str) -> None:
        self.complete = False
        self._within = within
        self._depth = 0
        # The depth at which members are labelled just now: 0 before the object begins, 1 in it, 2 in its member `within`;
        # -1 where nothing is labelled any more.
        self._level = 0
        self._label = ""
        self._name: bytearray | None = None
        self._expects_name = False
        self._in_string = False
        self._escaped = False

    def feed(self, data: bytes) -> Labelled:
        """All of `data`, labelled. A value may come in several pieces, directly one after another."""
        pieces: Labelled = []
        at = start = 0
        while at < len(data):
            if self._in_string:
                at = self._read_string(data, at)
                continue
            if self.complete:
                self._read_behind(data[at:])
                break
            pattern = _BESIDE if self._depth == self._level else _INSIDE
            at = pattern.match(data, at).end()  # type: ignore[union-attr]  # it also matches nothing
            label = self._label
            end = at + self._read_mark(data[at : at + 1])
            if self._label != label:
                pieces.append((label, data[start:end]))
                start = end
            at += 1
        pieces.append((self._label, data[start:]))
        return [piece for piece in pieces if piece[1]]

    def _is_beside(self) -> bool:
        """Whether the next byte stands beside the members that are labelled, not in the value of one of them."""
        return self._depth == self._level > 0

    def _read_behind(self, data: bytes) -> None:
        if data.strip(_WHITE_SPACE):
            self.complete, self._level = False, -1

    def _read_mark(self, mark: bytes) -> int:
        """Takes a quote, a bracket, a colon or a comma; 1 where the mark itself belongs to what came before it."""
        beside = self._is_beside()
        if mark == b'"':
            self._in_string = True
            self._name = bytearray() if beside and self._expects_name else None
            self._expects_name = False
        elif mark in (b"{", b"["):
            return self._open(mark)
        elif mark in (b"}", b"]"):
            self._close()
        elif mark == b":" and beside and self._name is not None:
            self._label, self._name = self._prefix() + _text(self._name), None
            return 1
        elif mark == b"," and beside:
            self._label, self._expects_name = "", True
        return 0

    def _prefix(self) -> str:
        return f"{self._within}." if self._level == 2 else ""

    def _open(self, mark: bytes) -> int:
        is_outermost = self._depth == self._level == 0
        self._depth += 1
        if mark == b"[":
            self._level = -1 if is_outermost else self._level
        elif is_outermost or (self._level == 1 and self._depth == 2 and self._label == self._within):
            self._level, self._label, self._expects_name = self._depth, "", True
        return 1

    def _close(self) -> None:
        if self._is_beside():
            self._level -= 1
            self._label, self._expects_name = "", False
            self.complete = self._level == 0
        self._depth -= 1

    def _read_string(self, data: bytes, at: int) -> int:
        """The index behind the part of the open string that is in `data`."""
        end = data.find(b'"', at)
        if self._escaped or data.find(b"\\", at, end if end >= 0 else len(data)) >= 0:
            end = _STRING.match(data, at + self._escaped).end()  # type: ignore[union-attr]  # it also matches nothing
            self._escaped = data[end : end + 1] == b"\\"
            end = end if data[end : end + 1] == b'"' else -1
        if self._name is not None and len(self._name) <= _NAME_BYTES:
            self._name += data[at : end if end >= 0 else len(data)][: _NAME_BYTES + 1]
        if end < 0:
            return len(data)
        self._in_string = False
        return end + 1


def _text(name: bytearray) -> str:
    """The name as it is meant: with its escapes read, if it has any."""
    if len(name) > _NAME_BYTES or b"." in name:
        return "?"
    try:
        return str(json.loads(b'"%s"' % name)) if b"\\" in name else name.decode()
    except ValueError:
        return "?"
