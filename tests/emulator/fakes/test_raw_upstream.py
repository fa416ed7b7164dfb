"""The raw upstream does to a client exactly what its script says, and keeps what the client sent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from emulator.fakes.raw_upstream import (
    BlackHole,
    Close,
    RawUpstream,
    Reset,
    Send,
    Sleep,
    Stall,
    WaitFor,
    chat_events,
    chat_stream,
    chunk,
    head,
    json_answer,
)


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as running:
        yield running


def test_a_whole_stream(upstream: RawUpstream) -> None:
    upstream.answer(*chat_stream("Hel", "lo"))
    response = httpx.post(upstream.url + "/chat/completions", json={"a": 1})
    assert response.content == b"".join(chat_events("Hel", "lo"))
    assert upstream.requests[0].wait_over() == "done"


def test_requests_are_kept_byte_for_byte(upstream: RawUpstream) -> None:
    upstream.answer(*json_answer(200, {}))
    with socket.create_connection(("127.0.0.1", upstream.port)) as client:
        client.sendall(
            b"POST /v1/x?y HTTP/1.1\r\nHoSt: h\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\n\r\n"
        )
        client.recv(100)
    request = upstream.wait_for_requests(1)[0]
    assert (request.method, request.target, request.header("host"), request.body) == ("POST", "/v1/x?y", "h", b"abc")
    assert request.raw_head.startswith(b"POST /v1/x?y HTTP/1.1\r\nHoSt: h\r\n")
    assert request.raw_body == b"3;e=1\r\nabc\r\n0\r\n\r\n"


def test_one_connection_serves_several_requests(upstream: RawUpstream) -> None:
    upstream.answer(*json_answer(429, {"error": {}}, [("retry-after", "1")]))
    with httpx.Client() as client:
        assert [client.get(upstream.url).status_code for _ in range(3)] == [429, 429, 429]
    assert (upstream.connections, len(upstream.requests)) == (1, 3)


def test_next_scripts_go_before_the_standing_one(upstream: RawUpstream) -> None:
    upstream.answer(*json_answer(200, {}))
    upstream.answer_next(*json_answer(500, {}))
    assert [httpx.get(upstream.url).status_code for _ in range(2)] == [500, 200]


def test_scripts_can_look_at_the_request(upstream: RawUpstream) -> None:
    upstream.answer_with(lambda request: json_answer(201 if request.body == b"a" else 202, {}))
    assert [httpx.post(upstream.url, content=body).status_code for body in (b"a", b"b")] == [201, 202]


@pytest.mark.parametrize("step", [Close(), Reset()])
def test_a_cut_inside_the_body_is_an_error_for_the_client(upstream: RawUpstream, step: Close | Reset) -> None:
    upstream.answer(Send(head()), Send(chunk(b"data: x")), Sleep(0.05), step)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.post(upstream.url)
    assert upstream.requests[0].wait_over() == ("closed" if isinstance(step, Close) else "reset")


def test_malformed_chunks_are_sent_as_they_are(upstream: RawUpstream) -> None:
    upstream.answer(Send(head()), Send(b"xyz\r\n"))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(upstream.url)


def test_a_greeting_comes_before_any_request_is_read(upstream: RawUpstream) -> None:
    upstream.greet_next(Reset())
    with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
        httpx.post(upstream.url)
    assert upstream.requests == []


def test_silence_ends_when_the_client_leaves(upstream: RawUpstream) -> None:
    upstream.answer(Send(head()), Stall())
    with httpx.stream("POST", upstream.url) as response:
        assert response.status_code == 200
    left = time.monotonic()
    assert upstream.requests[0].wait_over() == "peer left"
    assert upstream.requests[0].over_at - left < 0.5


def test_a_test_can_say_when_to_go_on(upstream: RawUpstream) -> None:
    go = threading.Event()
    upstream.answer(WaitFor(go), *json_answer(200, {}))
    threading.Timer(0.2, go.set).start()
    began = time.monotonic()
    assert httpx.get(upstream.url).status_code == 200
    assert time.monotonic() - began > 0.15


def test_a_black_hole_never_lets_anybody_connect() -> None:
    with BlackHole() as hole, pytest.raises(httpx.ConnectTimeout):
        httpx.get(hole.url, timeout=httpx.Timeout(5, connect=0.3))


def test_stopping_ends_a_stalled_answer() -> None:
    began = time.monotonic()
    with RawUpstream() as upstream:
        upstream.answer(Send(head()), Stall())
        client = socket.create_connection(("127.0.0.1", upstream.port))
        client.sendall(b"GET /v1 HTTP/1.1\r\nHost: h\r\n\r\n")
        upstream.wait_for_requests(1)
    client.close()
    assert time.monotonic() - began < 3
