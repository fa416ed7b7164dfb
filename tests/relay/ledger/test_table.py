"""Retry budgets: what is tried again, how often, and when it ends."""

from __future__ import annotations

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

    def call(self, operation: str, body: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        self.calls += 1
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
    budget = reading.retry_budget(1)
    assert reading.read({"pk": "x"}, budget) == {"pk": {"S": "x"}}
    assert (store.calls, budget.tried) == (3, 2)


@pytest.mark.parametrize("error", [StoreError("AccessDeniedException"), ConditionFailedError()])
def test_what_does_not_pass_is_raised_at_once(error: StoreError) -> None:
    store = Store(Time(), error)
    reading = table(store)
    with pytest.raises(type(error)):
        reading.read({"pk": "x"}, reading.retry_budget(1))
    assert store.calls == 1


def test_no_attempt_begins_when_time_is_up_and_the_last_may_end_later() -> None:
    time = Time()
    store = Store(time, *[StoreError("Unreachable")] * 99, seconds=0.4)
    reading = table(store)
    with pytest.raises(StoreError):
        reading.read({"pk": "x"}, reading.retry_budget(0.6))
    assert store.calls == 2
    assert time.now < 0.6 + 0.4


def test_pauses_grow_up_to_a_limit() -> None:
    time = Time()
    store = Store(time, *[StoreError("ThrottlingException")] * 99)
    reading = table(store)
    with pytest.raises(StoreError):
        reading.read({"pk": "x"}, reading.retry_budget(3))
    assert time.pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert max(time.pauses) == LONGEST_PAUSE


def test_patience_is_shared_by_all_calls_of_one_piece_of_work() -> None:
    time = Time()
    store = Store(time, seconds=0.5)
    reading = table(store)
    budget = reading.retry_budget(0.6)
    reading.read({"pk": "x"}, budget)
    reading.read({"pk": "x"}, budget)
    store.errors = [StoreError("Unreachable")]
    with pytest.raises(StoreError):
        reading.read({"pk": "x"}, budget)
