"""The one wait: upstream's bytes, beside the deadline, the silence, an early answer and the wish to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
from relay.errors import ErrorKind, RelayError
from relay.lambda_runtime.errors import ResponseRefusedError
from relay.net.wait import Wait


class Pipe:
    """Two descriptors: what is written to one becomes readable at the other."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()

    def fill(self) -> None:
        os.write(self.into, b"x")

    def empty(self) -> None:
        os.read(self.out, 1)

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


class Caller:
    """Where the answer goes: counts what it is given, refuses when its pipe is full."""

    def __init__(self, pipe: Pipe | None = None) -> None:
        self.body_size = 0
        self.flushed = 0
        self.pipe = pipe

    def flush(self) -> None:
        self.flushed += 1

    def check_refused(self) -> None:
        raise ResponseRefusedError(410)

    @property
    def fd(self) -> int:
        return self.pipe.out if self.pipe else -1


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    made = [Pipe(), Pipe(), Pipe()]
    yield made
    for pipe in made:
        pipe.close()


def for_ever(action: Callable[[], None]) -> NoReturn:
    while True:
        action()


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


def test_returns_when_there_is_something_to_read(pipes: list[Pipe]) -> None:
    upstream, *_ = pipes
    caller = Caller()
    upstream.fill()
    Wait(downstream=caller, deadline=soon(1)).readable(upstream.out)
    assert caller.flushed == 1, "what was written has to be on the wire before anybody waits"


def test_returns_when_more_can_be_written(pipes: list[Pipe]) -> None:
    Wait(downstream=Caller(), deadline=soon(1)).writable(pipes[0].into)


@pytest.mark.parametrize("seconds", [0.1, 0.0, -5.0])
def test_raises_at_the_deadline_what_is_overdue_then(pipes: list[Pipe], seconds: float) -> None:
    watch = Wait(deadline=soon(seconds), overdue=lambda: RelayError(ErrorKind.DEADLINE))
    started = time.monotonic()
    with pytest.raises(RelayError) as raised:
        watch.readable(pipes[0].out)
    assert raised.value.kind is ErrorKind.DEADLINE
    assert max(0.0, seconds) - 0.01 <= time.monotonic() - started <= max(0.0, seconds) + 0.3
    assert watch.seconds_left() == 0.0


def test_the_deadline_holds_although_there_is_always_something_to_read(pipes: list[Pipe]) -> None:
    pipes[0].fill()
    watch = Wait(deadline=soon(0.1))
    with pytest.raises(TimeoutError):
        for_ever(lambda: watch.readable(pipes[0].out))


def test_an_early_answer_ends_the_wait(pipes: list[Pipe]) -> None:
    upstream, service, _ = pipes
    watch = Wait(downstream=Caller(service), deadline=soon(1))
    service.fill()
    with pytest.raises(ResponseRefusedError):
        watch.readable(upstream.out)


def test_an_early_answer_and_a_stop_are_seen_before_more_to_read(pipes: list[Pipe]) -> None:
    upstream, service, stop = pipes
    upstream.fill()
    service.fill()
    with pytest.raises(ResponseRefusedError):
        Wait(downstream=Caller(service), deadline=soon(1)).readable(upstream.out)
    stop.fill()
    with pytest.raises(RelayError) as raised:
        Wait(downstream=Caller(), deadline=soon(1), stop_fd=stop.out).readable(upstream.out)
    assert raised.value.kind is ErrorKind.SHUTDOWN


def test_breaks_the_silence_again_and_again(pipes: list[Pipe]) -> None:
    caller = Caller()
    beats: list[float] = []
    watch = Wait(downstream=caller, deadline=soon(0.55), silence=0.1, on_silence=lambda: beats.append(time.monotonic()))
    with pytest.raises(TimeoutError):
        watch.readable(pipes[0].out)
    assert 3 <= len(beats) <= 5
    assert caller.flushed >= len(beats)


def test_silence_is_what_the_caller_hears_not_what_upstream_says(pipes: list[Pipe]) -> None:
    """Bytes that trickle in and are not passed on leave the caller in silence."""
    upstream = pipes[0]
    beats: list[float] = []
    watch = Wait(deadline=soon(2), silence=0.1, on_silence=lambda: beats.append(time.monotonic()))
    until = soon(0.35)
    while time.monotonic() < until:
        upstream.fill()
        watch.readable(upstream.out)
        upstream.empty()
    assert 2 <= len(beats) <= 3


def test_what_the_caller_hears_is_no_silence(pipes: list[Pipe]) -> None:
    upstream, caller = pipes[0], Caller()
    watch = Wait(
        downstream=caller, deadline=soon(2), silence=0.1, on_silence=lambda: pytest.fail("there was no silence")
    )
    upstream.fill()
    until = soon(0.3)
    while time.monotonic() < until:
        caller.body_size += 1
        watch.readable(upstream.out)


def test_the_descriptor_of_the_answer_may_come_later(pipes: list[Pipe]) -> None:
    """Before the answer has begun there is none; from then on it is watched."""
    upstream, service, _ = pipes
    caller = Caller()
    watch = Wait(downstream=caller, deadline=soon(1))
    upstream.fill()
    service.fill()
    watch.readable(upstream.out)
    caller.pipe = service
    with pytest.raises(ResponseRefusedError):
        watch.readable(upstream.out)


def test_a_heartbeat_that_begins_the_answer_makes_its_descriptor_count_at_once(pipes: list[Pipe]) -> None:
    """While upstream sends nothing more there is no other wait in which a refusal could be noticed."""
    upstream, service, _ = pipes
    caller = Caller()

    def begin() -> None:
        caller.pipe = service
        service.fill()

    watch = Wait(downstream=caller, deadline=soon(30), silence=0.05, on_silence=begin)
    started = time.monotonic()
    with pytest.raises(ResponseRefusedError):
        watch.readable(upstream.out)
    assert time.monotonic() - started < 5


def test_a_part_of_the_work_ends_by_itself_and_breaks_no_silence(pipes: list[Pipe]) -> None:
    upstream, _, stop = pipes
    work = Wait(
        deadline=soon(30), stop_fd=stop.out, silence=0.01, on_silence=lambda: pytest.fail("nobody is to be told")
    )
    with pytest.raises(TimeoutError):
        work.within(0.05).readable(upstream.out)
    assert work.within(60).deadline == work.deadline
    stop.fill()
    with pytest.raises(RelayError) as raised:
        work.within(60).readable(upstream.out)
    assert raised.value.kind is ErrorKind.SHUTDOWN


def test_what_is_drained_has_a_limit_and_no_heartbeats(pipes: list[Pipe]) -> None:
    watch = Wait(deadline=soon(30), silence=0.01, on_silence=lambda: pytest.fail("the response is complete"))
    watch.drain_within(0.1)
    with pytest.raises(TimeoutError):
        watch.readable(pipes[0].out)
    assert watch.seconds_left() == 0.0
