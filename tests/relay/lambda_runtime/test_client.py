"""The client of the Runtime API against a scripted service on a real socket, and against its bytes cut at every place."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from relay.lambda_runtime.client import Invocation, RuntimeApi
from relay.lambda_runtime.errors import ResponseRefusedError, RuntimeApiError, StoppedError
from relay.lambda_runtime.shutdown import Stop

from tests.support.harness.runtime_api import (
    EarlyAnswer,
    EarlyAnswerAndClose,
    Mute,
    ResetAfter,
    ScriptedRuntimeApi,
    StallAfter,
    Take,
    answer,
)

PRELUDE = b'{"statusCode":200}' + b"\0" * 8


@pytest.fixture
def service() -> Iterator[ScriptedRuntimeApi]:
    with ScriptedRuntimeApi() as made:
        yield made
    assert not made.broken_rules


@pytest.fixture
def api(service: ScriptedRuntimeApi) -> Iterator[RuntimeApi]:
    made = RuntimeApi(service.address)
    yield made
    made.close()


@pytest.fixture
def stop() -> Stop:
    return Stop()


# -- /next


def test_an_invocation_has_everything_the_service_says(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    service.invoke(b'{"a":1}', deadline=3.0, request_id="an-id", token="a-token")
    invocation = api.next()
    assert (invocation.id, invocation.event, invocation.token) == ("an-id", b'{"a":1}', "a-token")
    assert invocation.trace_id.startswith("Root=1-")
    assert invocation.deadline - time.monotonic() == pytest.approx(3.0, abs=0.2)


def test_an_absent_deadline_is_a_minute_away(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    service.invoke(b"{}", deadline=None)
    assert api.next().deadline - time.monotonic() == pytest.approx(60.0, abs=0.2)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("9" * 400, 60.0),
        ("1e309", 60.0),
        ("-5", 60.0),
        ("+5", 60.0),
        ("1_0", 60.0),
        ("\u0661", 60.0),
        ("1764000000000.5", 60.0),
        ("soon", 60.0),
        ("inf", 60.0),
        ("9" * 15, 900.0),
        ("0", -1e9),
    ],
)
def test_a_deadline_that_is_no_number_of_milliseconds_is_unknown(
    service: ScriptedRuntimeApi, api: RuntimeApi, header: str, seconds: float
) -> None:
    fields = [("Lambda-Runtime-Aws-Request-Id", "an-id"), ("Lambda-Runtime-Deadline-Ms", header)]
    service.answer_next(answer(200, b"{}", [(name, text.encode().decode("latin-1")) for name, text in fields]))
    left = api.next().deadline - time.monotonic()
    assert left <= seconds
    assert left > seconds - 1.0 or seconds < 0


def test_an_event_of_six_megabytes(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    event = bytes(range(256)) * 24_576
    service.invoke(event)
    assert api.next().event == event


@pytest.mark.parametrize(
    "data",
    [
        answer(500),
        answer(403),
        answer(200, b"{}"),
        answer(200, b"{}", [("Lambda-Runtime-Aws-Request-Id", "../init/error")]),
        answer(200, b"0123456789")[:-3],
        b"an event, quoted\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_invocation_is_an_error(service: ScriptedRuntimeApi, api: RuntimeApi, data: bytes) -> None:
    service.answer_next(data)
    with pytest.raises(RuntimeApiError) as raised:
        api.next()
    assert "quoted" not in str(raised.value)
    api.close()
    service.invoke(b"{}")
    assert api.next().event == b"{}"


def test_nobody_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        api = RuntimeApi(f"127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(RuntimeApiError, match="cannot connect"):
            api.next()


def test_the_wait_for_work_ends_when_the_process_is_asked_to_stop(service: ScriptedRuntimeApi, stop: Stop) -> None:
    api = RuntimeApi(service.address, stop_fd=stop.fd)
    service.invoke(b"{}")
    assert api.next().event == b"{}"
    stop.request()
    with pytest.raises(StoppedError):
        api.next()
    api.close()


# -- a streamed response


def test_a_response_is_prelude_body_and_a_good_end(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    exchange = service.invoke(b"{}", token="t")
    stream = api.respond(api.next())
    assert stream.fd == -1
    stream.begin(PRELUDE)
    assert stream.fd >= 0
    for piece in (b"one", b"", b"two"):
        stream.write(piece)
    stream.end()
    assert exchange.wait_over() == "answered 202"
    assert exchange.data == PRELUDE + b"onetwo"
    assert exchange.trailer_type == ""
    assert stream.body_size == 6
    assert exchange.head is not None
    assert exchange.head.header("lambda-runtime-invocation-id") == "t"


def test_an_empty_body_gets_a_byte(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    """An empty one can hang for minutes: aws-lambda-nodejs-runtime-interface-client issue 95."""
    exchange = service.invoke(b"{}")
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stream.end()
    exchange.wait_over()
    assert len(exchange.body) == 1


def test_what_is_written_waits_for_a_flush(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    exchange = service.invoke(b"{}")
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stream.write(b"one")
    assert not exchange.begun_at
    stream.flush()
    assert exchange.wait_body(3) == b"one"
    stream.flush()
    stream.write(b"x" * 100_000)
    exchange.wait_body(100_003)
    stream.end()
    assert exchange.wait_over() == "answered 202"


def test_a_failure_ends_with_trailers(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    exchange = service.invoke(b"{}")
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stream.write(b"half")
    stream.fail("Function.Broken", "it broke \u00e9 " + "x" * 100_000)
    assert exchange.wait_over() == "answered 202"
    assert exchange.body == b"half"
    assert exchange.trailer_type == exchange.trailer_body["errorType"] == "Function.Broken"
    assert exchange.trailer_body["errorMessage"].startswith("it broke \u00e9 x")
    assert len(exchange.trailer_body["errorMessage"]) == 1000
    assert exchange.trailer_body["stackTrace"] == []


@pytest.mark.parametrize("status", [400, 403, 410, 413, 500])
def test_a_refusal_has_its_status(service: ScriptedRuntimeApi, api: RuntimeApi, status: int) -> None:
    service.invoke(b"{}", reader=Take(status))
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    with pytest.raises(ResponseRefusedError) as raised:
        stream.end()
    assert raised.value.status == status


@pytest.mark.parametrize("reader", [EarlyAnswer(410), EarlyAnswerAndClose(410)])
def test_an_early_answer_is_noticed(
    service: ScriptedRuntimeApi, api: RuntimeApi, reader: EarlyAnswer | EarlyAnswerAndClose
) -> None:
    exchange = service.invoke(b"{}", reader=reader)
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stream.check_refused()
    stream.flush()
    exchange.wait_over()
    with pytest.raises(ResponseRefusedError) as raised:
        stream.check_refused()
    assert raised.value.status == 410


@pytest.mark.parametrize("reader", [EarlyAnswer(413), EarlyAnswerAndClose(413)])
def test_an_early_answer_is_noticed_by_who_only_writes(
    service: ScriptedRuntimeApi, api: RuntimeApi, reader: EarlyAnswer | EarlyAnswerAndClose
) -> None:
    service.invoke(b"{}", reader=reader)
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    with pytest.raises(ResponseRefusedError) as raised:
        _write_for_ever(stream.write)
    assert raised.value.status == 413


def test_a_reset_is_an_error(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    service.invoke(b"{}", reader=ResetAfter())
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    with pytest.raises(RuntimeApiError):
        _write_for_ever(stream.write)


def test_of_an_early_answer_the_rest_is_not_waited_for() -> None:
    """The service has ended the exchange; upstream must not generate on until its last byte is there, or for 5 s."""
    event = answer(200, b"{}", [("Lambda-Runtime-Aws-Request-Id", "an-id")])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        api = RuntimeApi(f"127.0.0.1:{listener.getsockname()[1]}")
        api.connection()
        peer, _ = listener.accept()
        with peer:
            asked = threading.Thread(target=_send_slowly, args=(peer, (event,)))
            asked.start()
            stream = api.respond(api.next())
            asked.join()
            stream.begin(PRELUDE)
            peer.sendall(b"HTTP/1.1 410 Go")
            assert select.select([stream.fd], [], [], 5)[0]
            started = time.monotonic()
            with pytest.raises(RuntimeApiError, match="no progress"):
                stream.check_refused()
            assert time.monotonic() - started < 3.0
        api.close()


def test_a_reader_that_stalls_is_given_up_at_the_deadline(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    service.invoke(b"{}", reader=StallAfter(), deadline=0.5)
    invocation = api.next()
    stream = api.respond(invocation)
    stream.begin(PRELUDE)
    with pytest.raises(RuntimeApiError, match="deadline"):
        _write_for_ever(stream.write)
    assert -0.01 <= time.monotonic() - invocation.deadline < 0.3  # poll(2) counts in milliseconds


@pytest.mark.parametrize("when", ["before it stalls", "while it stalls"])
def test_a_reader_that_stalls_is_given_up_when_the_process_is_asked_to_stop(
    service: ScriptedRuntimeApi, stop: Stop, when: str
) -> None:
    api = RuntimeApi(service.address, stop_fd=stop.fd)
    service.invoke(b"{}", reader=StallAfter(), deadline=60)
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    if when == "before it stalls":
        stop.request()
    else:
        threading.Timer(0.2, stop.request).start()
    started = time.monotonic()
    with pytest.raises(RuntimeApiError, match="no progress"):
        _write_for_ever(stream.write)
    assert time.monotonic() - started < 2.0
    api.close()


def test_a_service_that_never_acknowledges_is_given_up_when_the_process_is_asked_to_stop(
    service: ScriptedRuntimeApi, stop: Stop
) -> None:
    api = RuntimeApi(service.address, stop_fd=stop.fd)
    service.invoke(b"{}", reader=Mute(), deadline=60)
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stop.request()
    started = time.monotonic()
    with pytest.raises(RuntimeApiError):
        stream.end()
    assert time.monotonic() - started < 2.0
    api.close()


def test_small_writes_are_not_delayed(api: RuntimeApi) -> None:
    """A token is a small write; with Nagle's algorithm it would wait for the one before to be acknowledged."""
    with socket.socket(fileno=os.dup(api.connection().fd)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def _write_for_ever(write: Callable[[bytes], object]) -> NoReturn:
    while True:
        write(b"x" * 65_536)


# -- errors


def test_an_invocation_that_cannot_be_answered(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    exchange = service.invoke(b"?", request_id="an-id", token="t")
    api.fail(api.next(), "Function.Name", "what is wrong")
    assert exchange.wait_over() == "error"
    assert exchange.error == {
        "errorMessage": "what is wrong",
        "errorType": "Function.Name",
        "headerType": "Function.Name",
        "requestId": "an-id",
        "stackTrace": [],
    }


def test_init_that_fails(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    api.fail_init("Runtime.Name", "what is wrong")
    ((path, error),) = service.errors
    assert path == "/2018-06-01/runtime/init/error"
    assert error["errorType"] == "Runtime.Name"


# -- connections


def test_one_connection_for_everything(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    for _ in range(3):
        service.invoke(b"{}")
        stream = api.respond(api.next())
        stream.begin(PRELUDE)
        stream.end()
        service.invoke(b"?")
        api.fail(api.next(), "Function.Name", "no")
    assert service.connections == 1


def test_a_new_connection_when_the_last_exchange_did_not_end(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    service.invoke(b"{}", reader=EarlyAnswer(410))
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    with contextlib.suppress(ResponseRefusedError):
        _write_for_ever(stream.write)
    service.invoke(b'{"next":1}')
    assert api.next().event == b'{"next":1}'
    assert service.connections == 2


def test_a_new_connection_when_the_last_bytes_of_a_response_did_not_go_out(
    service: ScriptedRuntimeApi, api: RuntimeApi
) -> None:
    exchange = service.invoke(b"{}", reader=EarlyAnswer(410))
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stream.flush()
    exchange.wait_over()
    with pytest.raises(BlockingIOError):
        _write_for_ever(lambda chunk: os.write(stream.fd, chunk))
    with pytest.raises(ResponseRefusedError):
        stream.end()
    service.invoke(b'{"next":1}')
    assert api.next().event == b'{"next":1}'
    assert service.connections == 2


def test_a_new_connection_when_more_came_than_an_answer(service: ScriptedRuntimeApi, api: RuntimeApi) -> None:
    """What is left over would be read as the next invocation."""
    service.invoke(b"{}", reader=Take(answer=answer(202) + answer(200, b"?", [("Lambda-Runtime-Aws-Request-Id", "?")])))
    stream = api.respond(api.next())
    stream.begin(PRELUDE)
    stream.end()
    service.invoke(b'{"next":1}')
    assert api.next().event == b'{"next":1}'


def test_a_response_takes_a_new_connection_when_the_old_one_was_closed(
    service: ScriptedRuntimeApi, api: RuntimeApi
) -> None:
    exchange = service.invoke(b"{}")
    stream = api.respond(api.next())
    service.drop_connections()
    stream.begin(PRELUDE)
    stream.end()
    assert exchange.wait_over() == "answered 202"
    assert service.connections == 2


# -- the service's bytes, cut at every place


def test_an_answer_may_be_cut_anywhere() -> None:
    fields = [("Lambda-Runtime-Aws-Request-Id", "an-id"), ("Lambda-Runtime-Deadline-Ms", "1"), ("X", "y")]
    given = [answer(200, b'{"event":1}', fields), _chunked(b'{"event":2}')]
    for data in given:
        for at in range(1, len(data)):
            assert _next_of(data[:at], data[at:]).id == "an-id", at


def test_an_answer_that_stalls_is_given_up() -> None:
    data = _chunked(b"{}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        api = RuntimeApi(f"127.0.0.1:{listener.getsockname()[1]}")
        api.connection()
        peer, _ = listener.accept()
        with peer:

            def stall() -> None:
                peer.recv(65_536)
                peer.sendall(data[:-3])

            thread = threading.Thread(target=stall)
            thread.start()
            with pytest.raises(RuntimeApiError, match="no progress"):
                api.next()
            thread.join()
        api.close()


def _chunked(event: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: an-id\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event)


def _next_of(*pieces: bytes) -> Invocation:
    """What `next` makes of an answer that comes in these pieces, each sent when the one before has been taken up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        api = RuntimeApi(f"127.0.0.1:{listener.getsockname()[1]}")
        api.connection()
        peer, _ = listener.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=_send_slowly, args=(peer, pieces))
            thread.start()
            try:
                return api.next()
            finally:
                thread.join()
                api.close()


def _send_slowly(peer: socket.socket, pieces: tuple[bytes, ...]) -> None:
    peer.recv(65_536)
    for piece in pieces:
        peer.sendall(piece)
        threading.Event().wait(0.001)
