"""Reading answers: h11, which is a second reader of the same RFC, has to see the same, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.net.http1_response import BadResponseError, ResponseReader

MOST = 1000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, most: int = MOST) -> ResponseReader:
    """The complete answer in `pieces`, of which the last one is needed; closed behind them if that is."""
    reader = ResponseReader(most)
    for piece in pieces[:-1]:
        assert not reader.feed(piece)
    assert reader.feed(pieces[-1])
    return reader


def by_h11(pieces: Iterable[bytes]) -> tuple[int, dict[str, str], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    status, headers, body = 0, {}, b""
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body
    raise AssertionError("not complete")


WHOLE = [
    OK + b"Content-Length: 2\r\n\r\n{}",
    OK + b"Content-Length: 0\r\n\r\n",
    OK + b'content-length:\t 2 \t\r\nA:\r\nb: caf\xe9, "x"; y\r\n~!#: 1\r\nA: again\r\n\r\n{}',
    b"HTTP/1.1 202 \r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 202\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.0 410 Gone\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n{}",
    CHUNKED + b"0\r\n\r\n",
    CHUNKED + b"2\r\n{}\r\nA\r\n0123\r\n6789\r\n0\r\n\r\n",
    CHUNKED + b"2;name=value\r\n{}\r\n00\r\nTrailer: x\r\nAnother:\r\n\r\n",
    OK + b"transfer-encoding: chunked\r\nConnection: close\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("data", WHOLE)
def test_reads_what_h11_reads_wherever_it_is_cut(data: bytes) -> None:
    expected = by_h11([data])
    assert expected == by_h11([data[at : at + 1] for at in range(len(data))])
    for at in range(1, len(data)):
        reader = read(data[:at], data[at:])
        assert (reader.status, reader.headers, reader.body) == expected, at
    reader = read(*(data[at : at + 1] for at in range(len(data))))
    assert (reader.status, reader.headers, reader.body) == expected


@pytest.mark.parametrize("data", WHOLE)
def test_says_so_when_the_connection_closes_before_the_end(data: bytes) -> None:
    for at in range(len(data)):
        reader = ResponseReader(MOST)
        assert not (data[:at] and reader.feed(data[:at]))
        with pytest.raises(BadResponseError, match="closed"):
            reader.feed(b"")


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader = read(OK + b"\r\nhalf", b" and half", b"")
    assert (reader.body, reader.reusable) == (b"half and half", False)


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (OK + b"Content-Length: 2\r\n\r\n{}", True),
        (OK + b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", True),
        (CHUNKED + b"0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (OK + b"Content-Length: 2\r\nConnection: Close\r\n\r\n{}", False),
        (OK + b"Content-Length: 2\r\nConnection: x, close\r\nConnection: y\r\n\r\n{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n", False),
        (CHUNKED + b"0\r\n\r\n\r\n", False),
    ],
)
def test_a_connection_is_good_for_another_exchange_only_when_this_one_ended_exactly(
    data: bytes, reusable: bool
) -> None:
    assert read(data).reusable is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"quoted\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 099 quoted\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\nquoted\r\n\r\n",
        OK + b"quoted\r\n\r\n",
        OK + b": quoted\r\n\r\n",
        OK + b"Name : quoted\r\n\r\n",
        OK + b" Name: quoted\r\n\r\n",
        OK + b"Name: folded\r\n quoted\r\n\r\n",
        OK + b"Name: with a \0 quoted\r\n\r\n",
        OK + b"Name: with a bare \n quoted\r\n\r\n",
        OK + b"Name: with a bare \r quoted\r\n\r\n",
        OK + b"N\xc3me: quoted\r\n\r\n",
        OK + b"Content-Length: quoted\r\n\r\n",
        OK + b"Content-Length:\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: +1\r\n\r\n",
        OK + b"Content-Length: 1, 1\r\n\r\n",
        OK + b"Content-Length: 0\xb2\r\n\r\n",
        OK + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"Content-Length: 1001\r\n\r\n",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"\r\n" + b"x" * 1001,
        OK + b"A: " + b"x" * 65_536 + b"\r\n\r\n",
        OK + b"A: " + b"x" * 65_536,
        CHUNKED + b"quoted\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"0x1\r\n",
        CHUNKED + b"1_0\r\n",
        CHUNKED + b"2\n{}\r\n",
        CHUNKED + b"2;\0\r\n",
        CHUNKED + b"2\r\n{}quoted\r\n",
        CHUNKED + b"2\r\n{}\n\n",
        CHUNKED + b"3e9\r\n",
        CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n",
        CHUNKED + b"0000000000000001\r\n",
        CHUNKED + b"1" * 4097,
        CHUNKED + b"1;" + b"x" * 4097 + b"\r\n",
        CHUNKED + b"0\r\nquoted\r\n",
        CHUNKED + b"0\r\nA: " + b"x" * 4096 + b"\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_or_without_end_is_refused_and_not_quoted(data: bytes) -> None:
    with pytest.raises(BadResponseError) as raised:
        ResponseReader(MOST).feed(data)
    assert "quoted" not in str(raised.value)
    reader = ResponseReader(MOST)
    with pytest.raises(BadResponseError):
        any(reader.feed(data[at : at + 1]) for at in range(len(data)))


@pytest.mark.parametrize("head", [OK + b"Content-Length: 1000\r\n\r\n", CHUNKED + b"3e8\r\n"])
def test_a_body_of_just_the_size_that_is_taken(head: bytes) -> None:
    body = b"x" * 1000
    assert read(head + body + (b"\r\n0\r\n\r\n" if b"chunked" in head else b"")).body == body


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(1, 700))
def test_chunks_of_any_size_in_pieces_of_any_size(chunks: list[bytes], size: int) -> None:
    data = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader = read(*(data[at : at + size] for at in range(0, len(data), size)), most=1800)
    assert reader.body == b"".join(chunks)


def test_a_coding_is_known_in_any_case() -> None:
    assert read(OK + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\n{}\r\n0\r\n\r\n").body == b"{}"


def test_six_megabytes_in_chunks_and_reads_as_a_service_sends_them() -> None:
    piece = b"8000\r\n" + b"x" * 32_768 + b"\r\n"
    reader = read(CHUNKED, *[piece] * 192, b"0\r\n\r\n", most=1 << 24)
    assert reader.body == b"x" * 192 * 32_768


def test_any_number_of_informational_responses_may_come_in_one_read() -> None:
    reader = ResponseReader(MOST)
    assert reader.feed(b"HTTP/1.1 103 Early\r\n\r\n" * 5000 + OK + b"Content-Length: 2\r\n\r\n{}")
    assert (reader.status, reader.body) == (200, b"{}")
