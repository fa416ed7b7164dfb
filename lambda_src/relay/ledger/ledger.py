"""What callers have used and hold, kept in DynamoDB so that no process can lose it or count it twice.

A request is in one place at a time: in `open` of its caller's account (admitted, its upper bound booked), in `done`
(settled), and at last as a record of its own. This class is all that others use of the room, beside its nouns.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from relay.accounts.account import Account, Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits
from relay.aws.errors import StoreError as StoreError  # raised by every method here
from relay.errors import RelayError
from relay.ledger.caller_account import CallerAccount
from relay.ledger.group_account import GroupAccount
from relay.ledger.group_account import GroupTerms as GroupTerms  # what `reserve` takes
from relay.ledger.stored_account import Admitted as Admitted  # what `reserve` returns
from relay.ledger.stored_account import Judge, StoredAccount
from relay.ledger.table import ADMISSION_SECONDS as ADMISSION_SECONDS
from relay.ledger.table import RetryBudget, Table

REMEMBERED = 256
"""Callers and groups that a process remembers. Forgetting one costs a round trip; what is in doubt is never forgotten."""

T = TypeVar("T", bound=StoredAccount)

_COUNTING_SECONDS = 0.3
"""How long a caller who is refused waits for the refusal to be counted."""

_STOP_SECONDS = 0.5
"""How long a process that is to end tries to take back the reservation that it was waiting for."""


class Ledger:
    """The accounts in one table. One request at a time; `clock` gives epoch milliseconds.

    Every method takes `until`, when it has to be over on the clock of time.monotonic(), and raises StoreError when the
    store does not do its part by then.
    """

    def __init__(self, table: Table, *, clock: Callable[[], int], retention_days: int = 400) -> None:
        self._table = table
        self._clock = clock
        self._retention = retention_days * 86_400
        self._callers: dict[str, CallerAccount] = {}
        self._groups: dict[str, GroupAccount] = {}

    def reserve(
        self,
        caller: str, subject: str, entry: Reservation, limits: Limits, judge: Judge, until: float | None = None,
        *, group: GroupTerms | None = None,
    ) -> Admitted:  # fmt: skip
        """Books the upper bound of `entry`, first in its caller's account, then in its `group`'s, or in neither.

        Raises what `judge` and the group's raise, StoreError within 1.2 s, RelayError(SHUTDOWN).
        """
        account = self._of(caller)
        budget = self._table.admission_budget(until)
        try:
            admitted = account.reserve(subject, entry, limits, judge, budget)
            if group is None:
                return admitted
            return admitted.changed(group=self._reserve_in(group, caller, account, admitted, budget))
        except RelayError:
            # Nobody of this process will come back to what it leaves in doubt now.
            self._void_in_doubt(self._table.settling_budget(seconds=_STOP_SECONDS))
            raise

    def _reserve_in(
        self, group: GroupTerms, caller: str, account: CallerAccount, admitted: Admitted, budget: RetryBudget
    ) -> Admitted:
        """The same in the group's account, which all its members write: only what counts there, and whose it is."""
        entry = admitted.entry.changed(caller=caller, model="", endpoint="", group="", labels="", key_id="")
        reserved = None
        try:
            reserved = self._of_group(group.name).reserve(group.name, entry, group.limits, group.judge, budget)
            return reserved
        finally:
            if reserved is None:
                account.withdraw(admitted, budget)

    def settle(
        self, caller: str, admitted: Admitted, record: UsageRecord, until: float | None = None
    ) -> tuple[Account, Account | None]:
        """Books what the request came to and writes its record, within 3 s; its caller's account then, and its group's.

        What stays reserved after a StoreError is settled at its upper bound once its lease is over, in the group's account
        at what the caller's record says.
        """
        budget = self._table.settling_budget(until)
        account, shared = self._of(caller).settle(admitted, record, budget), None
        if admitted.group is not None:
            # Another process may have settled it at its bound: the group books what its caller is booked with.
            booked = account.done.get(record.id) or self._of(caller).booked(record, budget)
            shared = self._of_group(admitted.entry.group).settle(admitted.group, booked, budget)
        self._void_in_doubt(budget)
        return account, shared

    def warn(self, caller: str, group: str, limit: str, window: str, id: str, until: float | None = None) -> bool:
        """Whether request `id` is the one to warn of a limit in this window ("d:2026-11-23"), of its caller or, where that is
        not "", of `group`: exactly one is."""
        account = self._of_group(group) if group else self._of(caller)
        return account.warn(limit, window, id, self._table.settling_budget(until))

    def sweep(self, caller: str) -> Account:
        """Settles and writes down everything of `caller` that is over, whoever left it."""
        return self._of(caller).sweep(self._table.settling_budget())

    def sweep_group(self, name: str) -> Account:
        """Settles everything of a group that is over."""
        return self._of_group(name).sweep(self._table.settling_budget())

    def refused(self, caller: str, reason: str, model: str, until: float | None = None) -> None:
        """Counts a refusal by `reason`, from a fixed set, and `model`, from the operator's lists."""
        self._of(caller).refused(reason, model, self._table.admission_budget(until, _COUNTING_SECONDS))

    def account(self, caller: str, until: float | None = None) -> Account:
        """What is booked and held now; an empty account for a caller that was never here."""
        return self._of(caller).read(self._table.admission_budget(until))

    def group_account(self, name: str, until: float | None = None) -> Account:
        """The same of a group."""
        return self._of_group(name).read(self._table.admission_budget(until))

    def _void_in_doubt(self, budget: RetryBudget) -> None:
        for account in (*self._callers.values(), *self._groups.values()):
            if account.in_doubt:
                with suppress(StoreError):  # it stays in doubt, and the next request tries again
                    account.void_in_doubt(budget)

    def _of(self, caller: str) -> CallerAccount:
        account = self._callers.get(caller)
        if account is None:
            _forget_one(self._callers)
            account = CallerAccount(self._table, caller, clock=self._clock, retention=self._retention)
            self._callers[caller] = account
        return account

    def _of_group(self, name: str) -> GroupAccount:
        account = self._groups.get(name)
        if account is None:
            _forget_one(self._groups)
            account = self._groups[name] = GroupAccount(self._table, name, clock=self._clock)
        return account


def _forget_one(accounts: dict[str, T]) -> None:
    if len(accounts) >= REMEMBERED:
        settled = next((key for key, account in accounts.items() if not account.in_doubt), None)
        if settled is not None:
            del accounts[settled]
