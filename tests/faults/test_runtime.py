"""The Runtime API misbehaves, deadlines are short, signals come. Through the real relay process.

Source of what each status means: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import repeat

import pytest

from emulator.fakes.raw_upstream import (
    LAST_CHUNK,
    BlackHole,
    RawUpstream,
    Send,
    Sleep,
    Stall,
    Step,
    WaitFor,
    chunk,
    head,
)
from tests.support.harness import canaries
from tests.support.harness.fault_cases import EVENTS, GOOD, WHOLE, Case, play
from tests.support.harness.faults_table import fault
from tests.support.harness.outcomes import HEARTBEAT, Cut, Refused, Whole
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import RESERVE_SECONDS, RelayFixture, event
from tests.support.harness.runtime_api import (
    EarlyAnswer,
    EarlyAnswerAndClose,
    Mute,
    Reader,
    ResetAfter,
    Slow,
    StallAfter,
    Take,
    answer,
)
from tests.support.harness.secrets_manager import Silence

BIG_EVENT = b"data: {" + b'"x":"' + b"x" * 65_000 + b'"}\n\n'


def flood(request: object) -> Iterator[Step]:
    """An answer that never ends and never pauses."""
    yield Send(head())
    yield from repeat(Send(chunk(EVENTS[0])), 1)
    yield from repeat(Send(chunk(BIG_EVENT)))


# -- /next

NEXT = {
    "500": answer(500),
    "403": answer(403),
    "garbage": f"{canaries.PROMPT} is no status line\r\n\r\n".encode(),
    "connection dropped": b"",
    "answer cut": answer(200, b"x" * 50)[:-20],
    "no request id": answer(200, b"{}"),
    "a request id that is no part of a path": answer(200, b"{}", [("Lambda-Runtime-Aws-Request-Id", "a b")]),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in NEXT.items()])
@fault("`/next` answers " + ", ".join(NEXT), "once", "asked again after a pause; the next invocation is served")
def test_next_fails_once(relay_fixture: RelayFixture, data: bytes) -> None:
    calls = relay_fixture.api.next_calls
    relay_fixture.api.answer_next(data)
    relay_fixture.api.wait_next(calls + 1)
    relay_fixture.assert_serves()


@fault("`/next` fails", "six times in a row", "the process exits with 1 after 3 s, without spinning")
def test_next_fails_always(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.assert_serves()
        for _ in range(6):
            relay_fixture.api.answer_next(answer(500))
        assert relay_fixture.relay.wait() == 1
        assert relay_fixture.relay.log()[-1]["event"] == "next_failed"


@fault("`/next` responds late", "after 6 s", "served")
def test_next_is_late(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.assert_serves()
        threading.Event().wait(6.0)
        relay_fixture.assert_serves()
        assert relay_fixture.api.next_calls <= 3


@fault("the Runtime API closes its connection", "while idle", "served over a new one")
def test_idle_connection_dropped(relay_fixture: RelayFixture) -> None:
    relay_fixture.api.drop_connections()
    relay_fixture.assert_serves()


@fault("the Runtime API closes its connection", "between `/next` and the response", "served over a new one")
def test_connection_dropped_before_the_answer(relay_fixture: RelayFixture) -> None:
    ready = threading.Event()
    relay_fixture.upstream.answer(WaitFor(ready), *GOOD)
    sent = len(relay_fixture.upstream.requests)
    exchange = relay_fixture.invoke()
    relay_fixture.upstream.wait_for_requests(sent + 1)
    relay_fixture.api.drop_connections()
    ready.set()
    assert exchange.wait_over() == "answered 202"
    assert HEARTBEAT.sub(b"", exchange.body) == WHOLE
    relay_fixture.assert_serves()


# -- /response


@pytest.mark.parametrize("status", [400, 403, 410, 413, 500])
@fault("`/response` returns 400, 403, 410, 413, 500", "at its end", "logged; the next invocation is served")
def test_response_refused_at_its_end(relay_fixture: RelayFixture, status: int) -> None:
    relay_fixture.upstream.answer(*GOOD)
    exchange = relay_fixture.serve(reader=Take(status))
    assert exchange.over == f"answered {status}"
    relay_fixture.assert_serves()
    lines = [line for line in relay_fixture.relay.log() if line.get("requestId") == exchange.id]
    assert ("response_refused", status) in [(line["event"], line.get("status")) for line in lines]


EARLY: dict[str, Reader] = {
    "410": EarlyAnswer(410),
    "413": EarlyAnswer(413, after=500),
    "400 and closes": EarlyAnswerAndClose(400),
    "403 and closes": EarlyAnswerAndClose(403, after=500),
    "reset": ResetAfter(500),
}


@pytest.mark.parametrize("reader", [pytest.param(reader, id=name) for name, reader in EARLY.items()])
@fault(
    "`/response` is refused or reset early",
    "while upstream is silent",
    "upstream is closed at once; the next is served",
)
def test_early_answer_while_upstream_is_silent(relay_fixture: RelayFixture, reader: Reader) -> None:
    relay_fixture.upstream.answer(
        Send(head()), Send(chunk(EVENTS[0])), Send(chunk(EVENTS[1])), Send(chunk(EVENTS[2])), Stall()
    )
    exchange = relay_fixture.serve(reader=reader)
    relay_fixture.assert_upstream_left(exchange)
    relay_fixture.assert_serves()


BEFORE_THE_FIRST_BYTE: dict[str, tuple[Step, ...]] = {
    "before the head": (Stall(),),
    "behind the head": (Send(head()), Stall()),
    "in the first event": (Send(head()), Send(chunk(EVENTS[0][:20])), Stall()),
}


@pytest.mark.parametrize("steps", [pytest.param(steps, id=name) for name, steps in BEFORE_THE_FIRST_BYTE.items()])
@pytest.mark.parametrize("reader", [EarlyAnswer(410), EarlyAnswerAndClose(403), ResetAfter(1)])
@fault(
    "`/response` is refused or reset early",
    "after a heartbeat, before upstream's first byte",
    "upstream is closed at once; the next is served",
)
def test_early_answer_to_a_heartbeat(relay_fixture: RelayFixture, reader: Reader, steps: tuple[Step, ...]) -> None:
    """The response has begun inside the wait that is to notice its end."""
    relay_fixture.upstream.answer(*steps)
    relay_fixture.start_watch()
    exchange = relay_fixture.serve(reader=reader, deadline=30)
    relay_fixture.assert_upstream_left(exchange)
    relay_fixture.assert_serves()


@pytest.mark.parametrize("reader", [pytest.param(reader, id=name) for name, reader in EARLY.items()])
@fault(
    "`/response` is refused or reset early", "while upstream pours", "upstream is closed at once; the next is served"
)
def test_early_answer_while_upstream_pours(relay_fixture: RelayFixture, reader: Reader) -> None:
    relay_fixture.upstream.answer_with(flood)
    exchange = relay_fixture.serve(reader=reader)
    relay_fixture.assert_upstream_left(exchange)
    relay_fixture.assert_serves()


@fault("the reader of `/response` stalls", "while upstream pours", "given up at the deadline; the next is served")
def test_stalled_reader(relay_fixture: RelayFixture) -> None:
    relay_fixture.upstream.answer_with(flood)
    exchange = relay_fixture.serve(reader=StallAfter(1000), deadline=1.2)
    request = relay_fixture.upstream.requests[-1]
    assert request.wait_over(60.0) == "peer left"
    assert 0.9 <= request.over_at - exchange.handed_out_at <= 1.7 + relay_fixture.cpu_wait()
    relay_fixture.assert_serves()


@fault(
    "the reader of `/response` is slow", "all the time", "upstream is slowed down; the whole response, in flat memory"
)
def test_slow_reader(relay_fixture: RelayFixture) -> None:
    events = [EVENTS[0], *repeat(BIG_EVENT, 300), *EVENTS[1:]]
    relay_fixture.upstream.answer(Send(head()), *(Send(chunk(each)) for each in events), Send(LAST_CHUNK))
    before = relay_fixture.relay.footprint().resident
    exchange = relay_fixture.invoke(reader=Slow(1 << 20, 0.02))
    exchange.wait_body(1 << 20)
    assert len(relay_fixture.upstream.requests[-1].sent) < 16 << 20
    exchange.wait_over()
    assert HEARTBEAT.sub(b"", exchange.body) == b"".join(events)
    assert relay_fixture.relay.footprint().resident - before < 12 << 20
    relay_fixture.assert_serves()


@fault("`/response` never gets its response", "after its end", "given up after 5 s; the next is served")
def test_response_never_answered(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        exchange = relay_fixture.serve(reader=Mute())
        assert exchange.over == "relay left"
        relay_fixture.assert_serves()


@fault("`/response` gets garbage", "after its end", "logged; the next is served")
def test_response_answered_with_garbage(relay_fixture: RelayFixture) -> None:
    relay_fixture.serve(reader=Take(answer=b"\x16\x03\x01 no HTTP\r\n\r\n"))
    relay_fixture.assert_serves()


# -- events and /error


@pytest.mark.parametrize("event", [b"", b"[]", b"{}", b"\xff", b'{"rawPath": 1}', b"[" * 100_000])
@fault("an event that is no HTTP request", "invocation", "`/error` with `Function.NotAnHttpEvent`; the next is served")
def test_event_is_not_http(relay_fixture: RelayFixture, event: bytes) -> None:
    exchange = relay_fixture.api.invoke(event)
    assert exchange.wait_over() == "error"
    assert exchange.error is not None
    assert exchange.error["errorType"] == exchange.error["headerType"] == "Function.NotAnHttpEvent"
    relay_fixture.assert_serves()
    [record] = [
        line for line in relay_fixture.relay.log() if line["event"] == "request" and line["requestId"] == exchange.id
    ]
    assert (record["outcome"], record["Failures"]) == ("not_http", 0), "nobody is to be woken for it"


@pytest.mark.parametrize("status", [400, 403, 410, 500])
@fault("`/error` returns 400, 403, 410, 500", "after an event that is no HTTP request", "logged; the next is served")
def test_error_refused(relay_fixture: RelayFixture, status: int) -> None:
    exchange = relay_fixture.api.invoke(b"{}", reader=Take(status))
    assert exchange.wait_over() == "error"
    relay_fixture.assert_serves()


def test_invocation_id_is_echoed(relay_fixture: RelayFixture) -> None:
    relay_fixture.upstream.answer(*GOOD)
    exchange = relay_fixture.api.invoke(event({"model": "m"}, path="/nowhere"), token="a-token")
    exchange.wait_over()
    assert exchange.head is not None
    assert exchange.head.header("lambda-runtime-invocation-id") == "a-token"


def test_response_head_is_what_the_service_demands(relay_fixture: RelayFixture) -> None:
    exchange = relay_fixture.serve()
    assert exchange.head is not None
    assert exchange.head.header("lambda-runtime-function-response-mode") == "streaming"
    assert exchange.head.header("transfer-encoding") == "chunked"
    assert exchange.head.header("content-type") == "application/vnd.awslambda.http-integration-response"
    trailers = {name.strip().lower() for name in exchange.head.header("trailer").split(",")}
    assert trailers == {"lambda-runtime-function-error-type", "lambda-runtime-function-error-body"}


# -- deadlines

CASES = (
    Case(
        fault="deadline",
        when="in 0.2 s",
        steps=(Stall(),),
        outcome=Refused(504, "upstream_timeout"),
        deadline=0.2,
        begins_within=0.16,
        over_within=0.16,
    ),
    Case(
        fault="deadline",
        when="in 1 s, upstream silent",
        steps=(Send(head()), Send(chunk(EVENTS[0])), Stall()),
        outcome=Cut("deadline_exceeded"),
        sent=EVENTS[0],
        deadline=1.0,
        over_within=0.8,
    ),
    Case(fault="deadline", when="absent", steps=GOOD, outcome=Whole(), sent=WHOLE, deadline=None),
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_deadline(relay_fixture: RelayFixture, node: EventSourceParser, case: Case) -> None:
    play(relay_fixture, case, node)
    relay_fixture.assert_serves()


@fault("deadline", "past", "504 `deadline_exceeded`, and nothing is sent upstream")
def test_deadline_is_past(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    sent = len(relay_fixture.upstream.requests)
    exchange = relay_fixture.serve(deadline=-5.0)
    Refused(504, "deadline_exceeded").check(exchange, b"", node)
    assert len(relay_fixture.upstream.requests) == sent
    relay_fixture.assert_serves()


def paced(request: object) -> Iterator[Step]:
    """An answer that never ends, an event every 10 ms."""
    yield Send(head())
    while True:
        yield from (Send(chunk(EVENTS[0])), Sleep(0.01))


@pytest.mark.parametrize("script", [flood, paced])
@fault("a response that never ends", "poured or paced", "an error event before the deadline, with the reserve left")
def test_endless_answer(relay_fixture: RelayFixture, script: Callable[[object], Iterator[Step]]) -> None:
    relay_fixture.upstream.answer_with(script)
    exchange = relay_fixture.serve(deadline=3.0)
    assert exchange.over == "answered 202"
    assert exchange.body.endswith(b'"code":"deadline_exceeded"}}\n\n')
    assert exchange.trailer_type == "Function.Deadline"
    assert exchange.over_at - exchange.handed_out_at <= 3.0 - RESERVE_SECONDS + 0.4 + relay_fixture.cpu_wait()
    relay_fixture.assert_upstream_left(exchange)
    relay_fixture.assert_serves()


# -- signals


@fault("SIGTERM", "while idle", "exits with 0 at once")
def test_sigterm_while_idle(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.assert_serves()
        relay_fixture.api.wait_next(2)
        relay_fixture.relay.signal(signal.SIGTERM)
        assert relay_fixture.relay.wait(5.0) == 0
        assert relay_fixture.relay.stderr.read_text() == ""


@pytest.mark.parametrize("script", [flood, paced, "silent"])
@fault("SIGTERM", "mid-stream, upstream silent, paced or pouring", "an error event `shutting_down`, then exits with 0")
def test_sigterm_mid_stream(
    new_relay: Callable[..., AbstractContextManager[RelayFixture]], script: str | Callable[[object], Iterator[Step]]
) -> None:
    with new_relay() as relay_fixture:
        if isinstance(script, str):
            relay_fixture.upstream.answer(Send(head()), Send(chunk(EVENTS[0])), Stall())
        else:
            relay_fixture.upstream.answer_with(script)
        exchange = relay_fixture.invoke()
        exchange.wait_body(len(EVENTS[0]))
        signalled_at = time.monotonic()
        relay_fixture.relay.signal(signal.SIGTERM)
        assert exchange.wait_over() == "answered 202"
        assert exchange.over_at - signalled_at <= 2.0 + relay_fixture.cpu_wait()
        assert exchange.body.endswith(b'"code":"shutting_down"}}\n\n')
        assert exchange.trailer_type == "Function.Shutdown"
        assert relay_fixture.relay.wait() == 0


def assert_ends_at_once(relay_fixture: RelayFixture) -> None:
    """SIGTERM ends the process and all that it holds within a second."""
    relay_fixture.start_watch()
    signalled_at = time.monotonic()
    relay_fixture.relay.signal(signal.SIGTERM)
    assert relay_fixture.relay.wait() == 0
    assert time.monotonic() - signalled_at <= 1.0 + relay_fixture.cpu_wait()


@fault("SIGTERM", "while connecting to OpenAI", "503 `shutting_down`, exits with 0 within a second")
def test_sigterm_while_connecting(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with BlackHole() as hole, new_relay(settings={"OPENAI_BASE_URL": hole.url}) as relay_fixture:
        exchange = relay_fixture.invoke(deadline=60)
        relay_fixture.secrets.wait_for_reads(1)
        assert_ends_at_once(relay_fixture)
        assert exchange.status == 503
        assert b'"code":"shutting_down"' in exchange.body


@fault("SIGTERM", "in the TLS handshake", "503 `shutting_down`, exits with 0 within a second")
def test_sigterm_in_the_handshake(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with (
        RawUpstream() as plain,
        new_relay(settings={"OPENAI_BASE_URL": f"https://localhost:{plain.port}/v1"}) as relay_fixture,
    ):
        plain.greet_next(Stall())
        exchange = relay_fixture.invoke(deadline=60)
        plain.wait_for_connections(1)
        assert_ends_at_once(relay_fixture)
        assert b'"code":"shutting_down"' in exchange.body


@fault("SIGTERM", "while the secret is read", "503 `shutting_down`, exits with 0 within a second")
def test_sigterm_while_the_secret_is_read(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.secrets.behaviour = Silence()
        exchange = relay_fixture.invoke(deadline=60)
        relay_fixture.secrets.wait_for_reads(1)
        assert_ends_at_once(relay_fixture)
        assert b'"code":"shutting_down"' in exchange.body
        assert not relay_fixture.upstream.requests


@fault("SIGTERM", "while DynamoDB is waited for", "503 `shutting_down`, exits with 0 within a second")
def test_sigterm_while_the_store_is_waited_for(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with RawUpstream(path="") as store, new_relay(settings=_with_limits(store)) as relay_fixture:
        store.answer(Stall())
        exchange = relay_fixture.invoke(deadline=60)
        store.wait_for_requests(1, 60.0)
        assert_ends_at_once(relay_fixture)
        assert b'"code":"shutting_down"' in exchange.body
        assert not relay_fixture.upstream.requests


@fault("SIGTERM", "while the reader of `/response` stalls", "a broken `/response`, exits with 0 within a second")
def test_sigterm_while_the_reader_stalls(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.upstream.answer_with(flood)
        exchange = relay_fixture.invoke(reader=StallAfter(1000), deadline=60)
        exchange.wait_body(1000)
        _until_still(relay_fixture)
        assert_ends_at_once(relay_fixture)
        assert relay_fixture.upstream.requests[-1].wait_over() == "peer left"


def _until_still(relay_fixture: RelayFixture) -> None:
    """Returns when the relay takes no more from upstream: it waits for its reader."""
    sent = -1
    while len(relay_fixture.upstream.requests[-1].sent) != sent:
        sent = len(relay_fixture.upstream.requests[-1].sent)
        threading.Event().wait(0.2)


def _with_limits(store: RawUpstream) -> dict[str, str]:
    return {"TABLE_NAME": "limits", "AWS_ENDPOINT_URL_DYNAMODB": store.url}


@fault("a store hangs", "DynamoDB, with a deadline in 0.3 s", "503 before the deadline; nothing is sent upstream")
def test_a_store_that_hangs_does_not_outlast_the_deadline(
    new_relay: Callable[..., AbstractContextManager[RelayFixture]],
) -> None:
    with RawUpstream(path="") as store, new_relay(settings=_with_limits(store)) as relay_fixture:
        store.answer(Stall())
        assert relay_fixture.api.wait_idle(60.0)
        relay_fixture.start_watch()
        exchange = relay_fixture.serve(deadline=0.3)
        assert exchange.over_at - exchange.handed_out_at <= 0.3 + relay_fixture.cpu_wait()
        assert exchange.status in (503, 504)
        assert not relay_fixture.upstream.requests


@fault(
    "a store hangs", "Secrets Manager, with a deadline in 0.3 s", "503 before the deadline; nothing is sent upstream"
)
def test_a_secret_that_hangs_does_not_outlast_the_deadline(
    new_relay: Callable[..., AbstractContextManager[RelayFixture]],
) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.secrets.behaviour = Silence()
        assert relay_fixture.api.wait_idle(60.0)
        relay_fixture.start_watch()
        exchange = relay_fixture.serve(deadline=0.3)
        assert exchange.over_at - exchange.handed_out_at <= 0.3 + relay_fixture.cpu_wait()
        assert exchange.status in (503, 504)
        assert not relay_fixture.upstream.requests


@fault("SIGKILL", "mid-stream", "a broken `/response`, upstream closed")
def test_sigkill_mid_stream(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.upstream.answer(Send(head()), Send(chunk(EVENTS[0])), Stall())
        exchange = relay_fixture.invoke()
        exchange.wait_body(len(EVENTS[0]))
        relay_fixture.relay.signal(signal.SIGKILL)
        assert exchange.wait_over() == "relay left"
        assert not exchange.complete
        relay_fixture.assert_upstream_left(exchange)


@fault("the process is frozen for a second", "mid-stream", "the whole response")
def test_frozen_mid_stream(relay_fixture: RelayFixture) -> None:
    go_on = threading.Event()
    relay_fixture.upstream.answer(*GOOD[:2], WaitFor(go_on), *GOOD[2:])
    exchange = relay_fixture.invoke()
    exchange.wait_body(len(EVENTS[0]))
    relay_fixture.relay.freeze()
    go_on.set()
    threading.Event().wait(1.0)
    relay_fixture.relay.thaw()
    exchange.wait_over()
    assert HEARTBEAT.sub(b"", exchange.body) == WHOLE
    relay_fixture.assert_serves()


@fault("the process is frozen past the deadline", "mid-stream", "an error event at once")
def test_frozen_past_the_deadline(relay_fixture: RelayFixture) -> None:
    relay_fixture.upstream.answer(*GOOD[:2], Stall())
    exchange = relay_fixture.invoke(deadline=0.8)
    exchange.wait_body(len(EVENTS[0]))
    relay_fixture.relay.freeze()
    threading.Event().wait(1.0)
    relay_fixture.relay.thaw()
    exchange.wait_over()
    assert exchange.body.endswith(b'"code":"deadline_exceeded"}}\n\n')
    relay_fixture.assert_serves()


# -- init

INIT = {
    "no secret is named": ({"OPENAI_SECRET_ARN": ""}, "OPENAI_SECRET_ARN"),
    "a base URL that is none": ({"OPENAI_BASE_URL": "ftp://x"}, "OPENAI_BASE_URL"),
    "an endpoint that is none": ({"AWS_ENDPOINT_URL": "nonsense"}, "AWS_ENDPOINT_URL"),
    "certificates that are not there": ({"AWS_CA_BUNDLE": "/nonexistent"}, "AWS_CA_BUNDLE"),
    "a number that is none": ({"HEARTBEAT_SECONDS": "soon"}, "HEARTBEAT_SECONDS"),
}


@pytest.mark.parametrize(("settings", "named"), [pytest.param(*given, id=name) for name, given in INIT.items()])
@fault("init with a setting missing or wrong", "start", "`/init/error` that names the setting, exits with 1")
def test_init_fails(
    new_relay: Callable[..., AbstractContextManager[RelayFixture]], settings: dict[str, str], named: str
) -> None:
    with new_relay(settings=settings) as relay_fixture:
        assert relay_fixture.relay.wait() == 1
        (path, error), *more = relay_fixture.api.wait_errors(1)
        assert not more
        assert path.endswith("/runtime/init/error")
        assert error["errorType"] == error["headerType"] == "Runtime.BadSettings"
        assert named in error["errorMessage"]
        assert relay_fixture.api.next_calls == 0


@fault("the Runtime API is not there", "start", "exits with 1")
def test_no_runtime_api(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay(settings={"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"}) as relay_fixture:
        assert relay_fixture.relay.wait() == 1


def test_every_line_on_stdout_is_json(relay_fixture: RelayFixture) -> None:
    relay_fixture.assert_serves()
    assert all(isinstance(line, dict) and line["level"] for line in relay_fixture.relay.log())
