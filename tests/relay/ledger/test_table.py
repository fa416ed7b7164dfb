"""Retry budgets: what is tried again, how often, and when it ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from relay.aws.errors import ConditionFailedError, StoreError
from relay.ledger.table import FIRST_PAUSE, LONGEST_PAUSE, RETRYABLE, Table


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


class Store:
    """Fails as often as it is told, each time after `seconds`."""

    def __init__(self, time: Time, *errors: StoreError, seconds: float = 0.0) -> None:
        self.errors = list(errors)
        self.time = time
        self.seconds = seconds
        self.calls = 0
        self.until: list[float | None] = []
        self.stop_fds: list[int] = []
        self.bodies: list[Mapping[str, Any]] = []

    def call(
        self, operation: str, body: Mapping[str, Any], *, until: float | None = None, stop_fd: int = -1
    ) -> Mapping[str, Any]:
        self.calls += 1
        self.until.append(until)
        self.stop_fds.append(stop_fd)
        self.bodies.append(body)
        self.time.now += self.seconds
        if self.errors:
            raise self.errors.pop(0)
        return {"Item": {"pk": {"S": "x"}}}


def table(store: Store) -> Table:
    return Table(store, name="table", monotonic=lambda: store.time.now, sleep=store.time.sleep)


@pytest.mark.parametrize("code", sorted(RETRYABLE))
def test_what_passes_is_tried_again(code: str) -> None:
    store = Store(Time(), StoreError(code), StoreError(code))
    reading = table(store)
    budget = reading.admission_budget(seconds=1)
    assert reading.read({"pk": "x"}, budget) == {"pk": {"S": "x"}}
    assert (store.calls, budget.failures) == (3, 2)


@pytest.mark.parametrize("error", [StoreError("AccessDeniedException"), ConditionFailedError()])
def test_what_does_not_pass_is_raised_at_once(error: StoreError) -> None:
    store = Store(Time(), error)
    reading = table(store)
    with pytest.raises(type(error)):
        reading.read({"pk": "x"}, reading.admission_budget(seconds=1))
    assert store.calls == 1


def test_no_attempt_begins_when_time_is_up_and_the_last_may_end_later() -> None:
    time = Time()
    store = Store(time, *[StoreError("Unreachable")] * 99, seconds=0.4)
    reading = table(store)
    with pytest.raises(StoreError):
        reading.read({"pk": "x"}, reading.admission_budget(seconds=0.6))
    assert store.calls == 2
    assert time.now < 0.6 + 0.4
    assert store.until == [0.6, 0.6], "each attempt knows when all of them have to be over"


def test_pauses_grow_up_to_a_limit() -> None:
    time = Time()
    store = Store(time, *[StoreError("ThrottlingException")] * 99)
    reading = table(store)
    with pytest.raises(StoreError):
        reading.read({"pk": "x"}, reading.settling_budget())
    assert time.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(time.pauses) == LONGEST_PAUSE


def test_patience_is_shared_by_all_calls_of_one_piece_of_work() -> None:
    time = Time()
    store = Store(time, seconds=0.5)
    reading = table(store)
    budget = reading.admission_budget(seconds=0.6)
    reading.read({"pk": "x"}, budget)
    reading.read({"pk": "x"}, budget)
    store.errors = [StoreError("Unreachable")]
    with pytest.raises(StoreError):
        reading.read({"pk": "x"}, budget)


def test_items_are_read_as_they_are_now_and_not_as_they_were() -> None:
    """Local stores are always consistent; what is asked for has to say it."""
    store = Store(Time())
    reading = table(store)
    reading.read({"pk": "x"}, reading.admission_budget())
    assert store.bodies == [{"TableName": "table", "Key": {"pk": {"S": "x"}}, "ConsistentRead": True}]


@pytest.mark.parametrize(("until", "expected"), [(None, 101.2), (100.5, 100.5), (200.0, 101.2)])
def test_an_admission_is_over_when_its_callers_say_and_never_later_than_its_own_time(
    until: float | None, expected: float
) -> None:
    time = Time()
    time.now = 100.0
    assert table(Store(time)).admission_budget(until).until == pytest.approx(expected)


def test_an_admission_hears_the_wish_to_stop_and_a_settlement_only_stops_repeating() -> None:
    reading, writing = os.pipe()
    time = Time()
    store = Store(time, *[StoreError("Unreachable")] * 99)
    watched = Table(store, name="table", monotonic=lambda: time.now, sleep=time.sleep, stop_fd=reading)
    store.errors.clear()
    watched.read({"pk": "x"}, watched.admission_budget())
    watched.read({"pk": "x"}, watched.settling_budget())
    assert store.stop_fds == [reading, -1]
    store.errors = [StoreError("Unreachable")] * 99
    os.write(writing, b"x")
    with pytest.raises(StoreError):
        watched.read({"pk": "x"}, watched.settling_budget())
    assert store.calls == 3, "the attempt under way was the last"
    for fd in (reading, writing):
        os.close(fd)
