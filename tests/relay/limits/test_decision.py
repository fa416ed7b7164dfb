"""What the caller is told: the limit, what is left, and whether and when to come back."""

from __future__ import annotations

from typing import Any

import pytest
from relay.ledger.account import Account, Overrides, Reservation
from relay.limits import decision
from relay.limits.policy import PICO, Limits

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
MINUTE = f"m:{NOON // 60_000}"
DAY, MONTH = "d:2026-11-23", "M:2026-11"


def entry(**fields: Any) -> Reservation:
    return Reservation(**{"id": "new", "at": NOON, "lease": NOON + 60_000, "usd": PICO, "tokens": 100, **fields})


def judge(account: Account, now: int = NOON, **limits: Any) -> decision.Refusal | None:
    return decision.judge(account, Limits(**limits), entry(), now)


def test_room_is_no_refusal() -> None:
    assert judge(Account(), requests_per_minute=1, usd_per_day=PICO, usd_per_month=PICO, tokens_per_day=100) is None


def test_a_full_minute_says_when_the_next_begins() -> None:
    full = Account(counters={MINUTE: 5})
    refusal = judge(full, NOON + 12_500, requests_per_minute=5)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == ("requests_per_minute", 48)
    assert "5 requests per minute" in refusal.text
    assert refusal.headers["x-ratelimit-remaining-requests"] == "0"
    assert refusal.headers["x-ratelimit-reset-requests"] == "48s"


def test_a_spent_budget_does_not_ask_to_come_back() -> None:
    refusal = judge(Account(counters={f"{DAY}:usd": 9 * PICO}), usd_per_day=9 * PICO)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == ("usd_per_day", None)
    assert "9 USD per day leaves 0 USD" in refusal.text
    assert "00:00 UTC" in refusal.text


def test_a_request_too_dear_for_the_rest_says_so() -> None:
    refusal = judge(Account(counters={f"{MONTH}:usd": 9 * PICO}), usd_per_month=9 * PICO + PICO // 2)
    assert refusal is not None
    assert refusal.retry_after is None
    assert "leaves 0.5 USD; this request may take 1 USD. A lower cap" in refusal.text


def test_a_budget_that_open_requests_hold_asks_to_come_back() -> None:
    held = Account(counters={f"{DAY}:usd": 9 * PICO}, open={"a": entry(id="a", usd=5 * PICO)})
    refusal = judge(held, usd_per_day=9 * PICO)
    assert refusal is not None
    assert refusal.retry_after == 5
    assert "Open requests hold 5 USD" in refusal.text


def test_tokens_and_requests_at_once() -> None:
    refusal = judge(Account(counters={f"{DAY}:tok": 950}), tokens_per_day=1_000)
    assert refusal is not None
    assert refusal.reason == "tokens_per_day"
    assert "leaves 50 tokens; this request may take 100 tokens" in refusal.text
    refusal = judge(Account(open={"a": entry(id="a")}), concurrent=1)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == ("concurrent", 1)
    assert judge(Account(open={"a": entry(id="a", lease=NOON - 1)}), concurrent=1) is None, "its process is gone"


def test_the_most_lasting_limit_is_the_one_named() -> None:
    used = Account(counters={MINUTE: 1, f"{DAY}:usd": PICO, f"{MONTH}:usd": PICO})
    refusal = judge(used, requests_per_minute=1, usd_per_day=PICO, usd_per_month=PICO)
    assert refusal is not None
    assert refusal.reason == "usd_per_month"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Overrides(version=1, stopped="too dear"), "stopped"),
        (Overrides(version=1, halted="maintenance"), "halted"),
        (Overrides(version=1, stopped="", halted=""), "halted"),
    ],
)
def test_the_operators_word_comes_first(said: Overrides, reason: str) -> None:
    refusal = judge(Account(overrides=said), requests_per_minute=1)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == (reason, None)
    assert (said.halted or said.stopped or "") in refusal.text


def test_headers_name_only_what_has_a_limit() -> None:
    assert decision.headers(Account(), Limits(usd_per_day=5), NOON) == {}
    shown = decision.headers(
        Account(counters={MINUTE: 2, f"{DAY}:tok": 400}), Limits(requests_per_minute=5, tokens_per_day=1_000), NOON
    )
    assert shown == {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "600",
        "x-ratelimit-reset-tokens": "12h0m0s",
    }


def test_usage_is_exact_and_says_what_remains() -> None:
    used = Account(
        counters={MINUTE: 1, f"{DAY}:usd": 12_500_000, f"{DAY}:tok": 7, f"{DAY}:req": 2, f"{MONTH}:usd": 2 * PICO},
        open={"a": entry(id="a"), "dead": entry(id="dead", lease=0)},
    )
    usage = decision.usage(used, Limits(usd_per_day=PICO, requests_per_minute=3, concurrent=4), NOON)
    assert usage["day"] == {
        "utc": "2026-11-23",
        "requests": 2,
        "tokens": {"used": 7, "limit": None, "remaining": None},
        "usd": {"used": "0.0000125", "limit": "1", "remaining": "0.9999875"},
    }
    assert usage["month"]["usd"] == {"used": "2", "limit": None, "remaining": None}
    assert usage["requests_per_minute"] == {"used": 1, "limit": 3, "remaining": 2}
    assert usage["concurrent"] == {"used": 1, "limit": 4, "remaining": 3}
