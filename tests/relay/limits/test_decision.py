"""What the caller is told: the limit, what is left, and whether and when to come back."""

from __future__ import annotations

from typing import Any

import pytest
from relay.accounts.account import Account, Reservation
from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Unit
from relay.accounts.overrides import Overrides
from relay.errors import ErrorKind
from relay.limits import decision
from relay.pricing.money import PICO

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
MINUTE = f"m:{NOON // 60_000}"
DAY, MONTH = "d:2026-11-23", "M:2026-11"


def entry(**fields: Any) -> Reservation:
    return Reservation(**{"id": "new", "at": NOON, "lease": NOON + 60_000, "usd": PICO, "tokens": 100, **fields})


def judge(account: Account, now: int = NOON, **limits: Any) -> decision.Refusal | None:
    return decision.refusal_of(account, Limits(**limits), entry(), now)


def test_room_is_no_refusal() -> None:
    assert judge(Account(), requests_per_minute=1, usd_per_day=PICO, usd_per_month=PICO, tokens_per_day=100) is None


def test_a_full_minute_says_when_the_next_begins() -> None:
    full = Account(counters={MINUTE: 5})
    refusal = judge(full, NOON + 12_500, requests_per_minute=5)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after) == ("requests_per_minute", 48)
    assert "5 requests per minute" in refusal.text
    assert refusal.headers["x-ratelimit-remaining-requests"] == "0"
    assert refusal.headers["x-ratelimit-reset-requests"] == "48s"


def test_a_spent_budget_does_not_ask_to_come_back() -> None:
    refusal = judge(Account(counters={f"{DAY}:usd": 9 * PICO}), usd_per_day=9 * PICO)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after) == ("usd_per_day", None)
    assert refusal.text == (
        "Daily limit 9 USD: 0 USD left, and this request could cost up to 1 USD. A new day begins at 00:00 UTC."
    )
    assert refusal.reason is decision.Reason.LIMIT_SPENT


def test_a_request_too_dear_for_the_rest_says_so() -> None:
    refusal = judge(Account(counters={f"{MONTH}:usd": 9 * PICO}), usd_per_month=9 * PICO + PICO // 2)
    assert refusal is not None
    assert refusal.retry_after is None
    assert refusal.text == (
        "Monthly limit 9.5 USD: 0.5 USD left, and this request could cost up to 1 USD. "
        "A lower cap on its output would need less."
    )


def test_a_budget_that_open_requests_hold_asks_to_come_back() -> None:
    held = Account(counters={f"{DAY}:usd": 9 * PICO}, open={"a": entry(id="a", usd=5 * PICO)})
    refusal = judge(held, usd_per_day=9 * PICO)
    assert refusal is not None
    assert refusal.retry_after == 5
    assert "Open requests hold 5 USD" in refusal.text


def test_tokens_and_requests_at_once() -> None:
    refusal = judge(Account(counters={f"{DAY}:tok": 950}), tokens_per_day=1_000)
    assert refusal is not None
    assert refusal.code == "tokens_per_day"
    assert "Daily limit 1,000 tokens: 50 tokens left, and this request could use up to 100 tokens." in refusal.text
    refusal = judge(Account(open={"a": entry(id="a")}), concurrent=1)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after) == ("concurrent", 1)
    assert judge(Account(open={"a": entry(id="a", lease=NOON - 1)}), concurrent=1) is None, "its process is gone"


def test_the_most_lasting_limit_is_the_one_named() -> None:
    used = Account(counters={MINUTE: 1, f"{DAY}:usd": PICO, f"{MONTH}:usd": PICO})
    refusal = judge(used, requests_per_minute=1, usd_per_day=PICO, usd_per_month=PICO)
    assert refusal is not None
    assert refusal.code == "usd_per_month"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Overrides(version=1, stopped="too dear"), "stopped"),
        (Overrides(version=1, halted="maintenance"), "halted"),
        (Overrides(version=1, stopped="", halted=""), "halted"),
    ],
)
def test_an_operators_override_comes_first(said: Overrides, reason: str) -> None:
    refusal = judge(Account(overrides=said), requests_per_minute=1)
    assert refusal is not None
    assert (refusal.code, refusal.retry_after) == (reason, None)
    assert (said.halted or said.stopped or "") in refusal.text


def test_what_costs_nothing_passes_a_budget_that_is_overdrawn() -> None:
    overdrawn = Account(counters={f"{DAY}:usd": 2 * PICO, MINUTE: 1})
    free = entry(usd=0, tokens=0)
    assert decision.refusal_of(overdrawn, Limits(usd_per_day=PICO, requests_per_minute=2), free, NOON) is None
    refusal = decision.refusal_of(overdrawn, Limits(usd_per_day=PICO, requests_per_minute=1), free, NOON)
    assert refusal is not None
    assert refusal.code == "requests_per_minute"


@pytest.mark.parametrize("kind", LIMIT_KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_limit_is_refused_by_its_name_with_words_and_a_retry_rule(kind: LimitKind) -> None:
    counters = {f"{DAY}:tok": 1, f"{DAY}:usd": 1, f"{MONTH}:usd": 1, MINUTE: 1}
    full = Account(counters=counters, open={"a": entry(id="a", at=NOON - 40 * 86_400_000)})
    refusal = judge(full, **{kind.name: 1})
    assert refusal is not None
    error = refusal.error()
    assert (refusal.code, error.param) == (kind.name, kind.name)
    assert error.kind in (ErrorKind.RATE_LIMITED, ErrorKind.BUDGET_EXHAUSTED)
    assert (error.kind is ErrorKind.RATE_LIMITED) == ("retry-after" in error.headers)


def test_a_window_of_a_minute_that_can_never_hold_a_request_does_not_ask_to_come_back() -> None:
    refusal = judge(Account(), requests_per_minute=0)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == (decision.Reason.LIMIT_SPENT, None)


@pytest.mark.parametrize(
    ("limits", "refused"),
    [({"usd_per_day": PICO}, True), ({"usd_per_month": PICO}, True), ({"tokens_per_day": 9}, False), ({}, False)],
)
def test_what_nothing_bounds_has_no_place_under_a_limit_of_its_unit(limits: dict[str, int], refused: bool) -> None:
    unknown = entry(usd=0, tokens=0, unbounded={Unit.USD: "the model has no price"})
    refusal = decision.refusal_of(Account(), Limits(**limits), unknown, NOON)
    assert (refusal is not None) == refused
    if refusal:
        assert (refusal.error().kind, refusal.code) == (ErrorKind.COST_UNBOUNDED, "unbounded")
        assert "the model has no price" in refusal.text
