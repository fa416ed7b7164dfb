"""What is booked where: the counters of an account as conditions, as new bookings and as corrections. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from relay.accounts.account import OPEN, Reservation
from relay.accounts.limit_kinds import LASTING, PASSING, Limits, Unit, Window, Windows
from relay.aws.update_expression import Update


def fits(entry: Reservation, limits: Limits) -> bool:
    """Whether there is room for `entry` in an account that is empty."""
    amounts = entry.amounts()
    return all(kind.unit not in entry.unbounded and amounts[kind.unit] <= limit for kind, limit in limits.figures())


def require_room(update: Update, entry: Reservation, limits: Limits, windows: Windows, expired: int) -> None:
    """Adds the limits as conditions: a counter may be at most the limit less what is to be booked.

    What costs nothing needs no room. `expired` reservations leave `open` in the same write.
    """
    amounts, bounds = entry.amounts(), dict[str, int]()
    for kind, limit in limits.figures():
        need = amounts[kind.unit]
        if need and kind.window is Window.NOW:
            update.require_fewer(OPEN, limit + expired)
        elif need:
            bounds[windows.counter(kind.window, kind.unit)] = limit - need
    update.require_at_most(bounds)


def book(update: Update, entry: Reservation, windows: Windows) -> None:
    """Books a new reservation in every counter that it counts in."""
    amounts = entry.amounts()
    update.add({name: amounts[unit] for name, unit in windows.counters((*LASTING, *PASSING)) if amounts[unit]})


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
        self._change(entry, {unit: -amount for unit, amount in entry.amounts().items()})

    def apply(self, update: Update) -> None:
        """Adds the changes to `update`."""
        update.add({name: amount for name, amount in self._changes.items() if amount}, self._starts)

    def _change(self, entry: Reservation, amounts: Mapping[Unit, int]) -> None:
        booked = entry.amounts()
        for name, unit in Windows.at(entry.at).counters(LASTING):
            self.names.add(name)
            self._changes[name] += amounts[unit]
            self._starts[name] += booked[unit]
