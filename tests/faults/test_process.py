"""One process for a long time: a thousand invocations, abandoned streams, large answers, a log that nobody reads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import repeat

from emulator.fakes.raw_upstream import LAST_CHUNK, Reset, Send, Stall, Step, chat_stream, chunk, head, json_answer
from tests.support.harness import canaries
from tests.support.harness.fault_cases import EVENTS, GOOD, JSON_ANSWER, WHOLE
from tests.support.harness.faults_table import fault
from tests.support.harness.outcomes import HEARTBEAT
from tests.support.harness.relay_fixture import RelayFixture, chat_request
from tests.support.harness.runtime_api import Discard, ResetAfter, Take

NewRelay = Callable[..., AbstractContextManager[RelayFixture]]
MEGABYTE = 1 << 20


@fault("a thousand invocations", "in a row, good and bad", "descriptors, threads and memory as before")
def test_a_thousand_invocations(new_relay: NewRelay) -> None:
    with new_relay() as relay_fixture:
        _serve_mixed(relay_fixture, 100)  # what is made once is made now
        before = relay_fixture.relay.wait_footprint(lambda now: now.threads == 1)
        _serve_mixed(relay_fixture, 1000)
        after = relay_fixture.relay.wait_footprint(
            lambda now: now.threads == 1 and abs(now.descriptors - before.descriptors) <= 1
        )
        relay_fixture.assert_serves()
    assert abs(after.descriptors - before.descriptors) <= 1
    assert after.threads == before.threads == 1
    assert after.resident - before.resident < 2 * MEGABYTE


def _serve_mixed(relay_fixture: RelayFixture, count: int) -> None:
    for number in range(count):
        match number % 10:
            case 3:
                relay_fixture.upstream.answer(*GOOD[:2], Reset())
                assert relay_fixture.serve().trailer_type == "Function.UpstreamBroken"
            case 5:
                relay_fixture.upstream.answer(*json_answer(200, JSON_ANSWER))
                assert relay_fixture.serve(chat_request(stream=False)).body == JSON_ANSWER
            case 7:
                relay_fixture.upstream.answer(*GOOD)
                assert relay_fixture.serve(reader=Take(413)).over == "answered 413"
            case _:
                relay_fixture.upstream.answer(*GOOD)
                assert HEARTBEAT.sub(b"", relay_fixture.serve().body) == WHOLE


@fault(
    "the caller leaves, visibly",
    "80 times mid-stream, then stays",
    "upstream is closed each time; then a good response",
)
def test_abandoned_streams(relay_fixture: RelayFixture) -> None:
    for _ in range(80):
        relay_fixture.upstream.answer(*GOOD[:2], Stall())
        relay_fixture.serve(reader=ResetAfter(len(EVENTS[0])))
        assert relay_fixture.upstream.requests[-1].wait_over(60.0) == "peer left"
    relay_fixture.assert_serves()


@fault("the caller leaves, invisibly", "mid-stream", "the stream is carried to its end: Lambda tells nobody")
def test_a_stream_is_carried_to_its_end(relay_fixture: RelayFixture) -> None:
    relay_fixture.upstream.answer(*GOOD)
    assert relay_fixture.serve(reader=Discard()).over == "answered 202"
    relay_fixture.assert_serves()


@fault("a stream of 100 MB", "whole", "whole, below 120 MB resident")
def test_a_hundred_megabytes(relay_fixture: RelayFixture) -> None:
    def answer(request: object) -> Iterator[Step]:
        yield Send(head())
        yield from repeat(Send(chunk(b'data: {"x":"' + b"x" * 65_000 + b'"}\n\n') * 16), 100)
        yield from (Send(chunk(EVENTS[-1])), Send(LAST_CHUNK))

    relay_fixture.upstream.answer_with(answer)
    exchange = relay_fixture.invoke(deadline=120, reader=Discard())
    assert exchange.wait_over(120) == "answered 202"
    assert exchange.discarded > 100_000_000
    assert relay_fixture.relay.footprint().resident < 120 * MEGABYTE
    relay_fixture.assert_serves()


@fault("an event of 8 MB", "whole", "whole, below 120 MB resident")
def test_a_large_event(relay_fixture: RelayFixture) -> None:
    large = b'data: {"x":"' + b"x" * (8 * MEGABYTE) + b'"}\n\n'
    relay_fixture.upstream.answer(
        Send(head()), *(Send(chunk(each)) for each in (EVENTS[0], large, EVENTS[-1])), Send(LAST_CHUNK)
    )
    exchange = relay_fixture.serve()
    assert HEARTBEAT.sub(b"", exchange.body) == EVENTS[0] + large + EVENTS[-1]
    assert relay_fixture.relay.footprint().resident < 120 * MEGABYTE
    relay_fixture.assert_serves()


@fault("stdout is blocked", "for 300 requests", "served; lines that were dropped are counted")
def test_nobody_reads_the_log(new_relay: NewRelay) -> None:
    with new_relay(stdout=subprocess.PIPE) as relay_fixture:
        relay_fixture.upstream.answer(*chat_stream(canaries.COMPLETION))
        for _ in range(300):
            assert relay_fixture.serve().status == 200
        lines = relay_fixture.relay.read_stdout(lambda: _serve_once(relay_fixture))
        assert any(line.get("droppedLines", 0) > 50 for line in lines)
        assert not canaries.leaks(repr(lines).encode())


def _serve_once(relay_fixture: RelayFixture) -> None:
    relay_fixture.assert_serves()
    assert relay_fixture.api.wait_idle(60.0)  # a request is written down before the next one is asked for
