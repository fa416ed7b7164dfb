"""The store as the ledger sees it: one call per DynamoDB operation, and the ways in which such a call can end.

Knows the names of DynamoDB's errors; knows nothing of boto3, HTTP or what is stored.
Source of the names: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

CONDITION_FAILED = "ConditionalCheckFailedException"


class StoreError(Exception):
    """The store did not do what was asked. `code` is DynamoDB's, or "Unreachable" when there was no answer.

    Nothing is said about whether a write was applied: an answer can be lost after the write.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code


class ConditionFailedError(StoreError):
    """The write was not applied because its condition did not hold.

    `item` is the item as the store judged it, or None when there is none or when the store does not say.
    """

    def __init__(self, item: Mapping[str, Any] | None = None) -> None:
        super().__init__(CONDITION_FAILED)
        self.item = item


class Store(Protocol):
    """DynamoDB's low-level interface. `body` and the answer have the shapes of the JSON protocol and of boto3's client."""

    def call(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make one attempt at `operation` ("UpdateItem") and raise StoreError or ConditionFailedError within a second.

        The attempt is not repeated here: the ledger repeats what is safe to repeat, within its own time.
        """
