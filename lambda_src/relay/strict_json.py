"""JSON as the relay accepts it, so that what was validated is exactly what is sent. Pure.

Python's json keeps the last of two equal keys, takes NaN and Infinity, lone surrogates, and fails on deep nesting with
RecursionError; each of these lets two readers of one body see different things. Source: RFC 8259, sections 4, 6, 8.2.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from relay.errors import Kind, RelayError


def parse(body: bytes) -> dict[str, Any]:
    """The object in `body`. Raises RelayError(BAD_JSON) that names the place."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"byte {error.start} is not valid UTF-8") from None
    if not text.strip():
        raise _bad("it is empty")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _bad(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise _bad("it holds a number that is too long") from None
    if not isinstance(value, dict):
        raise _bad("it has to be an object")
    return value


def serialise(value: dict[str, Any]) -> bytes:
    """`value` as compact UTF-8. Raises RelayError(BAD_JSON) for what JSON or UTF-8 cannot carry."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise _bad(f"{_surrogate_place(value)} holds half of a surrogate pair") from None
    except (ValueError, RecursionError):
        raise _bad("it holds a number that is not finite, or is nested too deeply") from None


def _bad(why: str) -> RelayError:
    return RelayError(Kind.BAD_JSON, f"The body is not valid JSON: {why}.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _bad(f"the key {json.dumps(twice[:80])} appears twice in one object")
    return fields


def _constant(name: str) -> NoReturn:
    raise _bad(f"{name} is not a JSON number")


def _surrogate_place(value: Any) -> str:
    """The path of the first string that UTF-8 cannot carry, like "messages[0].content". Only walked after a failure."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, here = pending.pop()
        if isinstance(here, dict):
            pending.extend((f"{path}.{name}".lstrip("."), each) for name, each in here.items())
            if not all(_encodes(name) for name in here):
                return f"a key in {path or 'the object'}".encode("ascii", "replace").decode()
        elif isinstance(here, list):
            pending.extend((f"{path}[{index}]", each) for index, each in enumerate(here))
        elif isinstance(here, str) and not _encodes(here):
            return path.encode("ascii", "replace").decode()
    return "a string"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
