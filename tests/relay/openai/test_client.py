"""OpenAI on the wire, against the raw upstream: what is sent, what comes back, and what each failure is called."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from relay.errors import ErrorKind, RelayError
from relay.net.wait import Wait
from relay.openai.client import Call, Upstream, UpstreamResponse

from emulator.fakes.raw_upstream import (
    EVENT_STREAM,
    LAST_CHUNK,
    BlackHole,
    Close,
    RawUpstream,
    Reset,
    Send,
    Stall,
    Step,
    WaitFor,
    chunk,
    head,
    json_answer,
)

BODY = b'{"model":"gpt-5"}'
HEADERS = {"authorization": "Bearer sk-x", "content-type": "application/json", "accept-encoding": "identity"}
CALL = Call(method="POST", path="/chat/completions", headers=HEADERS, body=BODY)


def watch(seconds: float = 5.0) -> Wait:
    return Wait(
        deadline=time.monotonic() + seconds, overdue=lambda: RelayError(ErrorKind.UPSTREAM_TIMEOUT, log="overdue")
    )


@pytest.fixture
def server() -> Iterator[RawUpstream]:
    with RawUpstream() as made:
        yield made


@pytest.fixture
def upstream(server: RawUpstream) -> Iterator[Upstream]:
    made = Upstream(server.url, None)
    yield made
    made.close()


def read(answer: UpstreamResponse) -> bytes:
    try:
        return b"".join(answer.chunks)
    finally:
        answer.close()


def failure(upstream: Upstream, seconds: float = 5.0) -> RelayError:
    with pytest.raises(RelayError) as raised:
        read(upstream.open(CALL, watch(seconds)))
    return raised.value


# -- what is sent


def test_sends_exactly_what_it_was_given(server: RawUpstream, upstream: Upstream) -> None:
    read(upstream.open(CALL, watch()))
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.raw_body == BODY
    headers = {name.lower(): text for name, text in request.headers}
    assert headers == HEADERS | {"host": f"127.0.0.1:{server.port}", "content-length": str(len(BODY))}


def test_a_call_without_a_body(server: RawUpstream, upstream: Upstream) -> None:
    server.answer(*json_answer(200, {"data": []}))
    call = Call(method="GET", path="/models", headers={"authorization": "Bearer sk-x"}, body=b"")
    assert json.loads(read(upstream.open(call, watch()))) == {"data": []}
    assert server.requests[0].raw_body == b""


def test_a_large_request_against_a_slow_reader(server: RawUpstream, upstream: Upstream) -> None:
    call = Call(method="POST", path="/x", headers=HEADERS, body=b"x" * 6_000_000)
    read(upstream.open(call, watch()))
    assert len(server.requests[0].body) == 6_000_000


# -- what comes back


def test_an_answer_has_status_headers_and_body(server: RawUpstream, upstream: Upstream) -> None:
    fields = [("Content-Type", "text/plain"), ("X-Twice", "a"), ("x-twice", "b"), ("content-length", "2")]
    server.answer(Send(head(418, fields)), Send(b"ok"))
    answer = upstream.open(CALL, watch())
    assert answer.status == 418
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-twice"] == "a, b"
    assert read(answer) == b"ok"


def test_bytes_come_as_they_arrive(server: RawUpstream, upstream: Upstream) -> None:
    go_on = threading.Event()
    server.answer(Send(head()), Send(chunk(b"one")), WaitFor(go_on), Send(chunk(b"two")), Send(LAST_CHUNK))
    answer = upstream.open(CALL, watch())
    assert next(answer.chunks) == b"one"
    go_on.set()
    assert read(answer) == b"two"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(server: RawUpstream, upstream: Upstream, status: int) -> None:
    server.answer(Send(head(status, [("location", "/elsewhere"), ("content-length", "0")])))
    answer = upstream.open(CALL, watch())
    assert (answer.status, read(answer)) == (status, b"")
    assert len(server.requests) == 1


# -- what each failure is called

BROKEN: dict[str, tuple[Step, ...]] = {
    "closed before the head": (Close(),),
    "reset before the head": (Reset(),),
    "closed in the head": (Send(head()[:20]), Close()),
    "garbage": (Send(b"\x16\x03\x01\r\n\r\n"), Stall()),
    "a head that is too large": (Send(head(200, [("x", "y" * 200_000)])), Stall()),
    "closed in the body": (Send(head()), Send(chunk(b"one")), Close()),
    "reset in the body": (Send(head()), Send(chunk(b"one")), Reset()),
    "a bad chunk": (Send(head()), Send(b"what came, quoted\r\n"), Stall()),
    "content cut": (Send(head(200, [("content-length", "9")])), Send(b"one"), Close()),
    "two lengths": (Send(head(200, [("content-length", "9"), ("content-length", "8")])), Stall()),
    "an encoding nobody asked for": (
        Send(head(200, [*EVENT_STREAM[:1], ("transfer-encoding", "gzip, chunked")])),
        Stall(),
    ),
}


@pytest.mark.parametrize("steps", [pytest.param(steps, id=name) for name, steps in BROKEN.items()])
def test_what_may_have_been_processed_is_broken(
    server: RawUpstream, upstream: Upstream, steps: tuple[Step, ...]
) -> None:
    server.answer(*steps)
    error = failure(upstream)
    assert error.kind is ErrorKind.UPSTREAM_BROKEN
    assert error.log
    assert "quoted" not in error.log
    assert len(server.requests) == 1
    assert server.requests[0].wait_over(1.0) != "stopped"


def test_what_was_never_sent_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        upstream = Upstream(f"http://127.0.0.1:{closed.getsockname()[1]}/v1", None)
        assert failure(upstream).kind is ErrorKind.UPSTREAM_UNREACHABLE


def test_connecting_ends_with_the_deadline() -> None:
    with BlackHole() as hole:
        started = time.monotonic()
        assert failure(Upstream(hole.url, None), seconds=0.5).kind is ErrorKind.UPSTREAM_UNREACHABLE
        assert time.monotonic() - started < 1.0


def test_a_connection_that_failed_before_the_request_is_tried_once_more() -> None:
    """In TLS a failure to connect can be played: the first handshake gets garbage."""
    with RawUpstream() as server:
        server.greet_next(Close())
        upstream = Upstream(f"https://localhost:{server.port}/v1", ssl.create_default_context())
        server.greet_next(Send(b"garbage\r\n"), Stall())
        assert failure(upstream).kind is ErrorKind.UPSTREAM_UNREACHABLE
        assert server.connections == 2
        assert not server.requests


@pytest.mark.parametrize("steps", [(Stall(),), (Send(head()), Stall()), (Send(head()), Send(b"5\r\nha"), Stall())])
def test_silence_ends_with_the_deadline(server: RawUpstream, upstream: Upstream, steps: tuple[Step, ...]) -> None:
    server.answer(*steps)
    started = time.monotonic()
    assert failure(upstream, seconds=0.3).kind is ErrorKind.UPSTREAM_TIMEOUT
    assert time.monotonic() - started < 0.8
    assert server.requests[0].wait_over(1.0) == "peer left"


@pytest.mark.parametrize("body", ["chunked", "counted"])
def test_a_failure_closes_at_once_and_not_when_the_caller_has_been_told(
    server: RawUpstream, upstream: Upstream, body: str
) -> None:
    counted = Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none")
    server.answer(*([counted] if body == "counted" else [Send(head()), Send(chunk(b"one"))]), Stall())
    answer = upstream.open(CALL, watch(0.3))
    with pytest.raises(RelayError):
        list(answer.chunks)
    assert server.requests[0].wait_over(1.0) == "peer left"
    answer.close()


@pytest.mark.parametrize("together", [True, False], ids=["in one read", "one by one"])
def test_informational_responses_without_end_are_broken(
    server: RawUpstream, upstream: Upstream, together: bool
) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    server.answer(*([Send(interim * 2001)] if together else [Send(interim * 50)] * 41), *json_answer(200, {}))
    assert failure(upstream).kind is ErrorKind.UPSTREAM_BROKEN
    server.answer(*json_answer(200, {"next": True}))
    assert read(upstream.open(CALL, watch())) == b'{"next": true}'


def test_some_informational_responses_are_passed_over(server: RawUpstream, upstream: Upstream) -> None:
    server.answer(Send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000), *json_answer(200, {}))
    assert read(upstream.open(CALL, watch())) == b"{}"


@pytest.mark.parametrize("ahead", [True, False], ids=["connected ahead", "connected when needed"])
def test_a_dead_path_ends_a_connection_after_five_seconds_and_small_writes_leave_at_once(
    server: RawUpstream, upstream: Upstream, ahead: bool
) -> None:
    if ahead:
        upstream.connect_ahead()
        connected(server, 1)
    answer = upstream.open(CALL, watch())
    sock = connection_to(server.port)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    sock.close()
    read(answer)
    assert server.connections == 1


def connection_to(port: int) -> socket.socket:
    """This process's own end of the connection to `port`, as a second descriptor: what the kernel knows of it."""
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            if sock.getpeername()[1] == port:
                return sock
        except (OSError, IndexError):
            pass
        sock.close()
    raise AssertionError(f"no connection to {port}")


# -- connections


def test_a_connection_is_used_again_when_its_answer_was_read_to_the_end(
    server: RawUpstream, upstream: Upstream
) -> None:
    for _ in range(3):
        read(upstream.open(CALL, watch()))
    assert server.connections == 1


def test_a_connection_is_not_used_again_when_its_answer_was_abandoned(server: RawUpstream, upstream: Upstream) -> None:
    server.answer(Send(head()), Send(chunk(b"one")), Stall())
    answer = upstream.open(CALL, watch())
    assert next(answer.chunks) == b"one"
    answer.close()
    assert server.requests[0].wait_over(1.0) == "peer left"
    server.answer(*json_answer(200, {}))
    read(upstream.open(CALL, watch()))
    assert server.connections == 2


@pytest.mark.parametrize(("jump", "connections"), [(2.9, 1), (3.1, 2), (-1.0, 2), (86_400.0, 2)])
def test_a_connection_is_not_used_again_after_a_jump_of_the_clock(
    server: RawUpstream, jump: float, connections: int
) -> None:
    """A freeze is such a jump: nobody knows what became of a connection meanwhile."""
    now = [1_800_000_000.0]
    upstream = Upstream(server.url, None, lambda: now[0])
    read(upstream.open(CALL, watch()))
    now[0] += jump
    read(upstream.open(CALL, watch()))
    assert server.connections == connections
    upstream.close()


@pytest.mark.parametrize("stage", ["before the first byte", "after one", "at the end"])
def test_an_answer_may_be_closed_at_any_stage_and_twice(server: RawUpstream, upstream: Upstream, stage: str) -> None:
    server.answer(Send(head()), Send(chunk(b"one")), Send(LAST_CHUNK))
    answer = upstream.open(CALL, watch())
    if stage != "before the first byte":
        next(answer.chunks)
    if stage == "at the end":
        assert list(answer.chunks) == []
    answer.close()
    answer.close()
    assert read(upstream.open(CALL, watch())) == b"one"


def test_a_connection_that_was_closed_meanwhile_is_not_used(server: RawUpstream, upstream: Upstream) -> None:
    server.answer(*json_answer(200, {}), Close())
    for _ in range(3):
        read(upstream.open(CALL, watch()))
        server.requests[-1].wait_over()
    assert server.connections == 3


def test_a_connection_with_bytes_that_nobody_asked_for_is_not_used(server: RawUpstream, upstream: Upstream) -> None:
    """Whatever came after an answer would be taken for the beginning of the next one."""
    both = (json_answer(200, {"first": True}), json_answer(200, {"smuggled": True}))
    first, smuggled = (b"".join(step.data for step in answer if isinstance(step, Send)) for answer in both)
    server.answer(Send(first + smuggled))
    assert read(upstream.open(CALL, watch())) == b'{"first": true}'
    server.requests[-1].wait_over()
    server.answer(*json_answer(200, {"second": True}))
    assert read(upstream.open(CALL, watch())) == b'{"second": true}'
    assert server.connections == 2


# -- connecting ahead


def connected(server: RawUpstream, count: int) -> None:
    until = time.monotonic() + 5.0
    while server.connections < count:
        assert time.monotonic() < until, f"{server.connections} connections instead of {count}"
        time.sleep(0.005)


def test_what_was_connected_ahead_is_used(server: RawUpstream, upstream: Upstream) -> None:
    upstream.connect_ahead()
    connected(server, 1)
    assert not server.requests
    for _ in range(2):
        read(upstream.open(CALL, watch()))
    assert server.connections == 1


def test_one_is_enough(server: RawUpstream, upstream: Upstream) -> None:
    for _ in range(20):
        upstream.connect_ahead()
    read(upstream.open(CALL, watch()))
    assert server.connections == 1
    upstream.connect_ahead()
    assert upstream._backend._ahead is None, "one is idle"


@pytest.mark.parametrize(("jump", "connections"), [(2.9, 1), (3.1, 2), (-1.0, 2)])
def test_what_was_connected_too_long_ago_is_not_used(server: RawUpstream, jump: float, connections: int) -> None:
    now = [1_800_000_000.0]
    upstream = Upstream(server.url, None, lambda: now[0])
    upstream.connect_ahead()
    connected(server, 1)
    now[0] += jump
    read(upstream.open(CALL, watch()))
    assert server.connections == connections
    upstream.close()


@pytest.mark.parametrize("step", [Close(), Send(b"HTTP/1.1 408 Too Slow\r\ncontent-length: 0\r\n\r\n")])
def test_what_is_no_good_any_more_is_not_used(server: RawUpstream, upstream: Upstream, step: Step) -> None:
    server.greet_next(step, Stall())
    server.answer(*json_answer(200, {}))
    upstream.connect_ahead()
    ahead = upstream._backend._ahead
    assert ahead is not None
    assert ahead._thread is not None
    assert select.select([ahead._thread.fd], [], [], 5.0)[0]
    assert ahead._sock is not None
    assert select.select([ahead._sock], [], [], 5.0)[0], "what the server says has to have arrived"
    assert json.loads(read(upstream.open(CALL, watch()))) == {}
    assert server.connections == 2


def test_who_could_not_connect_ahead_tries_anew() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        upstream = Upstream(f"http://127.0.0.1:{port}/v1", None)
        upstream.connect_ahead()
        assert failure(upstream).kind is ErrorKind.UPSTREAM_UNREACHABLE


def test_a_connection_ahead_that_takes_too_long_ends_with_the_deadline() -> None:
    with BlackHole() as hole:
        upstream = Upstream(hole.url, None)
        upstream.connect_ahead()
        started = time.monotonic()
        assert failure(upstream, seconds=0.5).kind is ErrorKind.UPSTREAM_UNREACHABLE
        assert time.monotonic() - started < 1.0
        upstream.close()


def test_what_nobody_takes_is_closed(server: RawUpstream) -> None:
    server.greet_next(Stall())
    upstream = Upstream(server.url, None)
    upstream.connect_ahead()
    connected(server, 1)
    upstream.close()
    until = time.monotonic() + 5.0
    while server._open:
        assert time.monotonic() < until
        time.sleep(0.005)
    upstream.close()
