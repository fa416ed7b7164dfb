"""What is watched without refusing: limits that are only observed, and those of which much is used up. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from relay.accounts.account import Account
from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Window, Windows
from relay.frozen import Frozen
from relay.limits import report
from relay.policies.policy import Terms
from relay.pricing.money import PICO


class Part(Frozen):
    """One of the accounts that a request is booked in, the limits that hold there, and the terms that they come from.

    `group` is the group's name, "" for the caller's own account.
    """

    account: Account
    limits: Limits
    terms: Terms
    group: str = ""

    def named(self, kind: LimitKind) -> str:
        """What a limit is called here: "usd_per_day", "group.usd_per_day"."""
        return f"group.{kind.name}" if self.group else kind.name


class Reached(Frozen):
    """A limit of which the share that is to be warned of is used, in a window ("d:2026-11-23") of an account."""

    kind: LimitKind
    window: str
    used: int
    limit: int


def over_observed(parts: list[Part], now: int) -> list[str]:
    """Names of the observed limits that are exceeded: but for being observed they would have refused the request."""
    return [
        part.named(kind)
        for part in parts
        if part.terms.observed
        for kind in LIMIT_KINDS
        for figure, is_observed in [report.figure_of(kind, part.limits, part.terms.observed)]
        if is_observed and figure is not None and report.used(kind, part.account, now) > figure
    ]


def reached(part: Part, at: int) -> Iterator[Reached]:
    """The limits of a day or a month to be warned of, in the windows of `at` (epoch milliseconds), and not warned of yet.

    What open requests hold does not count: they may give it back.
    """
    if not part.terms.warn_at:
        return
    windows = Windows.at(at)
    for kind in LIMIT_KINDS:
        limit, _ = report.figure_of(kind, part.limits, part.terms.observed)
        if limit is None or kind.window not in (Window.DAY, Window.MONTH):
            continue
        counter = windows.counter(kind.window, kind.unit)
        window, used = counter.rpartition(":")[0], part.account.settled(counter, kind.unit)
        if used * PICO >= limit * part.terms.warn_at and part.account.warned.get(kind.name, "") < window:
            yield Reached(kind=kind, window=window, used=used, limit=limit)
