"""Calls against a server on a real socket: what is sent, what a failure is called, and when a call is over."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from relay.aws import client as aws
from relay.aws.client import Client
from relay.aws.errors import AwsError
from relay.aws.signing import Credentials
from relay.errors import ErrorKind, RelayError

from emulator.fakes.raw_steps import Step
from emulator.fakes.raw_upstream import Close, RawUpstream, Send, Sleep, Stall, WaitFor, head, json_answer


@pytest.fixture
def server() -> Iterator[RawUpstream]:
    with RawUpstream(path="") as running:
        yield running


@pytest.fixture
def client(server: RawUpstream) -> Iterator[Client]:
    fixed = Credentials(access_key="AKIA", secret_key="secret", token="token")
    made = Client(
        aws.SECRETS_MANAGER, url=server.url, region="eu-central-1", credentials=lambda: fixed, tls_context=None
    )
    yield made
    made.close()


def test_calls_an_operation_and_returns_its_json(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {"SecretString": "sk-x"}))
    assert client.call("GetSecretValue", {"SecretId": "name"}) == {"SecretString": "sk-x"}
    sent = server.requests[0]
    assert json.loads(sent.body) == {"SecretId": "name"}
    assert sent.header("x-amz-target") == "secretsmanager.GetSecretValue"
    assert sent.header("x-amz-security-token") == "token"


def test_keeps_its_connection_and_drops_one_that_was_closed(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {}))
    client.call("A", {})
    client.call("A", {})
    assert [each.connection for each in server.requests] == [server.requests[0].connection] * 2
    server.answer_next(*json_answer(200, {}), Close())
    client.call("A", {})
    server.requests[-1].wait_over()
    client.call("A", {})
    assert server.requests[-1].connection != server.requests[0].connection


def test_drops_a_connection_that_has_brought_more_than_an_answer(server: RawUpstream, client: Client) -> None:
    """What is left over would be read as the answer to the next call."""
    one, two = head(200, [("content-length", "12")]) + b'{"which": 1}', head(200, []) + b'{"which": 2}'
    server.answer(Send(one + two))
    assert client.call("A", {}) == {"which": 1}
    server.answer(*json_answer(200, {"which": 3}))
    assert client.call("A", {}) == {"which": 3}
    assert server.requests[0].connection != server.requests[1].connection


def test_an_answer_that_trickles_is_given_up_in_time(server: RawUpstream, client: Client) -> None:
    """A socket's time-out holds for each read anew."""
    slowly: list[Step] = [Sleep(0.2), Send(b"a: b\r\n")]
    server.answer(Send(b"HTTP/1.1 200 OK\r\n"), *slowly * 20)
    started = time.monotonic()
    with pytest.raises(AwsError, match="Unreachable"):
        client.call("GetSecretValue", {})
    assert time.monotonic() - started < 1.5


def test_never_uses_a_connection_that_was_idle_for_long(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {}))
    client.call("A", {})
    client._used_at -= 60.0  # as after a freeze: the wall clock has moved on
    client.call("A", {})
    assert server.requests[0].connection != server.requests[1].connection


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (
            json_answer(400, {"__type": "com.amazonaws.x#ConditionalCheckFailedException"}),
            "ConditionalCheckFailedException",
        ),
        (json_answer(400, {"__type": "AccessDeniedException", "Message": "no"}), "AccessDeniedException"),
        (json_answer(500, b"<html>"), "Unreadable"),
        (json_answer(200, b"[]"), "Unreadable"),
        ([Close()], "Unreachable"),
        ([Send(b"garbage\r\n\r\n"), Close()], "Unreachable"),
    ],
)
def test_says_what_went_wrong(server: RawUpstream, client: Client, script: Any, code: str) -> None:
    server.answer(*script)
    with pytest.raises(AwsError) as caught:
        client.call("GetSecretValue", {})
    assert caught.value.code == code
    server.answer(*json_answer(200, {"fine": "again"}))
    assert client.call("GetSecretValue", {}) == {"fine": "again"}


def test_gives_up_on_silence_within_the_time_that_a_503_may_take(server: RawUpstream, client: Client) -> None:
    server.answer(Stall())
    for until in (None, time.monotonic() + 60.0):
        started = time.monotonic()
        with pytest.raises(AwsError):
            client.call("GetSecretValue", {}, until=until)
        assert time.monotonic() - started < 1.5, "however much time is left"


def test_reports_an_address_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        fixed = Credentials(access_key="a", secret_key="b")
        calls = Client(aws.DYNAMODB, url=url, region="x", credentials=lambda: fixed, tls_context=None)
        with pytest.raises(AwsError, match="Unreachable"):
            calls.call("UpdateItem", {})


@pytest.mark.parametrize("left", [-1.0, 0.0, 0.3])
def test_a_call_is_over_when_its_time_is(server: RawUpstream, client: Client, left: float) -> None:
    """The invocation's deadline may come before the service's own limit."""
    server.answer(Stall())
    started = time.monotonic()
    with pytest.raises(AwsError, match="Unreachable"):
        client.call("GetSecretValue", {}, until=started + left)
    assert time.monotonic() - started < left + 0.3 if left > 0 else time.monotonic() - started < 0.1
    assert len(server.requests) == (1 if left > 0 else 0), "nothing is sent when no time is left"


def test_a_call_ends_at_once_when_the_process_is_to_stop(server: RawUpstream, client: Client) -> None:
    reading, writing = os.pipe()
    server.answer(Stall())
    stopper = threading.Timer(0.2, os.write, (writing, b"x"))
    stopper.start()
    started = time.monotonic()
    with pytest.raises(RelayError) as caught:
        client.call("GetSecretValue", {}, stop_fd=reading)
    assert caught.value.kind is ErrorKind.SHUTDOWN
    assert time.monotonic() - started < 0.7
    stopper.join()
    server.answer(*json_answer(200, {"fine": "again"}))
    assert client.call("GetSecretValue", {}) == {"fine": "again"}, "what does not watch is served on: settling"
    before = len(server.requests)
    with pytest.raises(RelayError):
        client.call("GetSecretValue", {}, stop_fd=reading)
    assert len(server.requests) == before
    for fd in (reading, writing):
        os.close(fd)


def test_what_was_broken_off_is_not_read_as_the_next_response(server: RawUpstream, client: Client) -> None:
    """After a request to stop, the settlement is the next call."""
    server.answer(*json_answer(200, {"which": "first"}))
    client.call("GetSecretValue", {})
    late = threading.Event()
    server.answer_next(WaitFor(late), *json_answer(200, {"which": "broken off"}))
    reading, writing = os.pipe()
    stopper = threading.Thread(target=lambda: (server.wait_for_requests(2), os.write(writing, b"x")))
    stopper.start()
    with pytest.raises(RelayError):
        client.call("GetSecretValue", {}, stop_fd=reading)
    stopper.join()
    threading.Timer(0.1, late.set).start()
    server.answer(*json_answer(200, {"which": "settled"}))
    assert client.call("GetSecretValue", {}) == {"which": "settled"}
    for fd in (reading, writing):
        os.close(fd)
