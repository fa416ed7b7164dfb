"""How a door passes a response on: how long it waits, and how fast what is large goes."""

from __future__ import annotations

import asyncio

import pytest

from emulator.front.delivery import Pace
from emulator.front.rest_api import PACE
from emulator.runtime.invocation import Ending, InvocationResponse, Outcome


def test_the_api_waits_five_minutes_and_slows_down_after_ten_megabytes() -> None:
    assert (PACE.idle_seconds, PACE.full_speed_bytes, PACE.bytes_per_second) == (300, 10 * 2**20, 2 * 2**20)


def test_silence_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(Pace(idle_seconds=0.01).next(InvocationResponse()))


def test_what_has_come_is_passed_on() -> None:
    async def read() -> list[bytes]:
        answer = InvocationResponse()
        await answer.write(b"abc")
        answer.end(Outcome(ending=Ending.COMPLETE))
        pace = Pace(idle_seconds=5)
        return [await pace.next(answer), await pace.next(answer)]

    assert asyncio.run(read()) == [b"abc", b""]


@pytest.mark.parametrize(("sent", "size", "seconds"), [(100, 100, 0.0), (110, 100, 0.1), (300, 100, 1.0)])
def test_only_what_is_over_the_first_part_is_held_back(sent: int, size: int, seconds: float) -> None:
    async def spend() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await Pace(full_speed_bytes=100, bytes_per_second=100).held_back(sent, size)
        return loop.time() - begun

    spent = asyncio.run(spend())
    assert seconds <= spent + 0.005
    assert seconds > 0 or spent < 0.1
