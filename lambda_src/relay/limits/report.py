"""What a caller and its group have used and what is left: headers of a response and `GET /v1/usage`. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from relay.accounts.account import Account
from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Unit, Window, Windows
from relay.frozen import EMPTY
from relay.models import Json, JsonObject
from relay.pricing.money import dollars

HEADER = "x-ratelimit-"

DOLLARS_LEFT = "x-relay-budget-remaining-usd"
"""What the least of all dollar limits leaves, the group's included. Not the observed ones, which refuse nothing."""

View: TypeAlias = "tuple[Account, Limits]"
"""One account that a request has to fit into, and the limits that hold there: a caller's, its group's."""


def used(kind: LimitKind, account: Account, now: int) -> int:
    """What counts against a limit of this kind now, in its unit (money in pico-USD)."""
    if kind.window is Window.NOW:
        return account.at_once(now)
    return account.count(Windows.at(now).counter(kind.window, kind.unit))


def headers(views: Sequence[View], now: int) -> dict[str, str]:
    """What is left: of requests and tokens under OpenAI's names, of money in US dollars. Nothing for what has no limit.

    Of several limits of a kind the one that leaves least is shown. OpenAI's own token limit is per minute, the caller's per
    day: `-reset-` tells them apart. Source: platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
    """
    left: dict[str, list[tuple[int, int]]] = {}
    for account, limits in views:
        figures = [(kind, limit) for kind, limit in limits.figures() if kind.window is not Window.NOW]
        names = Windows.at(now).counters([(kind.window, kind.unit) for kind, _ in figures])
        for (kind, limit), (name, _) in zip(figures, names, strict=True):
            left.setdefault(kind.name, []).append((max(0, limit - account.counters.get(name, 0)), limit))
    shown = {}
    for kind in [kind for kind in LIMIT_KINDS if kind.header and kind.name in left]:
        remaining, limit = min(left[kind.name])
        shown[f"{HEADER}limit-{kind.header}"] = str(limit)
        shown[f"{HEADER}remaining-{kind.header}"] = str(remaining)
        shown[f"{HEADER}reset-{kind.header}"] = _duration(math.ceil(_seconds_left(kind.window, now)))
    in_usd = [min(left[kind.name])[0] for kind in LIMIT_KINDS if kind.unit is Unit.USD and kind.name in left]
    return {**shown, DOLLARS_LEFT: dollars(min(in_usd))} if in_usd else shown


def figure_of(kind: LimitKind, limits: Limits, observed: Mapping[str, int]) -> tuple[int | None, bool]:
    """The figure of one kind, and whether it is only observed: what refuses comes first."""
    limit = limits.of(kind)
    return (observed[kind.name], True) if limit == kind.most and kind.name in observed else (limit, False)


def usage(account: Account, limits: Limits, now: int, observed: Mapping[str, int] = EMPTY) -> JsonObject:
    """What is booked today and this month, and what remains: for the caller itself. Amounts are strings in US dollars,
    because JSON's numbers do not hold them exactly. Open requests count with their upper bounds.

    Limits on money and tokens of a day or a month stand with its figures, all others under their own names.
    """
    windows = Windows.at(now)
    kinds = {(kind.window, kind.unit): kind for kind in LIMIT_KINDS}

    def left(window: Window, unit: Unit) -> JsonObject:
        kind = kinds.get((window, unit))
        figure, is_observed = figure_of(kind, limits, observed) if kind else (None, False)
        booked = used(kind, account, now) if kind else account.count(windows.counter(window, unit))
        return _left(unit, figure, booked, is_observed)

    shown: JsonObject = {
        window.value: {
            "utc": windows.counter(window, Unit.REQUESTS)[2:].partition(":")[0],
            "requests": account.count(windows.counter(window, Unit.REQUESTS)),
            "tokens": left(window, Unit.TOKENS),
            "usd": left(window, Unit.USD),
        }
        for window in (Window.DAY, Window.MONTH)
    }
    for kind in LIMIT_KINDS:
        if kind.unit is Unit.REQUESTS or kind.window is Window.MINUTE:
            shown[kind.name] = left(kind.window, kind.unit)
    return shown


def _left(unit: Unit, limit: int | None, used: int, is_observed: bool) -> JsonObject:
    def text(figure: int) -> Json:
        return dollars(figure) if unit is Unit.USD else figure

    return {
        "used": text(used),
        "limit": None if limit is None else text(limit),
        "remaining": None if limit is None else text(max(0, limit - used)),
        **({"observed": True} if is_observed else {}),
    }


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
