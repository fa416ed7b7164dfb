"""Why a request is not admitted, and what is left for the one that is. Pure.

Reads an account against limits; the store has judged already with the same figures, in the write's condition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.frozen import EMPTY, Frozen
from relay.ledger.account import Account, Reservation, Windows
from relay.limits.policy import PICO, Limits


class Refusal(Frozen):
    """What stood in the way. `retry_after` is in seconds; None: waiting does not help before a person does something,
    or before a day or a month is over. `reason` is from a fixed set and is what refusals are counted under."""

    reason: str
    text: str
    retry_after: int | None = None
    headers: Mapping[str, str] = EMPTY


class RefusedError(Exception):
    """A request is not admitted, and why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def judge(account: Account, limits: Limits, entry: Reservation, now: int) -> Refusal | None:
    """The first limit that `entry` does not keep, the most lasting first; None when there is room."""
    said = account.overrides
    if said.halted is not None or said.stopped is not None:
        return stopped(said.halted or said.stopped or "", everybody=said.halted is not None)
    if entry.id in account.done:
        return Refusal(reason="duplicate", text="A request with this id was answered already.")
    refusal = next(_over_budget(account, limits, entry, now), None) or _over_rate(account, limits, now)
    return refusal.changed(headers=headers(account, limits, now)) if refusal else None


def stopped(reason: str, *, everybody: bool) -> Refusal:
    """The operator's word."""
    who = "The relay" if everybody else "This caller"
    return Refusal(
        reason="halted" if everybody else "stopped", text=f"{who} was stopped by its operator. {reason}".strip()
    )


def _over_rate(account: Account, limits: Limits, now: int) -> Refusal | None:
    windows = Windows.at(now)
    if limits.requests_per_minute is not None and account.count(windows.minute) >= limits.requests_per_minute:
        wait = math.ceil(60 - now % 60_000 / 1000)
        text = f"Limit of {limits.requests_per_minute} requests per minute reached. Try again in {wait} s."
        return Refusal(reason="requests_per_minute", text=text, retry_after=wait)
    if len(account.open) - len(account.expired(now)) >= limits.concurrent:
        text = f"Limit of {limits.concurrent} requests at once reached. Try again when one has ended."
        return Refusal(reason="concurrent", text=text, retry_after=1)
    return None


def _over_budget(account: Account, limits: Limits, entry: Reservation, now: int) -> Iterator[Refusal]:
    windows = Windows.at(now)
    held_tokens, held_usd = account.held(now)
    rows = (
        ("usd_per_month", limits.usd_per_month, f"{windows.month}:usd", entry.usd, held_usd, usd),
        ("usd_per_day", limits.usd_per_day, f"{windows.day}:usd", entry.usd, held_usd, usd),
        ("tokens_per_day", limits.tokens_per_day, f"{windows.day}:tok", entry.tokens, held_tokens, tokens),
    )
    for reason, limit, counter, need, held, shown in rows:
        booked = account.count(counter)
        if limit is None or booked + need <= limit:
            continue
        kind = "month" if reason.endswith("month") else "day"
        left = shown(max(0, limit - booked))
        text = f"The limit of {shown(limit)} per {kind} leaves {left}; this request may take {shown(need)}."
        if booked - held + need <= limit:
            text += f" Open requests hold {shown(held)} and may give some of it back."
            yield Refusal(reason=reason, text=text, retry_after=5)
        else:
            text += (
                " A lower cap on its output would take less."
                if booked < limit
                else f" A new {kind} begins at 00:00 UTC."
            )
            yield Refusal(reason=reason, text=text)


def usd(amount: int) -> str:
    """ "0.0125 USD": six places, which is a hundredth of the cheapest request."""
    return f"{amount / PICO:.6f}".rstrip("0").rstrip(".") + " USD"


def tokens(amount: int) -> str:
    """ "1,250 tokens"."""
    return f"{amount:,} tokens"


def headers(account: Account, limits: Limits, now: int) -> dict[str, str]:
    """What is left of the caller's own limits, under OpenAI's names; nothing for what has no limit.

    OpenAI's own token limit is per minute, the caller's per day: `-reset-` tells them apart.
    Source: platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
    """
    if limits.requests_per_minute is None and limits.tokens_per_day is None:
        return {}
    windows, shown = Windows.at(now), {}
    rows = (
        ("requests", limits.requests_per_minute, account.count(windows.minute), 60 - now % 60_000 / 1000),
        ("tokens", limits.tokens_per_day, account.count(f"{windows.day}:tok"), until_tomorrow(now)),
    )
    for name, limit, booked, reset in rows:
        if limit is not None:
            shown[f"x-ratelimit-limit-{name}"] = str(limit)
            shown[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - booked))
            shown[f"x-ratelimit-reset-{name}"] = _duration(math.ceil(reset))
    return shown


def usage(account: Account, limits: Limits, now: int) -> dict[str, Any]:
    """What is booked today and this month, and what remains: for the caller itself. Amounts are strings in US dollars,
    because JSON's numbers do not hold them exactly. Open requests count with their upper bounds."""
    windows = Windows.at(now)
    periods = {
        "day": (windows.day, limits.usd_per_day, limits.tokens_per_day),
        "month": (windows.month, limits.usd_per_month, None),
    }
    return {
        **{name: _period(account, window, money, count) for name, (window, money, count) in periods.items()},
        "requests_per_minute": _left(limits.requests_per_minute, account.count(windows.minute)),
        "concurrent": _left(limits.concurrent, len(account.open) - len(account.expired(now))),
    }


def _period(account: Account, window: str, money: int | None, count: int | None) -> dict[str, Any]:
    booked = account.count(window, "usd")
    return {
        "utc": window[2:],
        "requests": account.count(window, "req"),
        "tokens": _left(count, account.count(window, "tok")),
        "usd": {
            "used": dollars(booked),
            "limit": None if money is None else dollars(money),
            "remaining": None if money is None else dollars(max(0, money - booked)),
        },
    }


def _left(limit: int | None, used: int) -> dict[str, int | None]:
    return {"used": used, "limit": limit, "remaining": None if limit is None else max(0, limit - used)}


def dollars(amount: int) -> str:
    """`amount` pico-USD in dollars, exactly: "0.0000125"."""
    whole, part = divmod(amount, PICO)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".")


def until_tomorrow(now: int) -> float:
    """Seconds to the end of the UTC day."""
    date = datetime.fromtimestamp(now / 1000, UTC)
    tomorrow = (date + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (tomorrow - date).total_seconds()


def _duration(seconds: int) -> str:
    """OpenAI's way of writing it: "59s", "6m0s", "23h0m12s"."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
