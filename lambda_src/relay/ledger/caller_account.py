"""A caller's account: it is written down before its first reservation, and each of its requests leaves one record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from relay.accounts.account import EXPIRED, VOIDED, Account, Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits, Windows
from relay.accounts.overrides import HALTED, Overrides
from relay.aws.errors import ConditionFailedError
from relay.aws.update_expression import Body, decode
from relay.ledger.items import SWITCH, account_key, record_in, record_key
from relay.ledger.owner_writes import CallerWrites
from relay.ledger.stored_account import Admitted, Judge, StoredAccount
from relay.ledger.table import RetryBudget, Table


class CallerAccount(StoredAccount):
    """One caller's account in one table. `retention` is in seconds."""

    def __init__(self, table: Table, caller: str, *, clock: Callable[[], int], retention: int) -> None:
        self._bodies = CallerWrites(table.name, caller)
        super().__init__(table, self._bodies, account_key(caller), clock)
        self._caller = caller
        self._retention = retention

    def refused(self, reason: str, model: str, budget: RetryBudget) -> None:
        """Counts a refusal. Raises StoreError; nothing depends on it."""
        now = self._clock()
        expires = now // 1000 + self._retention
        self._table.update(self._bodies.refusal(Windows.at(now), reason, model, expires), budget)

    def booked(self, record: UsageRecord, budget: RetryBudget) -> UsageRecord:
        """What the table says of a request that is neither open nor done any more; `record` where it says nothing."""
        item = self._table.read(record_key(self._caller, record.id, record.at), budget)
        return record_in(record.id, item) if item else record

    def _introduce(self, subject: str, entry: Reservation, limits: Limits, judge: Judge, budget: RetryBudget) -> None:
        """Writes down that the caller exists, and only then looks at the switch.

        The operator throws the switch first and then stops everybody who is written down. So whichever comes first,
        the switch is seen here or this caller is seen there; no new caller slips through between the two.
        """
        self._table.put(self._writes.listing(subject), budget)
        switch = self._table.read(SWITCH, budget)
        if switch and HALTED in switch:
            judge(Account(overrides=Overrides(halted=decode(switch[HALTED]))), limits, entry, entry.at)

    def _settlement(self, admitted: Admitted, record: UsageRecord, now: int) -> Body:
        return self._bodies.settle(admitted.entry, record, admitted.account, now)

    def _settled(self, account: Account, record: UsageRecord, budget: RetryBudget) -> None:
        """Writes its record: also where it is neither open nor done, because an earlier attempt was applied and another
        process has moved the record on."""
        if record.id not in account.done:
            account = account.changed(done={record.id: record, **account.done})
        self.recover(account, record.id, budget)

    def _unwrite(self, record: UsageRecord, budget: RetryBudget) -> None:
        """Replaces the record that an expired reservation may have by one that costs nothing. Before its booking is taken
        back: who is killed between the two leaves what the next one recognises as a late copy."""
        voided = record.changed(outcome=VOIDED, usd=0, tokens=0)
        with suppress(ConditionFailedError):  # it has none
            self._table.put(self._bodies.replace(voided, record.at // 1000 + self._retention), budget)

    def _write_down(self, record: UsageRecord, budget: RetryBudget) -> bool:
        """Gives `record` an item of its own. An expired one that has such an item already was a late copy: it is refunded."""
        if record.outcome == VOIDED:
            return True
        try:
            self._table.put(self._bodies.record(record, record.at // 1000 + self._retention), budget)
        except ConditionFailedError as failure:
            if record.outcome != EXPIRED:
                return True  # it is there: a response was lost, or another process was quicker
            item = failure.item or self._table.read(record_key(self._caller, record.id, record.at), budget)
            if item and record_in(record.id, item).outcome != EXPIRED:
                with suppress(ConditionFailedError):  # another process was quicker
                    self._table.update(self._writes.refund(record), budget)
        return True
