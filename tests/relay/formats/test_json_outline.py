"""The outermost members of a JSON object: at every split, against the standard parser, and in linear time."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.formats import json_outline
from relay.formats.json_members import UNREADABLE, MemberReader
from relay.formats.json_outline import JsonOutline, Labelled

NAMES = st.sampled_from(["usage", "type", "response", "error", "a", 'q"', "b\\", "é", "", "usage ", "re\nsponse"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(NAMES, values, max_size=5)


def joined(pieces: Labelled) -> Labelled:
    """Pieces of one value made one."""
    return [
        (label, b"".join(piece for _, piece in group)) for label, group in itertools.groupby(pieces, key=lambda p: p[0])
    ]


def outline(parts: list[bytes]) -> tuple[Labelled, bool]:
    reader = JsonOutline("response")
    pieces = [piece for part in parts for piece in reader.feed(part)]
    return joined(pieces), reader.complete


def expected(fields: dict[str, Any]) -> dict[str, Any]:
    """Each member by its label, as the standard parser reads the whole."""
    inner = fields.get("response")
    labelled = {name: value for name, value in fields.items() if not (name == "response" and isinstance(inner, dict))}
    if isinstance(inner, dict):
        labelled |= {f"response.{name}": value for name, value in inner.items()}
    return labelled


@given(objects, st.sampled_from([None, 1]), st.booleans(), st.lists(st.integers(0, 400), max_size=5))
def test_members_are_those_of_the_standard_parser(
    fields: dict[str, Any], indent: int | None, ascii_only: bool, cuts: list[int]
) -> None:
    text = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    at = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces, complete = outline([text[a:b] for a, b in itertools.pairwise(at)])
    assert complete
    assert b"".join(piece for _, piece in pieces) == text
    read = {
        label: json.loads(piece)
        for label, piece in pieces
        if label and not (label == "response" and piece.strip() == b"{")
    }
    assert read == {name: value for name, value in expected(fields).items() if name}


TRICKY = (
    b' {"type":"x","a":[1,{"usage":{"q":1}},["]}\\"",[[["}"]]]]],"response":{"usage":{"input_tokens":1},"error":null,'
    b'"x":"\\"usage\\":{"},"us\\u0061ge":5 ,"\\\\":"\\\\", "z":{}} \n'
)


def test_every_split_reads_the_same() -> None:
    whole = outline([TRICKY])
    assert dict(whole[0])["response.usage"] == b'{"input_tokens":1}'
    assert dict(whole[0])["usage"] == b"5 "
    for at in range(len(TRICKY) + 1):
        assert outline([TRICKY[:at], TRICKY[at:]]) == whole
    assert outline([bytes([byte]) for byte in TRICKY]) == whole


def test_no_beginning_is_complete() -> None:
    end = TRICKY.rindex(b"}") + 1
    assert [outline([TRICKY[:at]])[1] for at in range(len(TRICKY) + 1)] == [at >= end for at in range(len(TRICKY) + 1)]


@pytest.mark.parametrize(
    "text",
    [
        b'[{"usage":1}]',
        b'{}}}}"usage":5',
        b'{} x{"usage":1}',
        b'{}{"usage":1}',
        b'"usage":1',
        b'}}{"usage":1}',
        b'x,"usage":1',
        b'{"a":{"usage":1}',
        b'{"response":[{"usage":1}]}',
        b'{"response":{"response":{"usage":1}}}',
        b'{"response.usage":1}',
        b'{"a":1:"usage":2}',
        b'{"' + b"x" * 100 + b'usage":1}',
        b"",
        b"null",
    ],
)
def test_what_stands_elsewhere_is_no_member(text: bytes) -> None:
    labels = {label for label, _ in outline([text])[0]}
    assert not labels & {"usage", "response.usage"}


@given(
    st.binary()
    | st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"usage", b" "])).map(b"".join)
)
def test_no_bytes_are_too_odd_or_lost(noise: bytes) -> None:
    for text in (noise, b'{"a":' + noise):
        whole = outline([text])
        assert b"".join(piece for _, piece in whole[0]) == text
        assert outline([text[at : at + 1] for at in range(len(text))]) == whole


def read(text: bytes, *labels: str) -> dict[str, Any] | None:
    reader = MemberReader(frozenset(labels), "response")
    reader.feed(text)
    return reader.fields()


def test_wanted_members_are_read_and_the_last_of_two_counts() -> None:
    text = b'{"a":1,"usage":{"x":1},"usage":{"x":2},"response":{"usage":3,"b":4}}'
    assert read(text, "usage", "response.usage") == {"usage": {"x": 2}, "response": {"usage": 3}}
    assert read(text, "b") == {}


@pytest.mark.parametrize("value", [b'"' + b"x" * 70_000 + b'"', b"[" * 30_000 + b"]" * 30_000, b"9" * 5000, b"nope"])
def test_a_value_that_cannot_be_read_is_told_from_one_that_is_missing(value: bytes) -> None:
    assert read(b'{"error":' + value + b',"type":"x"}', "error", "type") == {"error": UNREADABLE, "type": "x"}


# ---- time: counted in steps of the machine that looks at brackets, quotes, commas and colons, not in seconds


class _Counted(JsonOutline):
    steps = 0

    def _read_mark(self, mark: bytes) -> int:
        self.steps += 1
        return super()._read_mark(mark)

    def _read_string(self, data: bytes, at: int) -> int:
        self.steps += 1
        return super()._read_string(data, at)


def nasty(size: int) -> dict[str, bytes]:
    """Objects of about `size` bytes that a caller or OpenAI could write against a reader."""

    def filled(unit: bytes, end: bytes = b"1") -> bytes:
        return unit * (size // len(unit)) + end

    return {
        "echoed usage": b'{"a":[' + filled(b'{"usage":{}},') + b"]}",
        "open arrays": b'{"a":' + filled(b"["),
        "open objects": b'{"a":' + filled(b'{"usage":'),
        "closed arrays": b'{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
        "escapes": b'{"a":"' + filled(b'\\"') + b'"}',
        "backslashes": b'{"a":"' + filled(b"\\\\") + b'"}',
        "an open text in arrays": b'{"a":[[[["' + filled(b"x"),
        "texts": b'{"a":[' + filled(b'"",') + b"]}",
        "members": b"{" + filled(b'"usage":1,', b'"a":1}'),
        "nested responses": filled(b'{"response":'),
        "a long text": b'{"a":"' + filled(b"x") + b'"}',
        "a long number": b'{"a":' + filled(b"9") + b"}",
        "colons": b'{"a":' + filled(b":"),
    }


@pytest.mark.parametrize("name", nasty(10))
@pytest.mark.parametrize("piece", [1 << 16, 100])
def test_work_grows_as_the_bytes_do(name: str, piece: int) -> None:
    steps = []
    for size in (20_000, 80_000):
        reader = _Counted("response")
        text = nasty(size)[name]
        for at in range(0, len(text), piece):
            reader.feed(text[at : at + piece])
        steps.append(reader.steps)
        assert reader.steps <= 2 * len(text)
    assert steps[1] <= 4 * steps[0] + 100


def test_patterns_try_nothing_twice() -> None:
    """The patterns run in the library, where steps cannot be counted: none can give back what it has taken."""
    for pattern in (json_outline._STRING, json_outline._INSIDE, json_outline._BESIDE):
        assert b"*+" in pattern.pattern
        assert not [
            at
            for at in range(len(pattern.pattern))
            if pattern.pattern[at : at + 2] in (b"*)", b"+)", b"*?")
            and pattern.pattern[at - 1 : at + 1] not in (b"*+", b"++")
        ]
