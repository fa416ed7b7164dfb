"""Upstream's streamed answer breaks off: every way, at every place. Through the real relay process.

The places are those of reliability's list: before the first byte, mid-event, between events, after the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from emulator.fakes.raw_upstream import LAST_CHUNK, Close, Reset, Send, Stall, Step, chunk, head
from tests.support.harness import canaries
from tests.support.harness.fault_cases import EVENTS, WHOLE, Case, Delivered, Point, play, point
from tests.support.harness.outcomes import Cut, Outcome, Refused, Whole
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import HEARTBEAT_SECONDS, RelayFixture

FIRST, SECOND, THIRD = EVENTS[:3]
CHARACTER = THIRD.index("\u6f22".encode()) + 1

BEFORE = (
    Point(name="before the head"),
    Point(name="inside the head", steps=[Send(head()[:30])]),
    point("after the head"),
    point("inside the first event", more=chunk(FIRST[:40]), more_sent=FIRST[:40]),
)
MIDDLE = (
    point("between events", FIRST, SECOND),
    point("inside an event", FIRST, SECOND[:50]),
    point("inside a character", FIRST, SECOND, THIRD[:CHARACTER]),
    point("inside an HTTP chunk", FIRST, more=b"%x\r\n" % len(SECOND) + SECOND[:70], more_sent=SECOND[:70]),
    point("between the two line ends of an event", FIRST, SECOND[:-1]),
    point("inside [DONE]", *EVENTS[:-1], b"data: [DON"),
)
AFTER = (
    point("after [DONE], before the last chunk", *EVENTS),
    point("between the two line ends of [DONE]", *EVENTS[:-1], b"data: [DONE]\n"),
    point("after [DONE], before its line ends", *EVENTS[:-1], b"data: [DONE]"),
)

# A deadline in 1 s leaves 0.2 s of reserve (a fifth), so what stalls is over after 0.8 s.
STALL_DEADLINE, STALL_OVER = 1.0, 0.8

SILENCE = "silence until the deadline"
ENDINGS: dict[str, tuple[Step, ...]] = {
    "connection closed": (Close(),),
    "connection reset": (Reset(),),
    SILENCE: (Stall(),),
    "bytes that are no chunk": (Send(f"{canaries.COMPLETION}: no size\r\n\r\n".encode()), Stall()),
    "clean end": (Send(LAST_CHUNK),),
}


def cases() -> Iterator[Case]:
    for place in (*BEFORE, *MIDDLE, *AFTER):
        for fault, ending in ENDINGS.items():
            if not place.between_chunks and fault in ("clean end", "bytes that are no chunk"):
                continue  # would be data
            case = Case(
                fault=fault,
                when=place.name,
                steps=[*place.steps, *ending],
                outcome=_outcome(place, fault),
                sent=WHOLE if place in AFTER else place.sent,
            )
            yield _stalling(case, place) if fault == SILENCE else case


def _outcome(place: Point, fault: str) -> Outcome:
    if place in AFTER:
        # The line ends that dispatch [DONE] are all that is missing, and the relay adds them.
        return Whole()
    if fault == SILENCE:
        return Cut("deadline_exceeded")
    return Refused(502, "upstream_broken") if place in BEFORE else Cut("upstream_broken")


def _stalling(case: Case, place: Point) -> Case:
    # Before the first event the answer begins with the first heartbeat; after the terminal event upstream has 1 s left.
    begins = HEARTBEAT_SECONDS if place in BEFORE else 0.0
    return replace(case, deadline=STALL_DEADLINE, begins_within=begins, over_within=STALL_OVER)


CASES = (
    *cases(),
    Case(
        fault="close-delimited response cut",
        when="inside an event",
        steps=[
            Send(head(headers=[("content-type", "text/event-stream"), ("connection", "close")])),
            Send(FIRST + SECOND[:50]),
            Delivered(len(FIRST) + 50),
            Close(),
        ],
        outcome=Cut("upstream_broken"),
        sent=FIRST + SECOND[:50],
    ),
    Case(
        fault="close-delimited response",
        when="after [DONE]",
        steps=[
            Send(head(headers=[("content-type", "text/event-stream"), ("connection", "close")])),
            Send(b"".join(EVENTS)),
            Close(),
        ],
        outcome=Whole(),
        sent=b"".join(EVENTS),
    ),
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_fault(relay_fixture: RelayFixture, node: EventSourceParser, case: Case) -> None:
    play(relay_fixture, case, node)
    relay_fixture.assert_serves()
