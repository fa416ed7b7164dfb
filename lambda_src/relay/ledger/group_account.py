"""A group's account: what all its members hold and have used together, beside what each has in an account of its own.

It keeps no records: each request has one, its caller's. What becomes of a reservation that nobody settled here is read
there, because the caller's account is always settled first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from relay.accounts.account import EXPIRED, VOIDED, Account, Reservation, UsageRecord, account_of
from relay.accounts.limit_kinds import Limits
from relay.aws.errors import ConditionFailedError
from relay.aws.update_expression import Body
from relay.frozen import Frozen
from relay.ledger.items import account_key, group_account_key, record_in, record_key
from relay.ledger.owner_writes import GroupWrites
from relay.ledger.recovery import KEPT
from relay.ledger.stored_account import Admitted, Judge, StoredAccount
from relay.ledger.table import RetryBudget, Table


class GroupTerms(Frozen):
    """The group whose limits a request has to keep beside its caller's, and who judges it there."""

    name: str
    limits: Limits
    judge: Judge


class GroupAccount(StoredAccount):
    """The account of the group `name` in one table."""

    def __init__(self, table: Table, name: str, *, clock: Callable[[], int]) -> None:
        self._bodies = GroupWrites(table.name, name)
        super().__init__(table, self._bodies, group_account_key(name), clock)

    def _introduce(self, subject: str, entry: Reservation, limits: Limits, judge: Judge, budget: RetryBudget) -> None:
        self._table.put(self._writes.listing(subject), budget)

    def _settlement(self, admitted: Admitted, record: UsageRecord, now: int) -> Body:
        return self._bodies.release(admitted.entry, record, admitted.account, now)

    def _settled(self, account: Account, record: UsageRecord, budget: RetryBudget) -> None:
        self.recover(account, "", budget)

    def _unwrite(self, record: UsageRecord, budget: RetryBudget) -> None:
        """Does nothing: a group keeps no records."""

    def _write_down(self, record: UsageRecord, budget: RetryBudget) -> bool:
        """Of a reservation that nobody settled here: books what its caller's record says in place of the bound.

        Its caller may not have come back yet, and so have no record of it. After a while its account tells: what is open
        there stays booked at the bound, which is what its record will say; what left no trace was taken back.
        """
        if record.outcome != EXPIRED:
            return True
        right = self._callers(record, budget)
        if right is None:
            if record.settled + KEPT >= self._clock():
                return False
            account = account_of(self._table.read(account_key(record.caller), budget))
            if record.id in account.open:
                return True
            # It may have been moved on since it was looked for.
            right = account.done.get(record.id) or self._callers(record, budget)
        if right is None or right.outcome != EXPIRED:
            booked = None if right is None or right.outcome == VOIDED else right
            with suppress(ConditionFailedError):  # another process was quicker
                self._table.update(self._writes.refund(record, booked), budget)
        return True

    def _callers(self, record: UsageRecord, budget: RetryBudget) -> UsageRecord | None:
        item = self._table.read(record_key(record.caller, record.id, record.at), budget)
        return record_in(record.id, item) if item else None
