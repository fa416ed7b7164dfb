"""DynamoDB through boto3, for a person: patient where the relay is not. The only module here that knows boto3's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from relay.aws.errors import CONDITION_FAILED, ConditionFailedError, StoreError


class OperatorError(Exception):
    """What was asked for cannot be done. The text is for a person."""


class Boto3Store:
    """The relay's view of a store (relay.aws.dynamodb.Store), and queries beside it."""

    def __init__(self, client: Any = None) -> None:
        self._client = client or boto3.client("dynamodb", config=Config(retries={"mode": "standard"}))

    def call(
        self, operation: str, body: Mapping[str, Any], *, until: float | None = None, stop_fd: int = -1
    ) -> Mapping[str, Any]:
        """One operation, repeated by boto3 as it sees fit, in boto3's own time. Raises StoreError."""
        try:
            answer: Mapping[str, Any] = getattr(self._client, re.sub(r"\B([A-Z])", r"_\1", operation).lower())(**body)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == CONDITION_FAILED:
                raise ConditionFailedError(error.response.get("Item")) from None
            raise StoreError(code, error.response["Error"].get("Message", "")) from error
        except BotoCoreError as error:
            raise StoreError("Unreachable", str(error)) from error
        return answer

    def query(self, table: str, partition: str, low: str, high: str) -> Iterator[Mapping[str, Any]]:
        """All items of a partition whose sort keys lie between `low` and `high`, as they are now."""
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


def table_of(environment: str) -> str:
    """The name of an environment's table, from the outputs of its stack."""
    stack = f"openai-lambda-relay-{environment}"
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except (ClientError, BotoCoreError) as error:
        raise OperatorError(f"the stack {stack} cannot be read ({error}); name the table with --table") from None
    names = [o["OutputValue"] for o in described.get("Outputs", []) if o["OutputKey"] == "LimitsTable"]
    if not names:
        raise OperatorError(f"the stack {stack} has no output LimitsTable; name the table with --table")
    return str(names[0])
