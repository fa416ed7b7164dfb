"""JSON as the relay accepts it, so that what was validated is exactly what is sent. Pure.

Numbers are written as they came: a float would turn 1e15 into 1000000000000000.0 and cut what has more than 17 digits.

Python's json keeps the last of two equal keys, takes NaN, Infinity, 1e999 and lone surrogates, and fails on deep nesting
with RecursionError; each of these lets two readers of one body see different things. Source: RFC 8259, sections 4, 6, 8.2.

A body is measured before it is parsed, because a few megabytes of "[[],[],..." become hundreds of megabytes of objects.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import NoReturn

from relay.errors import ErrorKind, RelayError
from relay.models import Json

# Requests nest some ten levels; JSON schemas, by OpenAI's own rule, ten more
# (platform.openai.com/docs/guides/structured-outputs). Python itself gives up between 1,000 and 10,000.
MOST_DEPTH = 100
# OpenAI takes at most 2,048 inputs and 300,000 tokens in one call for embeddings, where lists are longest
# (platform.openai.com/docs/api-reference/embeddings/create); nothing else in its API comes near.
MOST_VALUES = 310_000
MOST_CONTAINERS = 50_000
MOST_STRINGS = 100_000
# Fractions, exponents, true and false: tokens are whole numbers, and fractions take ten times as long to write.
MOST_OTHERS = 50_000

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"[^"]*"')
# Reading an integer takes time that grows with the square of its length; no field takes one near this.
MOST_DIGITS = 100
# An integer of up to so many digits is read by Python's own scanner, which is quickest; longer ones stay text.
_PLAIN_DIGITS = 18
_ALL_DIGITS_0 = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
# What is left of an ordinary request without its strings is shorter than any of these bounds, and so keeps all of them.
_HARMLESS_BYTES = min(MOST_DEPTH, MOST_VALUES, MOST_CONTAINERS, MOST_OTHERS)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Number:
    """A number that Python would write in other digits than it came in: a fraction, an exponent, -0, a long integer.

    Equal to what it is worth. Fields that take whole numbers take `int` only; `whole` is for those that clamp.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def whole(self) -> int | None:
        """Its value when it is written as an integer, else None."""
        return None if self.text.strip("-0123456789") else int(self.text)

    def __float__(self) -> float:
        return float(self.text)

    def __eq__(self, other: object) -> bool:
        if self.whole is not None and isinstance(other, int):
            return self.whole == other
        return isinstance(other, int | float | Number) and float(self) == float(other)

    def __hash__(self) -> int:
        return hash(float(self) if self.whole is None else self.whole)

    def __repr__(self) -> str:
        return f"Number({self.text!r})"


def parse(body: bytes) -> dict[str, Json]:
    """The object in `body`. Raises RelayError(BAD_JSON) that names the place."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise _bad("it begins with a byte order mark (BOM); send UTF-8 without one")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"byte {error.start} is not valid UTF-8") from None
    if not text.strip(" \t\r\n"):
        raise _bad("it is empty")
    decoder = _DECODER_OF_LONG if _measure(body) else _DECODER
    try:
        value = decoder.decode(text)
    except RecursionError:
        raise _bad("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _bad(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    if not isinstance(value, dict):
        raise _bad("it has to be an object")
    if _ESCAPED_SURROGATE.search(text):
        # Most are pairs (Python's json writes emoji so), and only writing tells. Not surrogates as such: UTF-8 has none.
        _refuse_surrogates(value)
    return value


def serialise(value: dict[str, Json]) -> bytes:
    """`value` as compact UTF-8. Raises RelayError(BAD_JSON) for what JSON or UTF-8 cannot carry."""
    try:
        text = _ENCODER.encode(value)
        if _OPEN in text:
            text = text.replace(f'"{_OPEN}', "").replace(f'{_CLOSE}"', "")
        return text.encode()
    except UnicodeEncodeError:
        raise _bad(f"{_surrogate_place(value)} holds half of a surrogate pair") from None
    except (ValueError, RecursionError):
        raise _bad("it holds a number that is not finite, or is nested too deeply") from None


def _bad(why: str) -> RelayError:
    return RelayError(ErrorKind.BAD_JSON, f"The body is not valid JSON: {why}.")


def _measure(body: bytes) -> bool:
    """Counts what the parser would build, without building it. Gives whether integers are in it that stay text.

    Exact for valid JSON: once escapes are gone, quotes only delimit strings. What is not valid, the parser refuses at
    the same place up to which these counts hold.
    """
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    if bare.count(b'"') > 2 * MOST_STRINGS:
        raise _bad(f"it holds more than {MOST_STRINGS} strings")
    skeleton = _STRING.sub(b"", bare)
    digits = skeleton.translate(_ALL_DIGITS_0)
    long_runs = digits.count(b"0" * (_PLAIN_DIGITS + 1))
    keeps_integers = long_runs > 0 or b"-0" in skeleton
    if len(skeleton) <= _HARMLESS_BYTES:
        return keeps_integers
    if skeleton.count(b",") > MOST_VALUES:
        raise _bad(f"it holds more than {MOST_VALUES} values")
    if sum(map(skeleton.count, (b".", b"e", b"E"))) > MOST_OTHERS:
        raise _bad(f"it holds more than {MOST_OTHERS} values that are neither whole numbers nor text")
    if long_runs > MOST_OTHERS:
        raise _bad(f"it holds too many numbers of more than {_PLAIN_DIGITS} digits")
    if b"0" * (MOST_DIGITS + 1) in digits:
        raise _bad(f"it holds a number of more than {MOST_DIGITS} digits")
    brackets = skeleton.translate(None, _NOT_BRACKETS)
    if len(brackets) > 2 * MOST_CONTAINERS:
        raise _bad(f"it holds more than {MOST_CONTAINERS} objects and lists")
    deepest = depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MOST_DEPTH:
        raise _bad(f"it is nested deeper than {MOST_DEPTH} levels")
    return keeps_integers


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _bad(f"the key {json.dumps(twice[:80])} appears twice in one object")
    return fields


def _constant(name: str) -> NoReturn:
    raise _bad(f"{name} is not a JSON number")


def _fraction(text: str) -> Number:
    # Without an exponent 100 digits are finite; with one, only reading tells.
    if ("e" in text or "E" in text) and math.isinf(float(text)):
        raise _bad(f"{text[:40]} is larger than any number that JSON's readers agree on")
    return Number(text)


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _PLAIN_DIGITS and text != "-0" else Number(text)


def _mark(number: object) -> str:
    if not isinstance(number, Number):
        raise TypeError(f"{type(number).__name__} is not JSON")
    return _OPEN + number.text + _CLOSE


# Made once, because json.loads and json.dumps with options make one for each call, which takes 1.5 and 1 us.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_fraction)
_DECODER_OF_LONG = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_float=_fraction, parse_int=_integer
)
# Numbers are given to the encoder as strings that no text of a parsed body can equal, because they hold halves of
# surrogate pairs; afterwards quotes and marks are taken away again.
_OPEN, _CLOSE = "\ud800\ud801", "\ud801\ud800"
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_mark)


def _refuse_surrogates(value: dict[str, Json]) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=lambda _: 0).encode()
    except UnicodeEncodeError:
        raise _bad(f"{_surrogate_place(value)} holds half of a surrogate pair") from None


def _surrogate_place(value: Json) -> str:
    """The path of the first string that UTF-8 cannot carry, like "messages[0].content". Only walked after a failure."""
    pending: list[tuple[str, Json]] = [("", value)]
    while pending:
        path, here = pending.pop()
        if isinstance(here, dict):
            if not all(_encodes(name) for name in here):
                return f"a key in {path or 'the object'}"
            pending.extend((_below(path, f".{name}"), each) for name, each in here.items())
        elif isinstance(here, list):
            pending.extend((_below(path, f"[{index}]"), each) for index, each in enumerate(here))
        elif isinstance(here, str) and not _encodes(here):
            return path
    return "a string"


def _below(path: str, step: str) -> str:
    # Names are the caller's and may be megabytes; an error message is for reading.
    return (path + step).lstrip(".")[:200]


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
