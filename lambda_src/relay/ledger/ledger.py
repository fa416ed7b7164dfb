"""What callers have used and hold, kept in DynamoDB so that no process can lose it or count it twice.

A request is in one place at a time: in `open` of its caller's account (admitted, its upper bound booked), in `done`
(settled), and at last as a record of its own. Each step is one conditional write that can be repeated when its answer
was lost. Knows the order of the steps and how long to try; the writes themselves are in `bookings`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from relay.aws.errors import ConditionFailedError
from relay.aws.errors import StoreError as StoreError  # part of what Ledger promises
from relay.aws.update_expression import decode
from relay.frozen import Frozen
from relay.ledger import recovery, writes
from relay.ledger.account import HALTED, Account, Overrides, Reservation, UsageRecord, Windows
from relay.ledger.table import RetryBudget, Table
from relay.limits import decision
from relay.limits.policy import Limits

ADMISSION_SECONDS = 0.6
"""After this long no further attempt begins; with 0.8 s for the last one, and 0.1 s to spare, a 503 takes 1.5 s."""

SETTLE_SECONDS = 3.0
"""How long settling tries: the caller has its answer, but the function is still being paid for."""

REMEMBERED = 256
"""Callers whose overrides a process remembers. Forgetting one costs a round trip."""


class Admitted(Frozen):
    """A reservation that holds. `limits` are those it was judged by; `doubt`: its write was tried more than once."""

    entry: Reservation
    account: Account
    limits: Limits
    doubt: bool


class Ledger:
    """The accounts in one table. One request at a time; `clock` gives epoch milliseconds."""

    def __init__(self, table: Table, *, clock: Callable[[], int], retention_days: int = 400) -> None:
        self._table = table
        self._clock = clock
        self._retention = retention_days * 86_400
        # What this process has seen and left to do. Losing it costs a round trip, never a booking.
        self._said: dict[str, Overrides] = {}
        self._written: dict[str, set[str]] = {}
        self._doubts: deque[tuple[str, Reservation]] = deque(maxlen=64)

    def reserve(self, caller: str, subject: str, entry: Reservation, limits: Limits) -> Admitted:
        """Book the upper bound of `entry`. Raises RefusedError or, within 1.5 s, StoreError. One round trip as a rule."""
        budget = self._table.retry_budget(ADMISSION_SECONDS)
        try:
            return self._reserve(caller, subject, entry, limits, budget)
        except (decision.RefusedError, StoreError):
            if budget.tried:
                self._doubts.append((caller, entry))
            raise

    def settle(self, caller: str, admitted: Admitted, record: UsageRecord) -> None:
        """Book what the request came to, write its record, tidy up. Raises StoreError when the store cannot be
        reached in time; what stays reserved is then settled at its upper bound once its lease is over."""
        now, budget = self._clock(), self._table.retry_budget(SETTLE_SECONDS)
        record = record.changed(settled=now, keep=now + recovery.KEPT if admitted.doubt else 0)
        body = writes.settle(self._table.name, caller, admitted.entry, record, admitted.account, now)
        try:
            account = self._table.update(body, budget)
        except ConditionFailedError as failure:
            account = self._current(caller, failure, budget)
            # Neither open nor done: an earlier attempt was applied and another process has moved the record on.
            account = account.changed(done={record.id: record, **account.done})
        self._tidy(caller, account, record.id, budget)

    def sweep(self, caller: str) -> Account:
        """Settle and write down everything of `caller` that is over, whoever left it."""
        budget = self._table.retry_budget(SETTLE_SECONDS)
        self._tidy(caller, self.account(caller), "", budget)
        ids = sorted(self._written.pop(caller, ()))
        for start in range(0, len(ids), writes.AT_ONCE):
            part = ids[start : start + writes.AT_ONCE]
            self._table.update(writes.forget(self._table.name, caller, part), budget)
        return self.account(caller)

    def refused(self, caller: str, reason: str) -> None:
        """Count a refusal. Raises StoreError; nothing depends on it."""
        now = self._clock()
        body = writes.refused(self._table.name, caller, Windows.at(now), reason, now // 1000 + self._retention)
        self._table.update(body, self._table.retry_budget(0))

    def account(self, caller: str) -> Account:
        """What is booked and held now; an empty account for a caller that was never here. Raises StoreError."""
        return recovery.current(self._table, caller, None, self._table.retry_budget(ADMISSION_SECONDS))

    def _reserve(self, caller: str, subject: str, entry: Reservation, limits: Limits, budget: RetryBudget) -> Admitted:
        said, state = self._said.get(caller, Overrides()), None
        while True:
            holding = said.over(limits, Windows.at(entry.at))
            try:
                body = self._booking(caller, subject, entry, holding, said, state, budget)
                state = self._table.update(body, budget) if body else self._current(caller, None, budget)
            except ConditionFailedError as failure:
                state = self._current(caller, failure, budget)
            if entry.id in state.open:
                return self._admitted(caller, entry, state, holding, budget)
            said = self._remember(caller, state.overrides)
            refusal = decision.judge(state, said.over(limits, Windows.at(entry.at)), entry, self._clock())
            if refusal:
                raise decision.RefusedError(refusal)
            if budget.over():
                raise StoreError("Contended", "other requests of the same caller came first each time")

    def _booking(
        self,
        caller: str,
        subject: str,
        entry: Reservation,
        limits: Limits,
        said: Overrides,
        state: Account | None,
        budget: RetryBudget,
    ) -> dict[str, Any] | None:
        """The write to try, given what is known of the account: nothing yet, that there is none, or all of it."""
        if state is not None and not state.exists:
            self._introduce(caller, subject, budget)
            return writes.create(self._table.name, caller, entry, limits)
        doubtful = {doubt.id for _, doubt in self._doubts}
        gone = [late for late in writes.expiries(state, self._clock()) if late.id not in doubtful] if state else []
        written = sorted(self._written.get(caller, ()))[: writes.AT_ONCE]
        return writes.reserve(self._table.name, caller, entry, limits, said.version, gone, written)

    def _introduce(self, caller: str, subject: str, budget: RetryBudget) -> None:
        """Write down that `caller` exists, and only then look at the switch.

        The operator throws the switch first and then stops everybody who is written down. So whichever comes first,
        the switch is seen here or this caller is seen there; no new caller slips through between the two.
        """
        self._table.put(writes.listed(self._table.name, caller, subject), budget)
        switch = self._table.read(writes.SWITCH, budget)
        if switch and HALTED in switch:
            raise decision.RefusedError(decision.stopped(decode(switch[HALTED]), everybody=True))

    def _admitted(
        self, caller: str, entry: Reservation, account: Account, limits: Limits, budget: RetryBudget
    ) -> Admitted:
        # What was known to be written down has left `done` with this write.
        self._written.get(caller, set()).intersection_update(account.done)
        self._remember(caller, account.overrides)
        return Admitted(entry=entry, account=account, limits=limits, doubt=budget.tried > 0)

    def _remember(self, caller: str, said: Overrides) -> Overrides:
        if len(self._said) >= REMEMBERED and caller not in self._said:
            self._said.pop(next(iter(self._said)))
        self._said[caller] = said
        return said

    def _current(self, caller: str, failure: ConditionFailedError | None, budget: RetryBudget) -> Account:
        return recovery.current(self._table, caller, failure, budget)

    def _tidy(self, caller: str, account: Account, own: str, budget: RetryBudget) -> None:
        now = self._clock()
        # First what this process knows better: it was never sent, so it must not be settled at its bound.
        while self._doubts:
            recovery.withdraw(self._table, *self._doubts[0], now, budget)
            self._doubts.popleft()
        account = recovery.expire(self._table, caller, account, now, budget)
        for record in recovery.due(account, own, now):
            recovery.write_down(self._table, caller, record, self._retention, budget)
            if record.keep < now:
                self._written.setdefault(caller, set()).add(record.id)
