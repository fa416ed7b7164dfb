"""What a caller has used and what is left: the x-ratelimit headers and `GET /v1/usage`. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from relay.accounts.account import Account
from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Unit, Window, Windows
from relay.models import JsonObject
from relay.pricing.money import dollars

HEADER = "x-ratelimit-"

_Figures: TypeAlias = "dict[tuple[Window, Unit], int | None]"


def used(kind: LimitKind, account: Account, now: int) -> int:
    """What counts against a limit of this kind now, in its unit (money in pico-USD)."""
    if kind.window is Window.NOW:
        return account.at_once(now)
    return account.count(Windows.at(now).counter(kind.window, kind.unit))


def headers(account: Account, limits: Limits, now: int) -> dict[str, str]:
    """What is left of the caller's own limits, under OpenAI's names; nothing for what has no limit.

    OpenAI's own token limit is per minute, the caller's per day: `-reset-` tells them apart.
    Source: platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
    """
    shown = {}
    for kind in LIMIT_KINDS:
        limit = limits.of(kind)
        if kind.header and limit is not None:
            shown[f"{HEADER}limit-{kind.header}"] = str(limit)
            shown[f"{HEADER}remaining-{kind.header}"] = str(max(0, limit - used(kind, account, now)))
            shown[f"{HEADER}reset-{kind.header}"] = _duration(math.ceil(_seconds_left(kind.window, now)))
    return shown


def usage(account: Account, limits: Limits, now: int) -> JsonObject:
    """What is booked today and this month, and what remains: for the caller itself. Amounts are strings in US dollars,
    because JSON's numbers do not hold them exactly. Open requests count with their upper bounds.

    Limits on money and tokens of a day or a month stand with its figures, all others under their own names.
    """
    figures: _Figures = {(kind.window, kind.unit): limits.of(kind) for kind in LIMIT_KINDS}
    windows = Windows.at(now)
    shown: JsonObject = {
        window.value: {
            "utc": windows.counter(window, Unit.REQUESTS)[2:].partition(":")[0],
            "requests": account.count(windows.counter(window, Unit.REQUESTS)),
            "tokens": _left(figures.get((window, Unit.TOKENS)), account.count(windows.counter(window, Unit.TOKENS))),
            "usd": _money_left(figures.get((window, Unit.USD)), account.count(windows.counter(window, Unit.USD))),
        }
        for window in (Window.DAY, Window.MONTH)
    }
    for kind in LIMIT_KINDS:
        if kind.unit is Unit.REQUESTS or kind.window is Window.MINUTE:
            left = _money_left if kind.unit is Unit.USD else _left
            shown[kind.name] = left(limits.of(kind), used(kind, account, now))
    return shown


def _money_left(limit: int | None, booked: int) -> JsonObject:
    return {
        "used": dollars(booked),
        "limit": None if limit is None else dollars(limit),
        "remaining": None if limit is None else dollars(max(0, limit - booked)),
    }


def _left(limit: int | None, used: int) -> JsonObject:
    return {"used": used, "limit": limit, "remaining": None if limit is None else max(0, limit - used)}


def _seconds_left(window: Window, now: int) -> float:
    """Seconds to the end of the minute, the UTC day or the calendar month."""
    if window is Window.MINUTE:
        return 60 - now % 60_000 / 1000
    date = datetime.fromtimestamp(now / 1000, UTC)
    midnight = date.replace(hour=0, minute=0, second=0, microsecond=0)
    if window is Window.DAY:
        return (midnight + timedelta(days=1) - date).total_seconds()
    following = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return (following - date).total_seconds()


def _duration(seconds: int) -> str:
    """OpenAI's way of writing it: "59s", "6m0s", "23h0m12s"."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
