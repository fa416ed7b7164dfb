"""The prelude's reader: any split of the bytes gives the same answer, and what Lambda would refuse is refused."""

from __future__ import annotations

import json

import pytest

from emulator.runtime.prelude import LIMIT, InvalidPreludeError, Prelude, PreludeReader, parse

HEAD = {"statusCode": 201, "headers": {"x-a": "1"}, "cookies": ["c=1"]}
WIRE = json.dumps(HEAD).encode() + b"\0" * 8 + b"\0body\0" + b"\0" * 8
EXPECTED = Prelude(status=201, headers=(("x-a", "1"), ("set-cookie", "c=1")))


@pytest.mark.parametrize("at", range(len(WIRE) + 1))
def test_every_split_in_two_gives_the_same(at: int) -> None:
    reader = PreludeReader()
    body = reader.feed(WIRE[:at]) + reader.feed(WIRE[at:])
    assert (reader.prelude, body) == (EXPECTED, b"\0body\0" + b"\0" * 8)


def test_byte_by_byte() -> None:
    reader = PreludeReader()
    body = b"".join(reader.feed(WIRE[at : at + 1]) for at in range(len(WIRE)))
    assert (reader.prelude, body) == (EXPECTED, b"\0body\0" + b"\0" * 8)


def test_an_empty_prelude_is_a_200() -> None:
    assert parse(b"{}") == Prelude(status=200, headers=())


def test_framing_headers_are_dropped() -> None:
    framing = dict.fromkeys(("Content-Length", "Transfer-Encoding", "Connection", "Trailer"), "x")
    assert parse(json.dumps({"headers": {**framing, "x-b": "2"}}).encode()).headers == (("x-b", "2"),)


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{",
        b'{"statusCode":true}',
        b'{"statusCode":199}',
        b'{"statusCode":600}',
        b'{"headers":["a"]}',
        b'{"headers":{"a":null}}',
        b'{"multiValueHeaders":{"a":"b"}}',
        b'{"multiValueHeaders":{"a":[1]}}',
        b'{"multiValueHeaders":[]}',
        b'{"cookies":"a=1"}',
        b'{"cookies":[1]}',
        b'{"headers":{"a":"b\\r\\nc: d"}}',
        b'{"headers":{"":"b"}}',
        b"\xff",
    ],
)
def test_what_lambda_would_not_take_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidPreludeError):
        parse(raw)


def test_the_delimiter_has_to_come_within_the_limit() -> None:
    reader = PreludeReader()
    assert reader.feed(b"x" * LIMIT) == b""
    with pytest.raises(InvalidPreludeError, match="no delimiter"):
        reader.feed(b"x")
