"""What is booked where: the counters of an account as conditions, as new bookings and as corrections. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from relay.accounts.account import OPEN, Reservation
from relay.accounts.limit_kinds import LASTING, LIMIT_KINDS, PASSING, Limits, Unit, Window, Windows
from relay.aws.update_expression import Update


def fits(entry: Reservation, limits: Limits) -> bool:
    """Whether there is room for `entry` in an account that is empty."""
    figures = [(limits.of(kind), kind.unit) for kind in LIMIT_KINDS]
    return all(
        limit is None or (unit not in entry.unbounded and entry.amount(unit) <= limit) for limit, unit in figures
    )


def require_room(update: Update, entry: Reservation, limits: Limits, windows: Windows, expired: int) -> None:
    """Adds the limits as conditions: a counter may be at most the limit less what is to be booked.

    What costs nothing needs no room. `expired` reservations leave `open` in the same write.
    """
    for kind in LIMIT_KINDS:
        limit, need = limits.of(kind), entry.amount(kind.unit)
        if limit is None or not need:
            continue
        if kind.window is Window.NOW:
            update.require(f"size({update.path(OPEN)}) < {update.value(limit + expired)}")
        else:
            update.require_at_most(update.path(windows.counter(kind.window, kind.unit)), limit - need)


def book(update: Update, entry: Reservation, windows: Windows) -> None:
    """Books a new reservation in every counter that it counts in."""
    for window, unit in (*LASTING, *PASSING):
        amount = entry.amount(unit)
        if amount:
            update.add(update.path(windows.counter(window, unit)), amount)


class Corrections:
    """Changes to what was booked, summed by counter: an expression may set each path once.

    A counter that was cleared since starts at what it would hold of these reservations alone.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._changes: Counter[str] = Counter()
        self._starts: Counter[str] = Counter()

    def replace(self, entry: Reservation, *, usd: int, tokens: int) -> None:
        """Books these figures in place of the entry's."""
        self._change(entry, {Unit.REQUESTS: 0, Unit.TOKENS: tokens - entry.tokens, Unit.USD: usd - entry.usd})

    def take_back(self, entry: Reservation) -> None:
        """Books as if the entry had never been."""
        self._change(entry, {unit: -entry.amount(unit) for unit in Unit})

    def apply(self, update: Update) -> None:
        """Adds the changes to `update`."""
        for name, amount in self._changes.items():
            if amount:
                update.add(update.path(name), amount, start=self._starts[name])

    def _change(self, entry: Reservation, amounts: Mapping[Unit, int]) -> None:
        windows = Windows.at(entry.at)
        for window, unit in LASTING:
            name = windows.counter(window, unit)
            self.names.add(name)
            self._changes[name] += amounts[unit]
            self._starts[name] += entry.amount(unit)
