"""One caller's account in the table: each step that its requests go through, and what others left undone.

Every step is one conditional write that can be repeated when its response was lost. What remains to be done once a
request is over (records, expired reservations, writes whose fate is unknown) can be done by any process, any number of
times, and none of it is on a caller's time. Knows the order of the steps; the writes themselves are in `writes`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from relay.accounts.account import EXPIRED, HALTED, VOIDED, Account, Overrides, Reservation, UsageRecord, account_of
from relay.accounts.limit_kinds import Limits, Windows
from relay.aws.errors import ConditionFailedError, StoreError
from relay.aws.update_expression import Body, decode
from relay.frozen import Frozen
from relay.ledger.counters import fits
from relay.ledger.items import SWITCH, account_key, record_in, record_key
from relay.ledger.table import RetryBudget, Table
from relay.ledger.writes import AT_ONCE, Writes

ABANDONED = 5_000
"""Milliseconds after which a record that is only in `done` was left there by a process that is gone: the process that
settles writes the record within some 10. To be wrong costs a write, because the record is the same."""

KEPT = 60_000
"""Milliseconds that a voided reservation, and one whose write was in doubt, stay in `done` to keep a late copy of that
write out. A copy that comes even later is found out by its record."""

Judge = Callable[[Account, Limits, Reservation, int], None]
"""Raises when a reservation has no place in an account, under these limits, at this time (epoch milliseconds)."""


class Admitted(Frozen):
    """A reservation that holds. `limits` are those it was judged by; `in_doubt`: a copy of its write may still come."""

    entry: Reservation
    account: Account
    limits: Limits
    in_doubt: bool


class CallerAccount:
    """One caller's account in one table. `clock` gives epoch milliseconds, `retention` is in seconds.

    What it remembers saves round trips. Losing it loses no booking: what is in doubt is then settled at its bound.
    """

    def __init__(self, table: Table, caller: str, *, clock: Callable[[], int], retention: int) -> None:
        self.in_doubt: dict[str, Reservation] = {}
        self._table = table
        self._caller = caller
        self._clock = clock
        self._retention = retention
        self._writes = Writes(table.name, caller)
        self._overrides = Overrides()
        self._written: set[str] = set()

    def read(self, budget: RetryBudget) -> Account:
        """The account as it is now. Raises StoreError."""
        return account_of(self._table.read(account_key(self._caller), budget))

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

    def settle(self, admitted: Admitted, record: UsageRecord, budget: RetryBudget) -> None:
        """Books what the request came to, writes its record, recovers what others left. Raises StoreError."""
        now = self._clock()
        record = record.changed(settled=now, keep=now + KEPT if admitted.in_doubt else 0)
        try:
            account = self._table.update(self._writes.settle(admitted.entry, record, admitted.account, now), budget)
        except ConditionFailedError as failure:
            account = self._judged(failure, budget)
            # Neither open nor done: an earlier attempt was applied and another process has moved the record on.
            account = account.changed(done={record.id: record, **account.done})
        self.recover(account, record.id, budget)

    def sweep(self, budget: RetryBudget) -> Account:
        """Settles and writes down everything that is over, whoever left it. Raises StoreError."""
        self.recover(self.read(budget), "", budget)
        ids = sorted(self._written)
        for start in range(0, len(ids), AT_ONCE):
            self._table.update(self._writes.forget(ids[start : start + AT_ONCE]), budget)
        self._written.clear()
        return self.read(budget)

    def refused(self, reason: str, model: str, budget: RetryBudget) -> None:
        """Counts a refusal. Raises StoreError; nothing depends on it."""
        now = self._clock()
        expires = now // 1000 + self._retention
        self._table.update(self._writes.refusal(Windows.at(now), reason, model, expires), budget)

    def recover(self, account: Account, own: str, budget: RetryBudget) -> None:
        """Voids what is in doubt, expires what nobody settled, and writes down what is settled."""
        # First what this process knows better: it was never sent, so it must not be settled at its bound.
        self.void_in_doubt(budget)
        account = self._expire(account, budget)
        now = self._clock()
        for record in _due(account, own, now):
            self._write_down(record, budget)
            if record.keep < now:
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
            body = self._void(batch, account)
            try:
                if body:
                    self._table.update(body, budget)
            except ConditionFailedError:
                if budget.is_over():
                    raise StoreError("Contended", "other writes came first each time") from None
                continue  # one of them arrived, or was moved, since it was looked for
            for entry in batch:
                del self.in_doubt[entry.id]

    def _void(self, batch: list[Reservation], account: Account) -> Body | None:
        now = self._clock()
        voided = {record.id for record in account.done.values() if record.outcome == VOIDED}
        # A write that is older than KEPT does not arrive any more.
        tombstones = [
            UsageRecord(id=entry.id, at=entry.at, outcome=VOIDED, usd=0, tokens=0, settled=now, keep=now + KEPT)
            for entry in batch
            if entry.at + KEPT >= now and entry.id not in voided
        ]
        booked = [entry for entry in batch if entry.id in account.open]
        done = [account.done[entry.id] for entry in batch if entry.id in account.done]
        expired = [record for record in done if record.outcome == EXPIRED]
        past = [record.id for record in account.done.values() if record.outcome == VOIDED and record.keep < now]
        needed = booked or expired or tombstones
        return self._writes.void(booked, expired, tombstones, past[:AT_ONCE]) if needed else None

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
            judge(account, self._overrides.over(limits, windows), entry, self._clock())
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
        if not fits(entry, limits):
            return self.read(budget)
        if known is not None and not known.exists:
            self._introduce(subject, entry, limits, judge, budget)
            return self._table.update(self._writes.create(entry), budget)
        expired = _expiries(known, self._clock()) if known else []
        written = sorted(self._written)[:AT_ONCE]
        body = self._writes.reserve(entry, limits, self._overrides.version, expired, written)
        return self._table.update(body, budget)

    def _introduce(self, subject: str, entry: Reservation, limits: Limits, judge: Judge, budget: RetryBudget) -> None:
        """Writes down that the caller exists, and only then looks at the switch.

        The operator throws the switch first and then stops everybody who is written down. So whichever comes first,
        the switch is seen here or this caller is seen there; no new caller slips through between the two.
        """
        self._table.put(self._writes.listing(subject), budget)
        switch = self._table.read(SWITCH, budget)
        if switch and HALTED in switch:
            judge(Account(overrides=Overrides(halted=decode(switch[HALTED]))), limits, entry, self._clock())

    def _judged(self, failure: ConditionFailedError, budget: RetryBudget) -> Account:
        """The account as the store judged it, or, where the store did not say, as it is now."""
        return account_of(failure.item) if failure.item else self.read(budget)

    def _expire(self, account: Account, budget: RetryBudget) -> Account:
        """Settles what nobody settled, at its upper bound."""
        expired = _expiries(account, self._clock())
        if not expired:
            return account
        try:
            return self._table.update(self._writes.expire(expired), budget)
        except ConditionFailedError as failure:
            return self._judged(failure, budget)

    def _write_down(self, record: UsageRecord, budget: RetryBudget) -> None:
        """Gives `record` an item of its own. An expired one that has such an item already was a late copy: it is refunded."""
        if record.outcome == VOIDED:
            return
        try:
            self._table.put(self._writes.record(record, record.at // 1000 + self._retention), budget)
        except ConditionFailedError as failure:
            if record.outcome != EXPIRED:
                return  # it is there: a response was lost, or another process was quicker
            item = failure.item or self._table.read(record_key(self._caller, record.id, record.at), budget)
            if item and record_in(record.id, item).outcome != EXPIRED:
                with suppress(ConditionFailedError):  # another process was quicker
                    self._table.update(self._writes.refund(record), budget)


def _due(account: Account, own: str, now: int) -> list[UsageRecord]:
    """Records in `done` that are to be written down now: one's own first, expired ones, what others left behind."""
    records = [
        record
        for record in account.done.values()
        if record.id == own or record.outcome == EXPIRED or record.settled + ABANDONED < now
    ]
    return sorted(records, key=lambda record: record.id != own)[:AT_ONCE]


def _expiries(account: Account, now: int) -> list[UsageRecord]:
    """Records of what nobody settled: the upper bound, because it may have cost that much."""
    return [
        UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=EXPIRED, usd=entry.usd,
            tokens=entry.tokens, bound_usd=entry.usd, bound_tokens=entry.tokens, settled=now,
        )
        for entry in account.expired(now)[:AT_ONCE]
    ]  # fmt: skip
