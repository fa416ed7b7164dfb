"""Reads a `settle_failed` line of the relay's log: whose settlement it was, and what it came to. Pure.

A log passes through many hands: lines are cut, wrapped or edited. Only a line in which every field has its type is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from relay.accounts.account import UsageRecord, record_of

EVENT = "settle_failed"
MOST = 10**30
"""Pico-USD, tokens and milliseconds beyond are in no log; DynamoDB's numbers have 38 digits."""
_TEXTS, _NUMBERS = ("id", "m", "e", "o", "v"), ("a", "u", "t", "bu", "bt", "s", "k")
_BELONGING = ("g", "lb")  # only in records that have a group, labels
MOST_CHARACTERS, KEY_CHARACTERS = 256, 512
"""Of a request's id and of a caller's key, which become parts of keys in the table (1,024 bytes there). The longest key is
that of a token's holder: "oidc/", an alias of 32, "/" and a subject of 255."""


class UnusableLineError(ValueError):
    """The line is, or was, a `settle_failed` line and cannot be booked. The text says why."""


def parse(text: str) -> Mapping[str, Any] | None:
    """Return the line as an object, or None when it is about something else."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        if EVENT in text:
            raise UnusableLineError("the line is cut or is no JSON") from None
        return None
    return line if isinstance(line, dict) and line.get("event") == EVENT else None


def settlement_of(line: Mapping[str, Any]) -> tuple[str, UsageRecord]:
    """Return the caller's key and the record of a `settle_failed` line. Raises UnusableLineError."""
    key, record = line.get("caller"), line.get("record")
    if not _is_key(key, KEY_CHARACTERS) or not isinstance(record, dict):
        raise UnusableLineError("`caller` has to be a caller's key, and `record` an object")
    if not _is_key(record.get("id")):
        raise UnusableLineError("`record.id` has to be a request's id")
    for field in _TEXTS:
        if not isinstance(record.get(field), str):
            raise UnusableLineError(f"`record.{field}` has to be a string")
    for field in _NUMBERS:
        if not _is_count(record.get(field)):
            raise UnusableLineError(f"`record.{field}` has to be a whole number")
    for field in _BELONGING:
        if field in record and not _is_key(record[field]):
            raise UnusableLineError(f"`record.{field}` has to be a name")
    counts = record.get("c")
    if not isinstance(counts, dict) or not all(map(_is_count, counts.values())):
        raise UnusableLineError("`record.c` has to be an object of whole numbers")
    return str(key), record_of(record["id"], record)


def _is_key(text: object, most: int = MOST_CHARACTERS) -> bool:
    return isinstance(text, str) and 0 < len(text) <= most and text.isascii() and text.isprintable()


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MOST
