"""One table, reached with budget: repeats what passes by itself, for as long as it is told to. Knows no ledger.

Every write that is sent through here can be repeated: its condition recognises what it has already done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relay.aws.dynamodb import Store
from relay.aws.errors import StoreError
from relay.ledger.account import Account, account_of
from relay.ledger.writes import in_json

RETRYABLE = frozenset(
    {
        "Unreachable",
        "Unreadable",
        "InternalServerError",
        "ServiceUnavailable",
        "ThrottlingException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "TransactionConflictException",
        "ReplicatedWriteConflictException",
    }
)
"""Errors that may be gone at the next attempt; the last two come from other writers of the same item, the first
two from the way there.
Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html."""

FIRST_PAUSE, LONGEST_PAUSE = 0.025, 0.4


class RetryBudget:
    """How long to keep trying, and whether it was needed. `begins` ends it for new attempts, not for one under way."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until = monotonic() + seconds
        self.tried = 0

    def over(self, pause: float = 0) -> bool:
        """Whether no further attempt may begin after `pause` seconds."""
        return self._monotonic() + pause > self._until


class Table:
    """The table `name` in `db`."""

    def __init__(self, db: Store, *, name: str, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.name = name
        self._db = db
        self._monotonic = monotonic
        self._sleep = sleep

    def retry_budget(self, seconds: float) -> RetryBudget:
        """A retry budget that begins now."""
        return RetryBudget(seconds, self._monotonic)

    def update(self, body: Mapping[str, Any], budget: RetryBudget) -> Account:
        """Make an UpdateItem; the account as it is afterwards. Raises ConditionFailedError or StoreError."""
        return account_of(self._call("UpdateItem", body, budget).get("Attributes"))

    def put(self, body: Mapping[str, Any], budget: RetryBudget) -> None:
        """Make a PutItem. Raises ConditionFailedError or StoreError."""
        self._call("PutItem", body, budget)

    def read(self, key: Mapping[str, str], budget: RetryBudget) -> Mapping[str, Any] | None:
        """One item as it is now, or None. Raises StoreError."""
        body = {"TableName": self.name, "Key": in_json(key), "ConsistentRead": True}
        item: Mapping[str, Any] | None = self._call("GetItem", body, budget).get("Item")
        return item

    def _call(self, operation: str, body: Mapping[str, Any], budget: RetryBudget) -> Mapping[str, Any]:
        pause = FIRST_PAUSE
        while True:
            try:
                return self._db.call(operation, body)
            except StoreError as error:
                if error.code not in RETRYABLE:
                    raise
                budget.tried += 1
                if budget.over(pause):
                    raise
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
