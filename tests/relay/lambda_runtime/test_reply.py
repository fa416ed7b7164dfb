"""The response to one invocation: what the first token does, when heartbeats come, what a failure becomes."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.lambda_runtime.client import Invocation
from relay.lambda_runtime.reply import Reply, Timing
from relay.models import Response

from tests.support.doubles.exchange import Wire

SSE = {"content-type": "text/event-stream"}
ERROR_EVENT = b'event: error\ndata: {"error":{"message":"%s","type":"api_error","param":null,"code":"%s"}}\n\n'
BEAT = b": keep-alive\n"


class SilentUpstream(Wire):
    """Where a reply goes while upstream says nothing: `stay_silent` is a wait of two heartbeats, by their own count."""

    def __init__(self) -> None:
        super().__init__()
        self.fd, self._writing = os.pipe()
        self._flushes = 0

    def flush(self) -> None:
        self._flushes += 1
        if self._flushes == 3:  # before the wait, and after each heartbeat
            os.write(self._writing, b"x")

    def stay_silent(self, reply: Reply) -> None:
        self._flushes = 0
        reply.wait.readable(self.fd)
        os.read(self.fd, 1)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._writing)


@pytest.fixture
def wire() -> Iterator[SilentUpstream]:
    silent = SilentUpstream()
    yield silent
    silent.close()


def once(body: bytes) -> bytes:
    """`body` with a row of heartbeats as one: how many there are is for the clock to decide."""
    return re.sub(rb"(?:: keep-alive\n)+", BEAT, body)


# -- heartbeats


def test_silence_begins_a_stream_that_is_expected(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.01)
    reply.expect_stream({**SSE, "x-limit": "5"})
    assert not reply.begun
    wire.stay_silent(reply)
    assert wire.head == {"statusCode": 200, "headers": {"x-request-id": "id", **SSE, "x-limit": "5"}}
    assert once(wire.body) == BEAT
    assert reply.delivery.status == 200
    assert reply.delivery.first_byte_at == 0.0, "a heartbeat is no first token"


def test_nothing_is_begun_where_no_stream_is_expected(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.01)
    wire.stay_silent(reply)
    assert not reply.begun
    assert wire.body == b""


def test_nothing_is_begun_where_heartbeats_are_off(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.0, seconds=0.05)
    reply.expect_stream(SSE)
    with pytest.raises(RelayError):
        wire.stay_silent(reply)
    assert not reply.begun


def test_the_head_that_a_heartbeat_has_written_holds(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.01)
    reply.expect_stream(SSE)
    wire.stay_silent(reply)
    reply.send(Response(status=200, headers={**SSE, "x": "y"}, body=iter([b"data: 1\n\n"])))
    assert wire.head == {"statusCode": 200, "headers": {"x-request-id": "id", **SSE}}
    assert once(wire.body) == BEAT + b"data: 1\n\n"
    assert wire.ended


def test_heartbeats_come_between_events_only(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.01)

    def body() -> Iterator[bytes]:
        for piece in (b"data: 1", b"\n", b"\n", b"data: 2\r\n\r\n", b"data: 3\n"):
            yield piece
            wire.stay_silent(reply)

    reply.expect_stream(SSE)
    wire.stay_silent(reply)
    reply.send(Response(status=200, headers=SSE, body=body()))
    assert once(wire.body) == BEAT + b"data: 1\n\n" + BEAT + b"data: 2\r\n\r\n" + BEAT + b"data: 3\n"


def test_no_heartbeat_in_a_body_that_is_no_event_stream(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.01)
    reply.expect_stream({"content-type": "text/plain"})
    wire.stay_silent(reply)
    reply.send(Response(status=200, headers={}, body=iter([b"x"])))
    assert wire.body == b"x"


def test_a_failure_after_a_heartbeat_travels_in_the_stream(wire: SilentUpstream) -> None:
    reply = wire.reply(heartbeat_seconds=0.01)
    reply.expect_stream(SSE)
    wire.stay_silent(reply)
    reply.fail(RelayError(ErrorKind.UPSTREAM_TIMEOUT, "Late."))
    assert wire.head["statusCode"] == 200
    assert once(wire.body) == BEAT + ERROR_EVENT % (b"Late.", b"upstream_timeout")
    assert wire.failure == ("Function.UpstreamTimeout", "Late.")


# -- the first token


class Flushes(Wire):
    """Knows how much of the body was flushed at each time."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[bytes] = []

    def flush(self) -> None:
        self.flushed.append(self.body)


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain; charset=utf-8"])
def test_the_first_token_is_on_the_wire_before_the_second_is_asked_for(content_type: str) -> None:
    """It is what a person waits for, so it does not wait for what else has come with it."""
    wire = Flushes()

    def body() -> Iterator[bytes]:
        yield b"first"
        assert wire.flushed == [b"first"]
        yield b"second"
        yield b"third"
        assert wire.flushed == [b"first"], "what comes later goes out together"

    wire.reply().send(Response(status=200, headers={"content-type": content_type}, body=body()))
    assert wire.body == b"firstsecondthird"


# -- the deadline


@pytest.mark.parametrize(("begun", "kind"), [(False, ErrorKind.UPSTREAM_TIMEOUT), (True, ErrorKind.DEADLINE)])
def test_what_is_overdue_depends_on_whether_the_response_has_begun(
    wire: SilentUpstream, begun: bool, kind: ErrorKind
) -> None:
    reply = Wire().reply(heartbeat_seconds=0.01 if begun else 0.0, seconds=0.1)
    reply.expect_stream(SSE)
    with pytest.raises(RelayError) as raised:
        reply.wait.readable(wire.fd)
    assert raised.value.kind is kind
    assert reply.begun is begun


@pytest.mark.parametrize(
    ("left", "reserve", "held"), [(10.0, 3.0, 2.0), (60.0, 3.0, 3.0), (1.0, 3.0, 0.2), (-5.0, 3.0, 0.0)]
)
def test_the_reserve_is_a_fifth_of_the_time_at_most(left: float, reserve: float, held: float) -> None:
    deadline = time.monotonic() + left
    invocation = Invocation(id="id", event=b"", deadline=deadline)
    timing = Timing(heartbeat_seconds=0.0, reserve_seconds=reserve)
    reply = Reply(Wire(), invocation, timing)  # type: ignore[arg-type]
    assert deadline - reply.wait.deadline == pytest.approx(held, abs=0.1)


# -- the prelude


def prelude(status: int, headers: dict[str, str]) -> bytes:
    wire = Wire()
    wire.reply().send(Response(status=status, headers=headers, body=iter([b"x"])))
    return wire.prelude


def test_the_prelude_is_json_and_eight_nuls() -> None:
    head, _, rest = prelude(200, {"content-type": "text/plain"}).partition(b"\0" * 8)
    expected = {"statusCode": 200, "headers": {"x-request-id": "id", "content-type": "text/plain"}}
    assert (json.loads(head), rest) == (expected, b"")


@given(st.dictionaries(st.text(), st.text()))
def test_nothing_in_a_header_ends_the_prelude_early(headers: dict[str, str]) -> None:
    written = prelude(500, headers)
    assert written.index(b"\0") == len(written) - 8
    assert json.loads(written[:-8])["headers"] == {"x-request-id": "id", **headers}
