"""Where events end, and the events the relay writes: judged by two parsers made by others."""

from __future__ import annotations

from itertools import product

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


@pytest.mark.parametrize("tail", [b"", b"\n\n", b"x\n\n", b"\r\n\r\n", b"x\n\r\n", b"\r\n\n", b"data: x\n\n\n"])
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


def first_end(stream: bytes, start: int) -> int:
    """The end of the first blank line after `start`, found in the simplest way."""
    return next(
        (
            at
            for at in range(start + 1, len(stream) + 1)
            if stream[at - 1 : at] == b"\n" and sse.at_boundary(stream[:at])
        ),
        -1,
    )


def every_stream(most: int) -> list[bytes]:
    """All streams of up to `most` bytes, text being "x"."""
    return [bytes(each) for size in range(most + 1) for each in product(b"x\n\r", repeat=size)]


def test_the_end_of_an_event_is_found_across_every_split() -> None:
    for stream in every_stream(6):
        for at in range(len(stream) + 1):
            before, data = stream[:at], stream[at:]
            for start in range(len(data) + 1):
                expected = first_end(stream, at + start)
                assert sse.end_of_event(data, start, before) == (expected - at if expected >= 0 else -1)


def test_of_what_went_before_only_the_last_bytes_matter() -> None:
    for stream in every_stream(5):
        assert sse.end_of_event(b"x\n" + stream, 2, b"long before") == sse.end_of_event(b"x\n" + stream, 2, b"")
        for before in (b"\n", b"\r\n", b"x\n\r\n"):
            expected = sse.end_of_event(stream, 0, before)
            assert sse.end_of_event(stream, 0, b"x" * 9 + before) == expected


def test_an_event_is_held_once_a_blank_line_is_there() -> None:
    for stream in every_stream(6):
        for start in range(-4, len(stream) + 1):
            looked_at = stream[max(0, start) :]
            assert sse.holds_event(stream, start) is any(end in looked_at for end in (b"\n\n", b"\n\r\n", b"\r\r"))


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
