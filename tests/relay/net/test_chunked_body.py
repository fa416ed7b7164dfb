"""Body past the library: it is to be what h11 alone would have read, and h11 is to judge the rest in the same way."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.net.chunked_body import ResponseFraming

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def read(pieces: list[bytes], framing: ResponseFraming | None = None) -> tuple[bytes, str]:
    """What h11 makes of the pieces, alone or behind `framing`: the body, and how it ended."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    body, past, headed = b"", b"", False
    for piece in [*pieces, b""]:
        rest = piece
        if framing is not None and piece:
            past += framing.feed(piece)
            rest = framing.take_rest()
        if headed:
            body, past = body + past, b""
        if rest or not piece:  # b"" says that the peer has closed
            connection.receive_data(rest)
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return body, "refused"
            if isinstance(event, h11.Response):
                headed = True
                body, past = body + past, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return body, "complete"
            elif not isinstance(event, h11.Response | h11.InformationalResponse):
                break
    return body, "cut"


def same(pieces: list[bytes]) -> None:
    assert read(pieces, ResponseFraming()) == read(pieces)


ANSWERS = {
    "plain": HEAD + chunked(b"data: 1\n\n", b"data: 2\n\n", b"x" * 300),
    "capitals": HEAD.replace(b"Transfer-Encoding", b"TRANSFER-ENCODING") + chunked(b"a", b"b"),
    "informational": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + HEAD + chunked(b"a", b"b"),
    "many informational": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 5 + HEAD + chunked(b"a", b"b"),
    "informational and no more": b"HTTP/1.1 103 Early\r\n\r\n" * 3,
    "extension": HEAD + b"3;a=b\r\nabc\r\n" + chunked(b"d"),
    "extension later": HEAD + b"1\r\na\r\n3;a=b\r\nabc\r\n" + chunked(b"d"),
    "trailers": HEAD + b"1\r\na\r\n0\r\nx-one: 1\r\n\r\n",
    "leading zeros": HEAD + b"0003\r\nabc\r\n" + chunked(b"d"),
    "content length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n5\r\nab",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n5\r\nabcde\r\n",
    "line feeds": HEAD.replace(b"\r\n", b"\n") + chunked(b"a", b"b"),
    "a line feed ends the head early": b"HTTP/1.1 200 OK\n" + HEAD[15:] + chunked(b"a", b"b"),
    "a blank line of one line feed": HEAD[:-2] + b"\n1\r\na\r\n\r\n2\r\nbc\r\n0\r\n\r\n",
    "no break after a chunk": HEAD + b"3\r\nabc3\r\ndef\r\n0\r\n\r\n",
    "wrong break after a chunk": HEAD + b"3\r\nabcX\r\n3\r\ndef\r\n0\r\n\r\n",
    "not a size": HEAD + b"3\r\nabc\r\nxyz\r\n",
    "negative": HEAD + b"3\r\nabc\r\n-1\r\n",
    "no size": HEAD + b"\r\nabc\r\n",
    "huge size": HEAD + b"3\r\nabc\r\nffffffffffffffffffff\r\nabc",
    "cut in a chunk": HEAD + b"3\r\nabc\r\n9\r\nab",
    "cut in a size": HEAD + b"3\r\nabc\r\n9",
    "empty": HEAD + b"0\r\n\r\n",
    "a body where there is none": HEAD.replace(b"200 OK", b"204 No Content") + chunked(b"a"),
    "an odd chunk behind plain ones": HEAD + b"1\r\na\r\n1\r\nb\r\n1;x\r\nc\r\n1\r\nd\r\n0\r\n\r\n",
    "an older version, early": HEAD.replace(b"HTTP/1.1 200", b"HTTP/1.0 100") + chunked(b"a"),
    "an unknown version": HEAD.replace(b"HTTP/1.1", b"HTTP/1.2") + chunked(b"a"),
    "an unknown version without a body": HEAD.replace(b"HTTP/1.1 200", b"HTTP/1.2 204") + chunked(b"a"),
    "an older version": HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + chunked(b"a"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_the_library_sees_the_same_whole_and_split_at_every_byte(answer: bytes) -> None:
    same([answer])
    same([answer[n : n + 1] for n in range(len(answer))])
    for at in range(1, len(answer)):
        same([answer[:at], answer[at:]])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_any_chunks_in_any_pieces(parts: list[bytes], data: st.DataObject) -> None:
    answer = HEAD + chunked(*parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True) if a < b]
    assert read(pieces, ResponseFraming()) == (b"".join(parts), "complete")


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_garbage_after_the_head(garbage: bytes, at: int) -> None:
    same([piece for piece in (HEAD + b"2\r\nab\r\n", garbage[:at], garbage[at:]) if piece])


@pytest.mark.parametrize("line", [b"HTTP/1.0 100 X", b"HTTP/1.2 204 X", b"HTTP/1.1 304 X", b"HTTP/2.0 200 X"])
def test_what_may_not_be_the_answer_is_left_to_the_library(line: bytes) -> None:
    framing = ResponseFraming()
    assert framing.feed(HEAD.replace(b"HTTP/1.1 200 OK", line) + chunked(b"a")) == b""
    assert not framing.in_body


def test_plain_chunks_go_past_the_library() -> None:
    framing = ResponseFraming()
    assert framing.feed(HEAD + b"1\r\na\r\n2\r\nbc\r\n") == b"abc"
    assert (framing.take_rest(), framing.in_body) == (HEAD, True)
    assert framing.feed(b"1\r\nd\r\n0\r\n\r\n") == b"d"
    assert (framing.take_rest(), framing.in_body) == (b"0\r\n\r\n", False)
    assert framing.take_rest() == b""


def test_no_byte_of_a_body_waits_for_more() -> None:
    framing = ResponseFraming()
    framing.feed(HEAD)
    assert framing.feed(b"ffff\r\nab") == b"ab"
    assert framing.feed(b"c") == b"c"


EXACT = {
    "chunked": HEAD + chunked(b"a", b"b"),
    "chunked, empty": HEAD + b"0\r\n\r\n",
    "content length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n5\r\nab",
    "no content": b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
    "informational": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + HEAD + chunked(b"a"),
}


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in EXACT.items()])
def test_one_whole_answer_is_told_from_less_and_more(answer: bytes) -> None:
    for at in range(len(answer)):
        for end in range(at, len(answer) + 1):
            framing = ResponseFraming()
            for piece in (answer[:at], answer[at:end]):
                if piece:
                    framing.feed(piece)
            assert framing.exact == (end == len(answer)), (at, end)
        for more in (b"\r", b"HTTP/1.1 200 OK\r\n"):
            framing = ResponseFraming()
            for piece in (answer[:at], answer[at:] + more):
                if piece:
                    framing.feed(piece)
            assert not framing.exact


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil it closes",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
        HEAD + b"0\r\nx-one: 1\r\n\r\n",
    ],
)
def test_where_the_end_is_not_plain_nothing_is_promised(answer: bytes) -> None:
    framing = ResponseFraming()
    framing.feed(answer)
    assert not framing.exact


@pytest.mark.parametrize("cut", [0, 1, 20_000, 99_999])
def test_any_number_of_informational_responses_may_come_in_one_read(cut: int) -> None:
    data = b"HTTP/1.1 103 Early\r\n\r\n" * 5000 + HEAD + chunked(b"a", b"b")
    same([data[:cut], data[cut:]] if cut else [data])
