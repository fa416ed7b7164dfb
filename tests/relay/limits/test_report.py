"""What is left of a caller's limits, in headers and in `GET /v1/usage`."""

from __future__ import annotations

from typing import Any

from relay.accounts.account import Account, Reservation
from relay.accounts.limit_kinds import Limits
from relay.limits import report
from relay.pricing.money import PICO

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
MINUTE = f"m:{NOON // 60_000}"
DAY, MONTH = "d:2026-11-23", "M:2026-11"


def entry(**fields: Any) -> Reservation:
    return Reservation(**{"id": "new", "at": NOON, "lease": NOON + 60_000, "usd": PICO, "tokens": 100, **fields})


def test_headers_name_only_what_has_a_limit() -> None:
    assert report.headers([(Account(), Limits(concurrent=5))], NOON) == {}
    used = Account(counters={MINUTE: 2, f"{DAY}:tok": 400})
    shown = report.headers([(used, Limits(requests_per_minute=5, tokens_per_day=1_000))], NOON)
    assert shown == {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "600",
        "x-ratelimit-reset-tokens": "12h0m0s",
    }


def test_of_several_limits_the_one_that_leaves_least_is_shown() -> None:
    own = (Account(counters={MINUTE: 2, f"{DAY}:usd": PICO // 2}), Limits(requests_per_minute=5, usd_per_day=PICO))
    group = (
        Account(counters={MINUTE: 9, f"{DAY}:usd": PICO, f"{MONTH}:usd": 2 * PICO}),
        Limits(requests_per_minute=10, usd_per_day=9 * PICO, usd_per_month=2 * PICO + 300_000),
    )
    shown = report.headers([own, group], NOON)
    assert (shown["x-ratelimit-limit-requests"], shown["x-ratelimit-remaining-requests"]) == ("10", "1")
    assert shown["x-relay-budget-remaining-usd"] == "0.0000003"
    assert report.headers([own], NOON)["x-relay-budget-remaining-usd"] == "0.5"
    spent = (Account(counters={f"{DAY}:usd": 3 * PICO}), Limits(usd_per_day=PICO))
    assert report.headers([own, spent], NOON)["x-relay-budget-remaining-usd"] == "0"


def test_an_observed_limit_is_shown_as_such_unless_an_operator_has_set_one_that_refuses() -> None:
    used = Account(counters={f"{DAY}:usd": 2 * PICO}, open={"a": entry(id="a")})
    observed = {"usd_per_day": PICO, "concurrent": 1}
    shown: dict[str, Any] = report.usage(used, Limits(), NOON, observed)
    assert shown["day"]["usd"] == {"used": "2", "limit": "1", "remaining": "0", "observed": True}
    assert shown["concurrent"] == {"used": 1, "limit": 1, "remaining": 0, "observed": True}
    refusing: dict[str, Any] = report.usage(used, Limits(usd_per_day=5 * PICO), NOON, observed)
    assert refusing["day"]["usd"] == {"used": "2", "limit": "5", "remaining": "3"}


def test_usage_is_exact_and_says_what_remains() -> None:
    used = Account(
        counters={MINUTE: 1, f"{DAY}:usd": 12_500_000, f"{DAY}:tok": 7, f"{DAY}:req": 2, f"{MONTH}:usd": 2 * PICO},
        open={"a": entry(id="a"), "dead": entry(id="dead", lease=0)},
    )
    usage: dict[str, Any] = report.usage(used, Limits(usd_per_day=PICO, requests_per_minute=3, concurrent=4), NOON)
    assert usage["day"] == {
        "utc": "2026-11-23",
        "requests": 2,
        "tokens": {"used": 7, "limit": None, "remaining": None},
        "usd": {"used": "0.0000125", "limit": "1", "remaining": "0.9999875"},
    }
    assert usage["month"]["usd"] == {"used": "2", "limit": None, "remaining": None}
    assert usage["requests_per_minute"] == {"used": 1, "limit": 3, "remaining": 2}
    assert usage["concurrent"] == {"used": 1, "limit": 4, "remaining": 3}
