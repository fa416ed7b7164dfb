"""Upstream is slow: heads and events that trickle, silence between them. Heartbeats fill what the caller waits for.

Heartbeats come every 0.6 s here (HEARTBEAT_SECONDS); the default is 10 s, below the 15 s that doors allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from emulator.fakes.raw_upstream import LAST_CHUNK, Close, Send, Sleep, Stall, Step, chunk, head, json_answer
from tests.support.harness import canaries, parsers
from tests.support.harness.exchange import Exchange
from tests.support.harness.fault_cases import EVENTS, GOOD, JSON_ANSWER, WHOLE
from tests.support.harness.faults_table import fault
from tests.support.harness.outcomes import HEARTBEAT, Cut, Refused, Whole
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import HEARTBEAT_SECONDS, RelayFixture, chat_request

# How late a heartbeat may be; on a busy machine by what the processes wait for a processor as well.
SLACK = 0.3


def trickled(data: bytes, seconds: float) -> Iterable[Step]:
    """`data` byte by byte, over `seconds` in all."""
    for byte in data:
        yield from (Sleep(seconds / len(data)), Send(bytes([byte])))


def assert_never_silent(relay_fixture: RelayFixture, exchange: Exchange) -> None:
    """From the request on the caller got something at least every heartbeat."""
    moments = [exchange.handed_out_at, *(at for at, _ in exchange.arrivals)]
    gaps = [after - before for before, after in pairwise(moments)]
    assert max(gaps) <= HEARTBEAT_SECONDS + SLACK + relay_fixture.cpu_wait(), gaps


def assert_begun_in_time(relay_fixture: RelayFixture, exchange: Exchange) -> None:
    """A real status was waited for as long as a heartbeat, and no longer."""
    assert exchange.begun_at - exchange.handed_out_at <= HEARTBEAT_SECONDS + SLACK + relay_fixture.cpu_wait()


def assert_heartbeats_between_events(exchange: Exchange, node: EventSourceParser) -> None:
    """With and without them, every reader sees the same events."""
    assert HEARTBEAT.search(exchange.body)
    assert parsers.assert_one_end(exchange.body_chunks, node) == parsers.assert_one_end([WHOLE], node)


@fault("silence", "before the head", "200 and heartbeats after the wait for a status; the whole response")
def test_silence_before_the_head(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    relay_fixture.upstream.answer(Sleep(2.2), *GOOD)
    exchange = relay_fixture.serve()
    Whole().check(exchange, WHOLE, node)
    assert_never_silent(relay_fixture, exchange)
    assert_heartbeats_between_events(exchange, node)
    relay_fixture.assert_serves()


@fault("silence", "between events", "heartbeats; the whole response")
def test_silence_between_events(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    relay_fixture.upstream.answer(*GOOD[:3], Sleep(2.2), *GOOD[3:])
    exchange = relay_fixture.serve()
    Whole().check(exchange, WHOLE, node)
    assert_never_silent(relay_fixture, exchange)
    assert_heartbeats_between_events(exchange, node)
    relay_fixture.assert_serves()


@fault("silence", "inside an event", "no heartbeat may be put there; the whole response")
def test_silence_inside_an_event(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    middle: list[Step] = [Send(chunk(EVENTS[1][:30])), Sleep(1.5), Send(chunk(EVENTS[1][30:]))]
    relay_fixture.upstream.answer(*GOOD[:2], *middle, *GOOD[3:])
    exchange = relay_fixture.serve()
    assert HEARTBEAT.sub(b"", exchange.body) == WHOLE
    assert EVENTS[1] in exchange.body, "none is put inside an event"
    Whole().check(exchange, WHOLE, node)
    relay_fixture.assert_serves()


@fault("an error", "after the first heartbeat", "an error event inside the 200")
def test_error_after_the_first_heartbeat(relay_fixture: RelayFixture) -> None:
    error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    relay_fixture.upstream.answer(Sleep(HEARTBEAT_SECONDS * 1.5), *json_answer(429, error))
    exchange = relay_fixture.serve()
    assert exchange.status == 200
    assert exchange.body.endswith(b'"code":"rate_limit_exceeded"}}\n\n')
    assert exchange.trailer_type
    relay_fixture.assert_serves()


@fault("a byte at a time", "the head", "200 and heartbeats after the wait for a status; the whole response")
def test_head_trickles(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    relay_fixture.upstream.answer_with(lambda request: [*trickled(head(), 2.0), *GOOD[1:]])
    exchange = relay_fixture.serve()
    Whole().check(exchange, WHOLE, node)
    assert_begun_in_time(relay_fixture, exchange)
    assert_never_silent(relay_fixture, exchange)
    relay_fixture.assert_serves()


@fault("a byte at a time", "the first event", "200 and heartbeats after the wait for a status; the whole response")
def test_first_event_trickles(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    steps = [step for byte in EVENTS[0] for step in (Sleep(2.0 / len(EVENTS[0])), Send(chunk(bytes([byte]))))]
    relay_fixture.upstream.answer(Send(head()), *steps, *GOOD[2:])
    exchange = relay_fixture.serve()
    Whole().check(exchange, WHOLE, node)
    assert_begun_in_time(relay_fixture, exchange)
    relay_fixture.assert_serves()


@fault("a byte at a time", "the whole response", "the whole response, as it arrives")
def test_everything_trickles(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    relay_fixture.upstream.answer_with(
        lambda request: [*GOOD[:2], *trickled(b"".join(map(chunk, EVENTS[1:])) + LAST_CHUNK, 1.0)]
    )
    exchange = relay_fixture.serve()
    Whole().check(exchange, WHOLE, node)
    assert_never_silent(relay_fixture, exchange)
    relay_fixture.assert_serves()


@fault("a byte at a time", "the body of an error", "the error, or 504 at the deadline")
def test_error_trickles(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    error = b'{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":"bad"}}'
    fields = [("content-type", "application/json"), ("content-length", str(len(error)))]
    relay_fixture.upstream.answer_with(lambda request: [Send(head(400, fields)), *trickled(error, 1.0)])
    exchange = relay_fixture.serve(chat_request(stream=False))
    assert (exchange.status, exchange.body) == (400, error)
    relay_fixture.upstream.answer_with(lambda request: [Send(head(400, fields)), *trickled(error, 20.0)])
    exchange = relay_fixture.serve(chat_request(stream=False), deadline=3.0)
    Refused(504, "upstream_timeout").check(exchange, b"", node)
    relay_fixture.assert_serves()


@fault("silence", "JSON was asked for", "no heartbeat, the whole response")
def test_no_heartbeats_outside_event_streams(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    half = len(JSON_ANSWER) // 2
    fields = [("content-type", "application/json"), ("content-length", str(len(JSON_ANSWER)))]
    relay_fixture.upstream.answer(
        Sleep(0.8), Send(head(200, fields)), Send(JSON_ANSWER[:half]), Sleep(0.8), Send(JSON_ANSWER[half:])
    )
    exchange = relay_fixture.serve(chat_request(stream=False))
    assert exchange.body == JSON_ANSWER
    Whole().check(exchange, JSON_ANSWER, node)
    relay_fixture.assert_serves()


LONG = [{"role": "user", "content": canaries.PROMPT * 400_000}]


@fault("upstream reads nothing", "of a request of 5 MB", "504 at the deadline, or an error event if heartbeats began")
def test_request_is_not_read(relay_fixture: RelayFixture, node: EventSourceParser) -> None:
    _with_a_new_connection(relay_fixture, Stall())
    exchange = relay_fixture.serve(chat_request(stream=False, messages=LONG), deadline=4.0)
    Refused(504, "upstream_timeout").check(exchange, b"", node)
    relay_fixture.assert_serves()
    _with_a_new_connection(relay_fixture, Stall())
    exchange = relay_fixture.serve(chat_request(messages=LONG), deadline=4.0)
    Cut("deadline_exceeded").check(exchange, b"", node)
    relay_fixture.assert_serves()


@fault("upstream returns 413 and closes", "inside a request of 5 MB", "413 or 502 `upstream_broken`; never sent twice")
def test_answer_before_the_request_was_read(relay_fixture: RelayFixture) -> None:
    error = b'{"error":{"message":"Too large.","type":"invalid_request_error","param":null,"code":"too_large"}}'
    fields = [("content-type", "application/json"), ("content-length", str(len(error)))]
    _with_a_new_connection(relay_fixture, Send(head(413, fields)), Send(error), Close())
    connections = relay_fixture.upstream.connections
    exchange = relay_fixture.serve(chat_request(messages=LONG))
    # On a machine so busy that sending 5 MB takes longer than a heartbeat, an error event says it.
    assert exchange.status in (413, 502) or exchange.trailer_type
    assert relay_fixture.upstream.connections == connections + 1
    relay_fixture.assert_serves()


def _with_a_new_connection(relay_fixture: RelayFixture, *greeting: Step) -> None:
    """Has the next request go over a connection of its own, which begins with `greeting`."""
    relay_fixture.upstream.answer(*GOOD, Close())
    relay_fixture.serve()
    assert relay_fixture.upstream.requests[-1].wait_over() == "closed"
    relay_fixture.upstream.greet_next(*greeting)
