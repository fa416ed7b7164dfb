"""One account in the table, a caller's or a group's: each step that requests go through, and what others left undone.

Every step is one conditional write that can be repeated when its response was lost. What remains to be done once a
request is over (records, expired reservations, writes whose fate is unknown) can be done by any process, any number of
times, and none of it is on a caller's time. Knows the order of the steps; the writes themselves are in `writes`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from relay.accounts.account import EXPIRED, Account, Reservation, UsageRecord, account_of
from relay.accounts.limit_kinds import Limits, Windows
from relay.accounts.overrides import Overrides
from relay.aws.errors import ConditionFailedError, StoreError
from relay.aws.update_expression import Body
from relay.frozen import Frozen
from relay.ledger.counters import fits
from relay.ledger.items import Key
from relay.ledger.recovery import KEPT, due, expiries, voiding
from relay.ledger.table import RetryBudget, Table
from relay.ledger.writes import AT_ONCE, Writes

Judge = Callable[[Account, Limits, Reservation, int], None]
"""Raises when a reservation has no place in an account, under these limits, at this time (epoch milliseconds): its own."""


class Admitted(Frozen):
    """A reservation that holds. `limits` are those it was judged by; `in_doubt`: a copy of its write may still come. `group`
    is its part in the account of its caller's group."""

    entry: Reservation
    account: Account
    limits: Limits
    in_doubt: bool
    group: Admitted | None = None


class StoredAccount(ABC):
    """One account in one table. `writes` makes its request bodies, `clock` gives epoch milliseconds.

    What it remembers saves round trips. Losing it loses no booking: what is in doubt is then settled at its bound.
    """

    def __init__(self, table: Table, writes: Writes, key: Key, clock: Callable[[], int]) -> None:
        self.in_doubt: dict[str, Reservation] = {}
        self._table = table
        self._writes = writes
        self._key = key
        self._clock = clock
        self._overrides = Overrides()
        self._written: set[str] = set()

    def read(self, budget: RetryBudget) -> Account:
        """The account as it is now. Raises StoreError."""
        return account_of(self._table.read(self._key, budget))

    def reserve(self, subject: str, entry: Reservation, limits: Limits, judge: Judge, budget: RetryBudget) -> Admitted:
        """Books the upper bound of `entry`. Raises what `judge` raises, or StoreError. One round trip as a rule."""
        self.void_in_doubt(budget)  # never sent, they hold slots and money that this caller may need now
        failed_before, admitted = budget.failures, None
        try:
            admitted = self._reserve(subject, entry, limits, judge, budget)
            return admitted
        finally:
            if admitted is None and budget.failures > failed_before:
                self.in_doubt[entry.id] = entry

    def withdraw(self, admitted: Admitted, budget: RetryBudget) -> None:
        """Takes back a reservation that is not to be sent after all; what cannot be done now stays in doubt."""
        self.in_doubt[admitted.entry.id] = admitted.entry
        if admitted.in_doubt:
            return  # a copy of its write may still come, which only a tombstone keeps out: see void_in_doubt
        with suppress(StoreError):
            try:
                self._table.update(self._writes.withdraw(admitted.entry), budget)
            except ConditionFailedError:
                return  # an earlier attempt was applied, or another process has expired it: void_in_doubt looks
            del self.in_doubt[admitted.entry.id]

    def settle(self, admitted: Admitted, record: UsageRecord, budget: RetryBudget) -> Account:
        """Books what the request came to, recovers what others left; the account as it was then. Raises StoreError."""
        now = self._clock()
        record = record.changed(settled=now, keep=now + KEPT if admitted.in_doubt else 0)
        try:
            account = self._table.update(self._settlement(admitted, record, now), budget)
        except ConditionFailedError as failure:
            account = self._judged(failure, budget)
        self._settled(account, record, budget)
        return account

    def warn(self, limit: str, window: str, id: str, budget: RetryBudget) -> bool:
        """Whether request `id` is the one to warn of a limit in this window ("d:2026-11-23"): one is. Raises StoreError."""
        token = f"{window} {id}"
        try:
            account = self._table.update(self._writes.warn(limit, window, token), budget)
        except ConditionFailedError as failure:
            account = self._judged(failure, budget)
        return account.warned.get(limit) == token

    def sweep(self, budget: RetryBudget) -> Account:
        """Settles and writes down everything that is over, whoever left it. Raises StoreError."""
        self.recover(self.read(budget), "", budget)
        ids = sorted(self._written)
        for start in range(0, len(ids), AT_ONCE):
            self._table.update(self._writes.forget(ids[start : start + AT_ONCE]), budget)
        self._written.clear()
        return self.read(budget)

    def recover(self, account: Account, own: str, budget: RetryBudget) -> None:
        """Voids what is in doubt, expires what nobody settled, and writes down what is settled."""
        # First what this process knows better: it was never sent, so it must not be settled at its bound.
        self.void_in_doubt(budget)
        account = self._expire(account, budget)
        now = self._clock()
        for record in due(account, own, now):
            if self._write_down(record, budget) and record.keep < now:
                self._written.add(record.id)

    def void_in_doubt(self, budget: RetryBudget) -> None:
        """Takes back reservations that may or may not have been made, or may still be made by a write on its way.

        Raises StoreError when there is no time left; what is not done by then stays in doubt.
        """
        while self.in_doubt:
            batch = list(self.in_doubt.values())[:AT_ONCE]
            account = self.read(budget)
            if not account.exists:
                # Nothing to void, and no place for a tombstone: what may still arrive is looked for again.
                oldest = self._clock() - KEPT
                self.in_doubt = {id: entry for id, entry in self.in_doubt.items() if entry.at >= oldest}
                return
            for record in [account.done[entry.id] for entry in batch if entry.id in account.done]:
                if record.outcome == EXPIRED:
                    self._unwrite(record, budget)
            body = voiding(self._writes, batch, account, self._clock())
            try:
                if body:
                    self._table.update(body, budget)
            except ConditionFailedError:
                if budget.is_over():
                    raise StoreError("Contended", "other writes came first each time") from None
                continue  # one of them arrived, or was moved, since it was looked for
            for entry in batch:
                del self.in_doubt[entry.id]

    def _reserve(self, subject: str, entry: Reservation, limits: Limits, judge: Judge, budget: RetryBudget) -> Admitted:
        account: Account | None = None
        windows = Windows.at(entry.at)
        while True:
            holding = self._overrides.over(limits, windows)
            try:
                account = self._attempt(subject, entry, holding, account, judge, budget)
            except ConditionFailedError as failure:
                account = self._judged(failure, budget)
            self._overrides = account.overrides
            if entry.id in account.open:
                # What was known to be written down has left `done` with this write.
                self._written.intersection_update(account.done)
                return Admitted(entry=entry, account=account, limits=holding, in_doubt=budget.failures > 0)
            # At the moment for which it is booked: a window that has begun since would have room, and the write would not.
            judge(account, self._overrides.over(limits, windows), entry, entry.at)
            if budget.is_over():
                raise StoreError("Contended", "other requests of the same caller came first each time")

    def _attempt(
        self,
        subject: str,
        entry: Reservation,
        limits: Limits,
        known: Account | None,
        judge: Judge,
        budget: RetryBudget,
    ) -> Account:
        """Makes the write that fits what is `known` of the account: nothing yet (None), or all of it."""
        # The write holds only under the overrides that are known here, the caller's keys among them.
        if not fits(entry, limits) or not self._overrides.lets_in(entry.key_id, entry.at):
            return self.read(budget)
        if known is not None and not known.exists:
            self._introduce(subject, entry, limits, judge, budget)
            return self._table.update(self._writes.create(entry), budget)
        expired = expiries(known, self._clock()) if known else []
        written = sorted(self._written)[:AT_ONCE]
        body = self._writes.reserve(entry, limits, self._overrides.version, expired, written)
        return self._table.update(body, budget)

    def _judged(self, failure: ConditionFailedError, budget: RetryBudget) -> Account:
        """The account as the store judged it, or, where the store did not say, as it is now."""
        return account_of(failure.item) if failure.item else self.read(budget)

    def _expire(self, account: Account, budget: RetryBudget) -> Account:
        """Settles what nobody settled, at its upper bound."""
        expired = expiries(account, self._clock())
        if not expired:
            return account
        try:
            return self._table.update(self._writes.expire(expired), budget)
        except ConditionFailedError as failure:
            return self._judged(failure, budget)

    @abstractmethod
    def _introduce(self, subject: str, entry: Reservation, limits: Limits, judge: Judge, budget: RetryBudget) -> None:
        """Writes down that the account exists, before its first reservation."""

    @abstractmethod
    def _settlement(self, admitted: Admitted, record: UsageRecord, now: int) -> Body:
        """The write that settles; it fails its condition when it is done already."""

    @abstractmethod
    def _settled(self, account: Account, record: UsageRecord, budget: RetryBudget) -> None:
        """Does what is left to do once `record` is settled in `account`."""

    @abstractmethod
    def _unwrite(self, record: UsageRecord, budget: RetryBudget) -> None:
        """Takes back what `_write_down` made of an expired reservation that was never sent."""

    @abstractmethod
    def _write_down(self, record: UsageRecord, budget: RetryBudget) -> bool:
        """Puts `record` where it is to stay; whether it may leave `done`."""
