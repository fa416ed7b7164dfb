"""DynamoDB: one attempt per operation, and its errors by name. Knows nothing of what is stored."""

from __future__ import annotations

from typing import Protocol

from relay.aws.client import Client
from relay.aws.errors import CONDITION_FAILED, AwsError, ConditionFailedError, StoreError
from relay.aws.update_expression import Item


class Store(Protocol):
    """DynamoDB's low-level interface. `body` and the response have the shapes of the JSON protocol and of boto3's client.

    There are two: the relay's own (below), and the operator's through boto3 (operate/dynamodb.py).
    """

    def call(self, operation: str, body: Item, *, until: float | None = None, stop_fd: int = -1) -> Item:
        """Makes one attempt at `operation` ("UpdateItem"), over by `until` (time.monotonic()'s clock).

        Raises StoreError or ConditionFailedError; RelayError(SHUTDOWN) when `stop_fd` becomes readable. Whoever calls
        repeats what is safe to repeat.
        """


class DynamoDb:
    """The relay's Store: signed calls on one connection, each within 0.8 s."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, operation: str, body: Item, *, until: float | None = None, stop_fd: int = -1) -> Item:
        """Makes one attempt. See Store.call."""
        try:
            return self._client.call(operation, body, until=until, stop_fd=stop_fd)
        except AwsError as error:
            if error.code == CONDITION_FAILED:
                item = error.fields.get("Item")
                raise ConditionFailedError(item if isinstance(item, dict) else None) from None
            # A 5xx is worth another attempt under whatever name it comes.
            raise StoreError("ServiceUnavailable" if error.status >= 500 else error.code, error.message) from error
