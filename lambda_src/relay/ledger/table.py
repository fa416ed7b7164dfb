"""One table in DynamoDB: repeats a call that may go through at the next attempt, for as long as there is time.

The only module of this room that knows `aws.dynamodb`. Every write that is sent through here can be repeated: its
condition recognises what it has already done.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from relay.accounts.account import Account, account_of
from relay.aws.dynamodb import Store
from relay.aws.errors import StoreError
from relay.aws.update_expression import Item
from relay.errors import RelayError
from relay.ledger.items import Key, in_json

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

ADMISSION_SECONDS = 1.2
"""How long an admission may wait for AWS altogether, secrets included: a 503 has to be there within 1.5 s."""

SETTLE_SECONDS = 3.0
"""How long settling tries: the caller has its response, but the function is still being paid for."""

ATTEMPT_SECONDS = 0.6
"""After this long no further attempt of an admission begins: what fails quickly fails on, and its caller waits."""

FIRST_PAUSE, LONGEST_PAUSE = 0.025, 0.4
# With less than this left an attempt is not worth while: DynamoDB takes some 10 ms.
_SHORTEST_ATTEMPT = 0.05


class RetryBudget:
    """The time that several calls share, on the clock of time.monotonic(): when the last of them is over (`until`), and
    when no further attempt begins (`attempts_until`).

    `stop_fd` breaks them off when it becomes readable; -1: nothing does. `failures` counts attempts of which nobody
    knows whether they were applied.
    """

    def __init__(self, until: float, attempts_until: float, stop_fd: int, monotonic: Callable[[], float]) -> None:
        self.until = until
        self._attempts_until = min(attempts_until, until - _SHORTEST_ATTEMPT)
        self.stop_fd = stop_fd
        self.failures = 0
        self._monotonic = monotonic

    def is_over(self, pause: float = 0) -> bool:
        """Whether no further attempt is worth while after `pause` seconds."""
        return self._monotonic() + pause > self._attempts_until


class Table:
    """The table `name` in `db`. `stop_fd` becomes readable when the process is to end."""

    def __init__(
        self,
        db: Store,
        *,
        name: str,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        stop_fd: int = -1,
    ) -> None:
        self.name = name
        self._db = db
        self._monotonic = monotonic
        self._sleep = sleep
        self._stop_fd = stop_fd

    def admission_budget(self, until: float | None = None, seconds: float = ADMISSION_SECONDS) -> RetryBudget:
        """The time of an admission: until `until`, at most `seconds`; ends at once when the process is to end."""
        until, attempts_until = self._sooner(until, seconds), self._sooner(None, ATTEMPT_SECONDS)
        return RetryBudget(until, attempts_until, self._stop_fd, self._monotonic)

    def settling_budget(self, until: float | None = None, seconds: float = SETTLE_SECONDS) -> RetryBudget:
        """The time for what has to be written although the process is to end: then the attempt under way is the last."""
        until = self._sooner(until, seconds)
        return RetryBudget(until, until, -1, self._monotonic)

    def update(self, body: Item, budget: RetryBudget) -> Account:
        """Makes an UpdateItem; the account as it is afterwards. Raises ConditionFailedError or StoreError."""
        return account_of(self._call("UpdateItem", body, budget).get("Attributes"))

    def put(self, body: Item, budget: RetryBudget) -> None:
        """Makes a PutItem. Raises ConditionFailedError or StoreError."""
        self._call("PutItem", body, budget)

    def read(self, key: Key, budget: RetryBudget) -> Item | None:
        """One item as it is now, or None. Raises StoreError."""
        body = {"TableName": self.name, "Key": in_json(key), "ConsistentRead": True}
        item: Item | None = self._call("GetItem", body, budget).get("Item")
        return item

    def _sooner(self, until: float | None, seconds: float) -> float:
        limit = self._monotonic() + seconds
        return limit if until is None else min(until, limit)

    def _call(self, operation: str, body: Item, budget: RetryBudget) -> Item:
        pause = FIRST_PAUSE
        while True:
            try:
                return self._db.call(operation, body, until=budget.until, stop_fd=budget.stop_fd)
            except RelayError:  # told to stop while it waited
                budget.failures += 1
                raise
            except StoreError as error:
                if error.code not in RETRYABLE:
                    raise
                budget.failures += 1
                if budget.is_over(pause) or self._stopping():
                    raise
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _stopping(self) -> bool:
        return self._stop_fd >= 0 and bool(select.select([self._stop_fd], [], [], 0)[0])
