"""What is watched without refusing: which limits are warned of and when, and which observed ones are exceeded."""

from __future__ import annotations

from typing import Any

import pytest
from relay.accounts.account import Account, Reservation
from relay.accounts.limit_kinds import Limits
from relay.limits import watch
from relay.limits.watch import Part
from relay.policies.policy import Terms
from relay.pricing.money import PICO

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY, MONTH, MINUTE = "d:2026-11-23", "M:2026-11", f"m:{NOON // 60_000}"


def entry(usd: int, at: int = NOON) -> Reservation:
    return Reservation(id="open", at=at, lease=at + 60_000, usd=usd, tokens=0)


def part(account: Account, *, group: str = "", limits: dict[str, int] | None = None, **terms: Any) -> Part:
    figures = Limits().changed(**(limits or {}))
    return Part(account=account, limits=figures, terms=Terms(limits=figures, **terms), group=group)


def names(part: Part, at: int = NOON) -> list[tuple[str, str]]:
    return [(part.named(reached.kind), reached.window) for reached in watch.reached(part, at)]


@pytest.mark.parametrize(("used", "warned"), [(79, False), (80, True), (100, True), (101, True)])
def test_a_share_is_reached_exactly(used: int, warned: bool) -> None:
    account = Account(counters={f"{DAY}:usd": used * PICO})
    found = names(part(account, limits={"usd_per_day": 100 * PICO}, warn_at=8 * PICO // 10))
    assert found == ([("usd_per_day", DAY)] if warned else [])


def test_what_open_requests_hold_does_not_count() -> None:
    account = Account(counters={f"{DAY}:usd": 90, f"{MONTH}:usd": 90}, open={"open": entry(20)})
    given: dict[str, Any] = {"limits": {"usd_per_day": 100, "usd_per_month": 100}, "warn_at": 8 * PICO // 10}
    assert names(part(account, **given)) == []
    before = Account(counters={f"{DAY}:usd": 90, f"{MONTH}:usd": 90}, open={"open": entry(20, NOON - 86_400_000)})
    assert names(part(before, **given)) == [("usd_per_day", DAY)], "yesterday's request holds nothing of today"


def test_each_day_and_month_and_limit_is_warned_of_once_and_no_minute() -> None:
    counters = {f"{DAY}:usd": 10, f"{DAY}:tok": 10, f"{MONTH}:usd": 10, MINUTE: 10}
    limits = {"usd_per_day": 10, "usd_per_month": 10, "tokens_per_day": 10, "requests_per_minute": 10, "concurrent": 1}
    account = Account(counters=counters, warned={"usd_per_day": f"{DAY} id-1", "usd_per_month": "M:2026-10 id-1"})
    found = names(part(account, limits=limits, warn_at=PICO, group="atlas"))
    assert found == [("group.usd_per_month", MONTH), ("group.tokens_per_day", DAY)]


def test_nothing_is_warned_of_without_a_share() -> None:
    assert names(part(Account(counters={f"{DAY}:usd": 10}), limits={"usd_per_day": 1})) == []


def test_an_observed_limit_is_warned_of_too() -> None:
    account = Account(counters={f"{DAY}:usd": 10})
    assert names(part(account, observed={"usd_per_day": 10}, warn_at=PICO)) == [("usd_per_day", DAY)]


def test_observed_limits_that_are_exceeded_are_named_for_each_account() -> None:
    account = Account(counters={f"{DAY}:usd": 11, MINUTE: 2}, open={"open": entry(1)})
    own = part(account, observed={"usd_per_day": 10, "requests_per_minute": 2, "concurrent": 1})
    group = part(account, observed={"usd_per_day": 11, "requests_per_minute": 1}, group="atlas")
    assert watch.over_observed([own, group], NOON) == ["usd_per_day", "group.requests_per_minute"]
