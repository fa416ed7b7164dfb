"""The loop and its table of failures, with handlers made for each row, against a scripted Runtime API."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from relay.errors import ErrorKind, NotHttpError, RelayError
from relay.lambda_runtime.client import Invocation, RuntimeApi
from relay.lambda_runtime.loop import Handler, Runtime
from relay.lambda_runtime.reply import Reply, Timing
from relay.lambda_runtime.shutdown import Stop
from relay.log import Log
from relay.models import Response

from tests.support.harness.exchange import Exchange
from tests.support.harness.runtime_api import Reader, ResetAfter, ScriptedRuntimeApi, Take

SECRET = "what an exception quotes"
SSE = {"content-type": "text/event-stream"}
ERROR_EVENT = b'event: error\ndata: {"error":{"message":"%s","type":"api_error","param":null,"code":"%s"}}\n\n'


def runtime(api: RuntimeApi, handler: Handler, log: Log, stop: Stop) -> Runtime:
    """A loop that holds no time back and sends no heartbeats."""
    timing = Timing(heartbeat_seconds=0.0, reserve_seconds=0.0)
    return Runtime(api, handler, log, stop, timing=timing)


class Loop:
    """A runtime that serves what it is given with one handler, in this process, and stops after that."""

    def __init__(self, service: ScriptedRuntimeApi, log: Path) -> None:
        self._service = service
        self._log_path = log

    def serve(self, handler: Handler, *readers: Reader, event: bytes = b"{}") -> list[Exchange]:
        """One invocation per reader (one that takes everything, if there is none); returns their exchanges."""
        exchanges = [self._service.invoke(event, reader=reader) for reader in readers or (Take(),)]
        stop = Stop()
        left = iter(range(len(exchanges) - 1, -1, -1))

        def counting(invocation: Invocation, reply: Reply) -> Response:
            if next(left) == 0:
                stop.request()
            return handler(invocation, reply)

        with self._log_path.open("ab") as log:
            api = RuntimeApi(self._service.address, stop_fd=stop.fd)
            assert runtime(api, counting, Log("DEBUG", log.fileno()), stop).run() == 0
            api.close()
        for exchange in exchanges:
            exchange.wait_over()
        return exchanges

    def log(self) -> list[dict[str, Any]]:
        text = self._log_path.read_text()
        assert SECRET not in text
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with ScriptedRuntimeApi() as service:
        yield Loop(service, tmp_path / "log")
        assert not service.broken_rules


def streaming(*pieces: bytes, failure: Exception | None = None, headers: dict[str, str] = SSE) -> Handler:
    """A handler whose body yields `pieces` and then raises `failure`."""

    def body() -> Iterator[bytes]:
        yield from pieces
        if failure is not None:
            raise failure

    return lambda invocation, reply: Response(status=200, headers=headers, body=body())


def raising(failure: Exception) -> Handler:
    def handler(invocation: Invocation, reply: Reply) -> Response:
        raise failure

    return handler


# -- the table, row by row


def test_a_good_answer(loop: Loop) -> None:
    (exchange,) = loop.serve(streaming(b"data: 1\n\n", b"data: [DONE]\n\n"))
    assert exchange.over == "answered 202"
    assert exchange.prelude == {"statusCode": 200, "headers": {"x-request-id": exchange.id, **SSE}}
    assert exchange.body == b"data: 1\n\ndata: [DONE]\n\n"
    assert not exchange.trailer_type
    assert loop.log() == []


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_an_expected_failure_before_the_prelude(loop: Loop, kind: ErrorKind) -> None:
    (exchange,) = loop.serve(raising(RelayError(kind, "for the caller", headers={"retry-after": "3"}, log=SECRET)))
    assert exchange.status == kind.spec.status
    assert exchange.prelude["headers"]["content-type"] == "application/json"
    assert exchange.prelude["headers"]["retry-after"] == "3"
    error = json.loads(exchange.body)["error"]
    assert error == {"message": "for the caller", "type": kind.spec.type, "param": None, "code": kind.spec.code}
    assert not exchange.trailer_type


def test_a_bug_before_the_prelude(loop: Loop) -> None:
    (exchange,) = loop.serve(raising(KeyError(SECRET)))
    assert exchange.status == 500
    error = json.loads(exchange.body)["error"]
    assert error["code"] == "internal_error"
    assert exchange.id in error["message"]
    assert SECRET.encode() not in exchange.data
    (line,) = loop.log()
    assert (line["level"], line["event"], line["errorType"]) == ("ERROR", "bug", "KeyError")
    assert line["requestId"] == exchange.id
    assert any("test_loop.py" in frame for frame in line["stack"])


def test_an_expected_failure_mid_stream(loop: Loop) -> None:
    (exchange,) = loop.serve(streaming(b"data: 1\n\n", failure=RelayError(ErrorKind.DEADLINE, "Too late.")))
    assert exchange.body == b"data: 1\n\n" + ERROR_EVENT % (b"Too late.", b"deadline_exceeded")
    assert exchange.trailer_type == "Function.Deadline"
    assert exchange.trailer_body["errorMessage"] == "Too late."


def test_a_bug_mid_stream(loop: Loop) -> None:
    (exchange,) = loop.serve(streaming(b"data: 1\n\n", failure=KeyError(SECRET)))
    assert exchange.body.startswith(b"data: 1\n\nevent: error\n")
    assert b"Internal error." in exchange.body
    assert exchange.trailer_type == "Function.Internal"
    assert SECRET.encode() not in exchange.data
    assert SECRET not in json.dumps(exchange.trailer_body)
    assert [line["event"] for line in loop.log()] == ["bug"]


def test_a_failure_inside_an_event_ends_that_event_first(loop: Loop) -> None:
    (exchange,) = loop.serve(
        streaming(b"data: 1\n\ndata: ha", failure=RelayError(ErrorKind.UPSTREAM_BROKEN, "Broken."))
    )
    assert exchange.body == b"data: 1\n\ndata: ha\n\n" + ERROR_EVENT % (b"Broken.", b"upstream_broken")


def test_a_failure_of_what_is_no_event_stream_is_told_by_trailers_only(loop: Loop) -> None:
    failure = RelayError(ErrorKind.UPSTREAM_BROKEN)
    (exchange,) = loop.serve(streaming(b'{"half":', failure=failure, headers={"content-type": "application/json"}))
    assert exchange.body == b'{"half":'
    assert exchange.trailer_type == "Function.UpstreamBroken"


def test_a_failure_after_the_end_is_logged_only(loop: Loop) -> None:
    def handler(invocation: Invocation, reply: Reply) -> Response:
        reply.closing.callback(_raise, KeyError(SECRET))
        return streaming(b"data: 1\n\n")(invocation, reply)

    good, next_one = loop.serve(handler, Take(), Take())
    assert good.body == next_one.body == b"data: 1\n\n"
    assert not good.trailer_type
    assert [line["event"] for line in loop.log()] == ["done_failed", "done_failed"]


def test_an_event_that_is_no_request(loop: Loop) -> None:
    (exchange,) = loop.serve(raising(NotHttpError("no rawPath")))
    assert exchange.over == "error"
    assert exchange.error is not None
    assert exchange.error["errorType"] == "Function.NotAnHttpEvent"


# -- what survives


@pytest.mark.parametrize("reader", [Take(410), Take(413), Take(400), Take(403), Take(500), ResetAfter()])
@pytest.mark.parametrize("failure", [None, RelayError(ErrorKind.DEADLINE), KeyError(SECRET)])
def test_the_next_invocation_is_served_after_a_refusal(loop: Loop, reader: Reader, failure: Exception | None) -> None:
    big = b"data: " + b"x" * 1_000_000 + b"\n\n"
    refused, good = loop.serve(streaming(big, failure=failure), reader, Take())
    assert refused.over != "answered 202"
    assert good.body.startswith(big)


def test_a_body_is_closed_however_it_ends(loop: Loop) -> None:
    closed: list[str] = []

    def handler(name: str, failure: Exception | None) -> Handler:
        def body() -> Iterator[bytes]:
            try:
                for _ in range(20):
                    yield b"data: " + b"x" * 100_000 + b"\n\n"
                if failure is not None:
                    raise failure
            finally:
                closed.append(name)

        return lambda invocation, reply: Response(status=200, headers=SSE, body=body())

    loop.serve(handler("good", None))
    loop.serve(handler("failed", KeyError(SECRET)))
    loop.serve(handler("refused", None), Take(413))
    loop.serve(handler("reset", None), ResetAfter())
    assert closed == ["good", "failed", "refused", "reset"]


@pytest.mark.parametrize(
    ("failure", "reader", "told"),
    [
        (None, Take(), "NoneType"),
        (RelayError(ErrorKind.DEADLINE), Take(), "RelayError"),
        (KeyError(SECRET), Take(), "KeyError"),
        (None, Take(413), "ResponseRefusedError"),
        (None, ResetAfter(), "RuntimeApiError"),
    ],
)
def test_who_registered_is_called_once_last_first(
    loop: Loop, failure: Exception | None, reader: Reader, told: str
) -> None:
    calls: list[tuple[str, str]] = []

    def handler(invocation: Invocation, reply: Reply) -> Response:
        reply.closing.push(lambda kind, failure, trace: calls.append(("first", type(failure).__name__)))
        reply.closing.push(lambda kind, failure, trace: calls.append(("second", type(failure).__name__)))
        return streaming(b"data: 1\n\n", failure=failure)(invocation, reply)

    loop.serve(handler, reader)
    assert calls == [("second", told), ("first", told)]


def test_headers_that_cannot_be_sent_are_a_bug_like_any_other(loop: Loop) -> None:
    unsendable: Any = {"content-type": "text/event-stream", "x": object()}
    bad, good = loop.serve(streaming(b"data: 1\n\n", headers=unsendable), Take(), Take())
    assert (bad.status, good.status) == (500, 500)


# -- the process around it


def test_the_trace_id_is_set_for_each_invocation(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    seen: list[str] = []

    def handler(invocation: Invocation, reply: Reply) -> Response:
        seen.append(os.environ["_X_AMZN_TRACE_ID"])
        return Response(status=200, headers={}, body=iter([b"x"]))

    loop.serve(handler)
    assert seen[0].startswith("Root=1-")


def test_a_wish_to_stop_that_came_early_is_granted_before_asking_for_work() -> None:
    with ScriptedRuntimeApi() as service:
        stop = Stop()
        stop.request()
        assert runtime(RuntimeApi(service.address), raising(KeyError()), Log("FATAL"), stop).run() == 0
        assert service.next_calls == 0


def test_a_wish_to_stop_ends_the_wait_for_work() -> None:
    stop = Stop()

    def request_later() -> None:
        service.wait_next(1)
        stop.request()

    with ScriptedRuntimeApi() as service:
        later = threading.Thread(target=request_later)
        later.start()
        api = RuntimeApi(service.address, stop_fd=stop.fd)
        assert runtime(api, raising(KeyError()), Log("FATAL"), stop).run() == 0
        later.join()
        api.close()


class Impatient(Log):
    """Tells a process to stop at its fourth failure in a row, before which it would pause for 0.8 s."""

    def __init__(self, stop: Stop) -> None:
        super().__init__("FATAL")
        self._stop = stop
        self.stopped_at = 0.0

    def warn(self, event: str, **fields: object) -> None:
        if fields["failures"] == 4:
            self._stop.request()
            self.stopped_at = time.monotonic()


def test_the_service_is_not_asked_in_a_tight_loop() -> None:
    """0.1, 0.2, 0.4, 0.8 and 1.6 s between six attempts: a broken service is not made worse, nor a CPU kept busy."""
    stop = Stop()
    moments: list[float] = []

    class Noting(Log):
        def warn(self, event: str, **fields: object) -> None:
            moments.append(time.monotonic())
            if len(moments) == 4:
                stop.request()

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        api = RuntimeApi(f"127.0.0.1:{closed.getsockname()[1]}")
        assert runtime(api, raising(KeyError()), Noting("FATAL"), stop).run() == 0
    pauses = [after - before for before, after in pairwise(moments)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True)), pauses


def test_a_wish_to_stop_ends_the_pause_after_a_failure() -> None:
    stop = Stop()
    log = Impatient(stop)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        api = RuntimeApi(f"127.0.0.1:{closed.getsockname()[1]}")
        assert runtime(api, raising(KeyError()), log, stop).run() == 0
    assert time.monotonic() - log.stopped_at < 0.6


def _raise(failure: Exception) -> Any:
    raise failure
