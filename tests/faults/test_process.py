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
from tests.support.harness.relay_fixture import Rig, chat_request
from tests.support.harness.runtime_api import Discard, ResetAfter, Take

NewRig = Callable[..., AbstractContextManager[Rig]]
MEGABYTE = 1 << 20


@fault("a thousand invocations", "in a row, good and bad", "descriptors, threads and memory as before")
def test_a_thousand_invocations(new_rig: NewRig) -> None:
    with new_rig() as rig:
        _serve_mixed(rig, 100)  # what is made once is made now
        before = rig.relay.footprint()
        _serve_mixed(rig, 1000)
        after = rig.relay.footprint()
        rig.assert_serves()
    assert abs(after.descriptors - before.descriptors) <= 1
    assert after.threads == before.threads == 1
    assert after.resident - before.resident < 2 * MEGABYTE


def _serve_mixed(rig: Rig, count: int) -> None:
    for number in range(count):
        match number % 10:
            case 3:
                rig.upstream.answer(*GOOD[:2], Reset())
                assert rig.serve().trailer_type == "Function.UpstreamBroken"
            case 5:
                rig.upstream.answer(*json_answer(200, JSON_ANSWER))
                assert rig.serve(chat_request(stream=False)).body == JSON_ANSWER
            case 7:
                rig.upstream.answer(*GOOD)
                assert rig.serve(reader=Take(413)).over == "answered 413"
            case _:
                rig.upstream.answer(*GOOD)
                assert HEARTBEAT.sub(b"", rig.serve().body) == WHOLE


@fault(
    "the caller leaves, visibly", "80 times mid-stream, then stays", "upstream is closed each time; then a good answer"
)
def test_abandoned_streams(rig: Rig) -> None:
    for _ in range(80):
        rig.upstream.answer(*GOOD[:2], Stall())
        rig.serve(reader=ResetAfter(len(EVENTS[0])))
        assert rig.upstream.requests[-1].wait_over(60.0) == "peer left"
    rig.assert_serves()


@fault("the caller leaves, invisibly", "mid-stream", "the stream is carried to its end: Lambda tells nobody")
def test_a_stream_is_carried_to_its_end(rig: Rig) -> None:
    rig.upstream.answer(*GOOD)
    assert rig.serve(reader=Discard()).over == "answered 202"
    rig.assert_serves()


@fault("a stream of 100 MB", "whole", "whole, below 120 MB resident")
def test_a_hundred_megabytes(rig: Rig) -> None:
    def answer(request: object) -> Iterator[Step]:
        yield Send(head())
        yield from repeat(Send(chunk(b'data: {"x":"' + b"x" * 65_000 + b'"}\n\n') * 16), 100)
        yield from (Send(chunk(EVENTS[-1])), Send(LAST_CHUNK))

    rig.upstream.answer_with(answer)
    exchange = rig.invoke(deadline=120, reader=Discard())
    assert exchange.wait_over(120) == "answered 202"
    assert exchange.discarded > 100_000_000
    assert rig.relay.footprint().resident < 120 * MEGABYTE
    rig.assert_serves()


@fault("an event of 8 MB", "whole", "whole, below 120 MB resident")
def test_a_large_event(rig: Rig) -> None:
    large = b'data: {"x":"' + b"x" * (8 * MEGABYTE) + b'"}\n\n'
    rig.upstream.answer(Send(head()), *(Send(chunk(each)) for each in (EVENTS[0], large, EVENTS[-1])), Send(LAST_CHUNK))
    exchange = rig.serve()
    assert HEARTBEAT.sub(b"", exchange.body) == EVENTS[0] + large + EVENTS[-1]
    assert rig.relay.footprint().resident < 120 * MEGABYTE
    rig.assert_serves()


@fault("stdout is blocked", "for 300 requests", "served; lines that were dropped are counted")
def test_nobody_reads_the_log(new_rig: NewRig) -> None:
    with new_rig(stdout=subprocess.PIPE) as rig:
        rig.upstream.answer(*chat_stream(canaries.COMPLETION))
        for _ in range(300):
            assert rig.serve().status == 200
        lines = rig.relay.read_stdout(lambda: _serve_once(rig))
        assert any(line.get("droppedLines", 0) > 50 for line in lines)
        assert not canaries.leaks(repr(lines).encode())


def _serve_once(rig: Rig) -> None:
    rig.assert_serves()
    assert rig.api.wait_idle(60.0)  # a request is written down before the next one is asked for
