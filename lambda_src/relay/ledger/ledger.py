"""What callers have used and hold, kept in DynamoDB so that no process can lose it or count it twice.

A request is in one place at a time: in `open` of its caller's account (admitted, its upper bound booked), in `done`
(settled), and at last as a record of its own. This class is all that others use of the room, beside its nouns.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from relay.accounts.account import Account, Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits
from relay.aws.errors import StoreError as StoreError  # raised by every method here
from relay.errors import RelayError
from relay.ledger.caller_account import Admitted as Admitted  # what `reserve` returns
from relay.ledger.caller_account import CallerAccount, Judge
from relay.ledger.table import ADMISSION_SECONDS as ADMISSION_SECONDS
from relay.ledger.table import Table

REMEMBERED = 256
"""Callers that a process remembers. Forgetting one costs a round trip; what is in doubt is never forgotten."""

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
        self._accounts: dict[str, CallerAccount] = {}

    def reserve(
        self,
        caller: str, subject: str, entry: Reservation, limits: Limits, judge: Judge, until: float | None = None,
    ) -> Admitted:  # fmt: skip
        """Books the upper bound of `entry`. Raises what `judge` raises, StoreError within 1.2 s, RelayError(SHUTDOWN)."""
        account = self._of(caller)
        try:
            return account.reserve(subject, entry, limits, judge, self._table.admission_budget(until))
        except RelayError:
            # Nobody of this process will come back to what it leaves in doubt now.
            with suppress(StoreError):
                account.void_in_doubt(self._table.settling_budget(seconds=_STOP_SECONDS))
            raise

    def settle(self, caller: str, admitted: Admitted, record: UsageRecord, until: float | None = None) -> None:
        """Books what the request came to and writes its record, within 3 s.

        What stays reserved after a StoreError is settled at its upper bound once its lease is over.
        """
        budget = self._table.settling_budget(until)
        self._of(caller).settle(admitted, record, budget)
        for account in self._accounts.values():
            if account.in_doubt:
                with suppress(StoreError):  # it stays in doubt, and the next request tries again
                    account.void_in_doubt(budget)

    def sweep(self, caller: str) -> Account:
        """Settles and writes down everything of `caller` that is over, whoever left it."""
        return self._of(caller).sweep(self._table.settling_budget())

    def refused(self, caller: str, reason: str, model: str, until: float | None = None) -> None:
        """Counts a refusal by `reason`, from a fixed set, and `model`, from the operator's lists."""
        self._of(caller).refused(reason, model, self._table.admission_budget(until, _COUNTING_SECONDS))

    def account(self, caller: str, until: float | None = None) -> Account:
        """What is booked and held now; an empty account for a caller that was never here."""
        return self._of(caller).read(self._table.admission_budget(until))

    def _of(self, caller: str) -> CallerAccount:
        account = self._accounts.get(caller)
        if account is None:
            self._forget_one()
            account = CallerAccount(self._table, caller, clock=self._clock, retention=self._retention)
            self._accounts[caller] = account
        return account

    def _forget_one(self) -> None:
        if len(self._accounts) >= REMEMBERED:
            settled = next((caller for caller, account in self._accounts.items() if not account.in_doubt), None)
            if settled is not None:
                del self._accounts[settled]
