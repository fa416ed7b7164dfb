"""DynamoDB through boto3, for a person: patient where the relay is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
)
from relay.aws.errors import CONDITION_FAILED, ConditionFailedError, StoreError

from operate.aws import EXPECTED, OperatorError, told


class Boto3Store:
    """The relay's view of a store (relay.aws.dynamodb.Store), and queries beside it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(
        self, operation: str, body: Mapping[str, Any], *, until: float | None = None, stop_fd: int = -1
    ) -> Mapping[str, Any]:
        """Do one operation, repeated by boto3 in its own time. Raises StoreError, or OperatorError for the settings."""
        method = re.sub(r"\B([A-Z])", r"_\1", operation).lower()
        try:
            response: Mapping[str, Any] = getattr(self._client, method)(**body)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == CONDITION_FAILED:
                raise ConditionFailedError(error.response.get("Item")) from None
            raise StoreError(code, told(error)) from error
        except (ConnectionError, HTTPClientError) as error:
            raise StoreError("Unreachable", told(error)) from error
        except EXPECTED as error:
            raise OperatorError(told(error)) from error
        return response

    def query(self, table: str, partition: str, low: str, high: str) -> Iterator[Mapping[str, Any]]:
        """Yield all items of a partition whose sort keys lie between `low` and `high`, as they are now."""
        body: dict[str, Any] = {
            "TableName": table,
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :low AND :high",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":pk": {"S": partition}, ":low": {"S": low}, ":high": {"S": high}},
        }
        while True:
            page = self.call("Query", body)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            body["ExclusiveStartKey"] = page["LastEvaluatedKey"]
