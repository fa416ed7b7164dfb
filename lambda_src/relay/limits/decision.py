"""Why a request is not admitted, in words that help. Pure.

Reads an account against limits; the store has judged already with the same figures, in the write's condition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum

from relay.accounts.account import Account, Reservation
from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Unit, Window
from relay.errors import ErrorKind, RelayError
from relay.frozen import EMPTY, Frozen
from relay.limits import report
from relay.pricing.money import usd


class Reason(Enum):
    """Why a request is refused: the error that the caller gets, which also says whether a retry may help."""

    HALTED = ErrorKind.STOPPED
    STOPPED = ErrorKind.CALLER_STOPPED
    KEY = ErrorKind.KEY_REVOKED
    DUPLICATE = ErrorKind.DUPLICATE
    POLICY = ErrorKind.CALLER_REFUSED
    MODEL = ErrorKind.MODEL_NOT_ALLOWED
    UNBOUNDED = ErrorKind.COST_UNBOUNDED
    LIMIT_REACHED = ErrorKind.RATE_LIMITED  # of some kind; there will be room again soon
    LIMIT_SPENT = ErrorKind.BUDGET_EXHAUSTED  # of some kind; waiting does not help before its window is over


class Refusal(Frozen):
    """What stood in the way. `limit` is the kind of limit for the two reasons that have one, `of_group` whether the group's.

    `retry_after` is in seconds; None: waiting does not help before a person does something, or before a day or a month
    is over.
    """

    reason: Reason
    text: str
    limit: LimitKind | None = None
    of_group: bool = False
    retry_after: int | None = None
    headers: Mapping[str, str] = EMPTY

    @property
    def code(self) -> str:
        """What it is called: the limit's name ("usd_per_day", "group.usd_per_day") or the reason's ("stopped"). From a fixed
        set."""
        name = self.limit.name if self.limit else self.reason.name.lower()
        return f"group.{name}" if self.of_group else name

    def error(self) -> RelayError:
        """How the caller is told."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return RelayError(self.reason.value, self.text, param=self.code, headers={**self.headers, **headers})


class RefusedError(Exception):
    """A request is not admitted, and why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def judge(account: Account, limits: Limits, entry: Reservation, now: int, *, group: str = "") -> None:
    """Raises RefusedError for the first limit that `entry` does not keep, the most lasting first. `group` names the group
    whose account it is; "" for a caller's own."""
    refusal = refusal_of(account, limits, entry, now, who=f"The group {group!r}" if group else "This caller")
    if refusal and group:
        text = refusal.text if refusal.limit is None else f"Group {group!r}: {refusal.text}"
        refusal = refusal.changed(of_group=True, text=text)
    if refusal:
        raise RefusedError(refusal)


def refusal_of(
    account: Account, limits: Limits, entry: Reservation, now: int, *, who: str = "This caller"
) -> Refusal | None:
    """Why there is no room for `entry`; None when there is. `who` has been stopped, if anybody has."""
    overrides = account.overrides
    if overrides.halted is not None:
        return Refusal(reason=Reason.HALTED, text=_stopped("The relay", overrides.halted))
    if overrides.stopped is not None:
        return Refusal(reason=Reason.STOPPED, text=_stopped(who, overrides.stopped))
    if not overrides.lets_in(entry.key_id, now):
        return key_refusal()
    if entry.id in account.done:
        return Refusal(reason=Reason.DUPLICATE, text="A request with this id was answered already.")
    for kind in LIMIT_KINDS:
        if limits.of(kind) is not None and kind.unit in entry.unbounded:
            return unbounded(entry.unbounded[kind.unit])
        refusal = _over(kind, account, limits, entry, now)
        if refusal:
            return refusal.changed(limit=kind, headers=report.headers([(account, limits)], now))
    return None


def key_refusal() -> Refusal:
    """The refusal of a key that was valid when API Gateway last asked."""
    return Refusal(reason=Reason.KEY, text=ErrorKind.KEY_REVOKED.spec.text)


def unbounded(reason: str) -> Refusal:
    """The refusal of what nothing bounds, where a limit needs a bound."""
    text = f"A budget applies to this caller, and the cost of this request is not known: {reason}."
    return Refusal(reason=Reason.UNBOUNDED, text=text)


def _stopped(who: str, reason: str) -> str:
    return f"{who} was stopped by its operator. {reason}".strip()


def _over(kind: LimitKind, account: Account, limits: Limits, entry: Reservation, now: int) -> Refusal | None:
    """The refusal for one kind of limit, or None when `entry` keeps it. What costs nothing of a unit keeps it."""
    limit, need = limits.of(kind), entry.amount(kind.unit)
    if limit is None or not need:
        return None
    booked = report.used(kind, account, now)
    if booked + need <= limit:
        return None
    if kind.window is Window.NOW:
        text = f"Limit of {limit} requests at once reached. Try again when one has ended."
        return Refusal(reason=Reason.LIMIT_REACHED, text=text, retry_after=1)
    if kind.window is Window.MINUTE and need <= limit:
        wait = math.ceil(60 - now % 60_000 / 1000)
        text = f"Limit of {amount_text(kind.unit, limit)} per minute reached. Try again in {wait} s."
        return Refusal(reason=Reason.LIMIT_REACHED, text=text, retry_after=wait)
    held = 0 if kind.window is Window.MINUTE else account.held(kind.unit, now)  # a minute's counters give nothing back
    return _over_budget(kind, limit, need, booked, held)


def _over_budget(kind: LimitKind, limit: int, need: int, booked: int, held: int) -> Refusal:
    left, unit = max(0, limit - booked), kind.unit
    text = (
        f"{_ADJECTIVE[kind.window]} limit {amount_text(unit, limit)}: {amount_text(unit, left)} left, and this request "
        f"{_VERB[unit]} up to {amount_text(unit, need)}."
    )
    if booked - held + need <= limit:
        text += f" Open requests hold {amount_text(unit, held)} and may give some of it back."
        return Refusal(reason=Reason.LIMIT_REACHED, text=text, retry_after=5)
    if booked < limit:
        text += " A lower cap on its output would need less."
    elif kind.window is not Window.MINUTE:
        text += f" A new {kind.window.value} begins at 00:00 UTC."
    return Refusal(reason=Reason.LIMIT_SPENT, text=text)


_ADJECTIVE = {Window.MINUTE: "Per-minute", Window.DAY: "Daily", Window.MONTH: "Monthly"}
_VERB = {Unit.USD: "could cost", Unit.TOKENS: "could use", Unit.REQUESTS: "counts for"}


def amount_text(unit: Unit, amount: int) -> str:
    """ "0.0125 USD", "1,250 tokens", "60 requests"."""
    return usd(amount) if unit is Unit.USD else f"{amount:,} {'tokens' if unit is Unit.TOKENS else 'requests'}"
