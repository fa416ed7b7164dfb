"""Where events end, and the events the relay writes: judged by two parsers made by others."""

from __future__ import annotations

from itertools import groupby, pairwise, product

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.net import sse

ERROR = RelayError(ErrorKind.UPSTREAM_BROKEN).body()
streams = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b"data", b": c", b"id: 1", b"event: e", b" "])
).map(b"".join)


def events(stream: bytes) -> list[tuple[str, str]]:
    """(event, data) of every event, as httpx-sse reads the whole."""
    lines, decoder = SSELineDecoder(), SSEDecoder()
    found = []
    for line in [*lines.decode(stream.decode()), *lines.flush()]:
        event = decoder.decode(line)
        if event is not None:
            found.append((event.event, event.data))
    return found


@pytest.mark.parametrize(
    "tail", [b"", b"\n\n", b"x\n\n", b"\r\n\r\n", b"x\n\r\n", b"\r\n\n", b"\r\r\n", b"data: x\n\n\n"]
)
def test_after_a_blank_line_a_comment_may_be_put_in(tail: bytes) -> None:
    assert sse.at_boundary(tail)


@pytest.mark.parametrize(
    "tail", [b"x", b"\n", b"\r\n", b"x\n", b"x\r\n", b"\r\r", b"\n\r", b"\r\n\r", b"data: x\n\nd", b"\n\n "]
)
def test_anywhere_else_it_may_not(tail: bytes) -> None:
    assert not sse.at_boundary(tail)


@given(streams)
def test_a_heartbeat_at_a_boundary_changes_nothing(stream: bytes) -> None:
    for at in range(len(stream) + 1):
        if sse.at_boundary(stream[:at]):
            assert events(stream[:at] + sse.HEARTBEAT + stream[at:]) == events(stream)


@given(streams)
def test_a_boundary_is_seen_in_the_last_bytes_alone(stream: bytes) -> None:
    assert sse.at_boundary(stream) == sse.at_boundary(stream[-sse.TAIL :])


def test_a_heartbeat_is_one_line_and_dispatches_nothing() -> None:
    assert sse.HEARTBEAT.startswith(b":")
    assert sse.HEARTBEAT.count(b"\n") == 1
    assert events(b"id: 1\ndata: x\n\n" + sse.HEARTBEAT * 3) == [("message", "x")]


@given(streams)
def test_an_error_event_is_the_last_event_whatever_was_cut(stream: bytes) -> None:
    assert events(stream + sse.error_event(ERROR, stream[-sse.TAIL :]))[-1] == ("error", ERROR.decode())


@pytest.mark.parametrize(
    ("tail", "added"),
    [(b"", b""), (b"x\n\n", b""), (b"x\r\n\r\n", b""), (b"x\n", b"\n"), (b"x\r\n", b"\n"), (b"x", b"\n\n")],
)
def test_only_what_is_missing_of_a_blank_line_is_added(tail: bytes, added: bytes) -> None:
    assert sse.ending(tail) == added
    assert sse.error_event(b"{}", tail) == added + b"event: error\ndata: {}\n\n"


@given(streams)
def test_an_ended_stream_is_over_when_nothing_is_left_to_dispatch(stream: bytes) -> None:
    # Once there was an id, this parser dispatches events without data too.
    if sse.is_over(stream) and b"id:" not in stream:
        assert events(stream + b"\n\n") == events(stream)
    assert sse.is_over(stream + sse.ending(stream))


def every_stream(most: int) -> list[bytes]:
    """All streams of up to `most` bytes, text being "x"."""
    return [bytes(each) for size in range(most + 1) for each in product(b"x\n\r", repeat=size)]


def ends(stream: bytes) -> list[int]:
    """Where events end, found in the simplest way: line by line, where a CR waits for what follows it."""
    found: list[int] = []
    at, after_line = 0, False
    while at < len(stream):
        if stream[at : at + 2] == b"\r\n":
            width = 2
        elif stream[at : at + 1] == b"\n":
            width = 1
        elif stream[at : at + 1] == b"\r":
            width = 1 if at + 1 < len(stream) else 0
        else:
            after_line, at = False, at + 1
            continue
        if not width:
            break
        at += width
        if after_line:
            found.append(at)
        after_line = not after_line
    return found


def cut(parts: list[bytes]) -> list[bytes]:
    """The events of a stream as a splitter gives them; the open one comes last."""
    splitter, open_event, events = sse.EventSplitter(), b"", list[bytes]()
    for part in parts:
        rest, ended, whole, start = splitter.cut(part)
        assert rest + whole + start == part
        assert ended or not (whole or start) or not open_event
        open_event += rest
        if ended:
            events.append(open_event)
            open_event = b""
        events += sse.split(whole)
        open_event += start
    return [*events, open_event]


def test_events_end_where_the_simplest_reader_finds_them() -> None:
    for stream in every_stream(7):
        at = [0, *ends(stream), len(stream)]
        assert sse.split(stream) == [event for a, b in pairwise(at) if (event := stream[a:b])]


def test_a_stream_is_cut_into_the_same_events_at_every_split() -> None:
    for stream in every_stream(6):
        whole = [event for event in cut([stream]) if event.strip(b"\r\n")]
        for at in range(len(stream) + 1):
            pieces = cut([stream[:at], stream[at:]])
            assert b"".join(pieces) == stream
            # Blank lines between events may go with the one before or the one behind.
            assert [event.strip(b"\r\n") for event in pieces if event.strip(b"\r\n")] == [
                event.strip(b"\r\n") for event in whole
            ]


def test_each_byte_alone_is_cut_no_differently() -> None:
    for stream in every_stream(6):
        alone = [bytes([byte]) for byte in stream]
        assert b"".join(cut(alone)) == stream
        assert [event.strip(b"\r\n") for event in cut(alone) if event.strip(b"\r\n")] == [
            event.strip(b"\r\n") for event in cut([stream]) if event.strip(b"\r\n")
        ]


def fields(parts: list[bytes]) -> list[tuple[bytes, bytes]]:
    reader, pieces = sse.FieldReader(), list[tuple[bytes, bytes]]()
    for part in parts:
        pieces += reader.feed(part)
    assert b"".join(value for _, value in pieces) == b"".join(parts)
    return [
        (name, b"".join(value for _, value in group)) for name, group in groupby(pieces, key=lambda p: p[0]) if name
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_fields_are_read_at_every_split(end: bytes) -> None:
    event = end.join(
        [b"event: x", b": data: c", b"data:a: b", b"id", b"data:  c", b"xdata: d", b"data:", b"data: e", b"", b""]
    )
    expected = [(b"event", b"x"), (b"data", b"a: b"), (b"data", b" c"), (b"xdata", b"d"), (b"data", b"e")]
    assert [value for name, value in expected if name == b"data"] == [line for line in sse.data_lines(event) if line]
    for at in range(len(event) + 1):
        assert fields([event[:at], event[at:]]) == expected
    assert fields([bytes([byte]) for byte in event]) == expected


def test_the_name_of_a_field_is_kept_no_longer_than_names_are() -> None:
    reader = sse.FieldReader()
    for _ in range(100):
        reader.feed(b"x" * 1000)
    assert [name for name, _ in reader.feed(b": value") if name] == [b"x" * 16]


def test_a_stream_is_over_exactly_when_its_lines_say_so() -> None:
    for stream in every_stream(7):
        lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert sse.is_over(stream) is (not stream or lines.endswith(b"\n\n"))


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_data_is_read_whatever_ends_the_lines(ending: bytes) -> None:
    event = ending.join(
        [b"event: x", b"data: a", b"data:b", b"data:  c", b"data", b"data:", b": data: d", b"DATA: e", b"xdata: f", b""]
    )
    assert list(sse.data_lines(event)) == [b"a", b"b", b" c", b"", b""]


def test_every_cut_inside_line_breaks_keeps_the_events_apart() -> None:
    for first, second in product([b"\n\n", b"\r\n\r\n"], repeat=2):
        stream = b"data: a" + first + b"data: b" + second
        for at in range(len(stream) + 1):
            got = events(stream[:at] + sse.error_event(ERROR, stream[:at][-sse.TAIL :]))
            assert [data for name, data in got if name == "message" and data in "ab" and data] == [
                each for each in ("a", "b") if b"data: " + each.encode() in stream[:at]
            ]
