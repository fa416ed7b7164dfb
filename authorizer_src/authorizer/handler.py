"""API Gateway's authorizer function: a bearer key -> who is let in, as an IAM policy and a context. Runs on stock Python.

Source: docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html (TOKEN) and
.../api-gateway-lambda-authorizer-output.html. What it returns is cached by the token, a refusal too; a revocation does not
wait for that, because the relay asks again at each admission. Writes no key, no hash and no token to its log.
"""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import Any, Protocol

from authorizer import api_key

_BEARER = re.compile(rf"[Bb]earer ({api_key.FORM})")
# One API's methods: arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH.
_METHOD = re.compile(r"arn:[a-z-]+:execute-api:[a-z0-9-]+:\d{12}:[a-z0-9]+/[A-Za-z0-9_-]+(?=/)")
_DENIED_ARN = "arn:aws:execute-api:*:*:*"


class Client(Protocol):
    """The two calls of boto3's DynamoDB client that are used."""

    def get_item(self, **arguments: Any) -> dict[str, Any]: ...
    def update_item(self, **arguments: Any) -> dict[str, Any]: ...


class Authorizer:
    """Judges keys by one table. `clock` gives epoch milliseconds."""

    def __init__(self, client: Client, table: str, clock: Any = lambda: int(time.time() * 1000)) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def __call__(self, event: dict[str, Any], _context: object = None) -> dict[str, Any]:
        """The decision on one request: everything of this API's stage, or nothing at all.

        An exception (the table cannot be read) becomes a 500 of API Gateway's that clients retry, and is not cached.
        """
        presented = _BEARER.fullmatch(str(event.get("authorizationToken", "")))
        method = _METHOD.match(str(event.get("methodArn", "")))
        if presented is None or method is None or not api_key.is_well_formed(presented[1]):
            return _decision("Deny", _DENIED_ARN)
        key, now = presented[1], self._clock()
        id = api_key.id_of(key)
        stored = self._read(id)
        if not api_key.is_valid(key, stored, now):
            return _decision("Deny", f"{method[0]}/*")
        self._note_use(id, stored, now)
        # All methods of the stage: the decision is cached for every path, not for the one that was asked first.
        allowed = _decision("Allow", f"{method[0]}/*", principal=f"key:{stored['name']}")
        return {**allowed, "context": {"name": stored["name"], "keyId": id}}

    def _read(self, id: str) -> dict[str, Any]:
        found = self._client.get_item(TableName=self._table, Key=_key(id), ConsistentRead=True).get("Item", {})
        return {name: _plain(value) for name, value in found.items()}

    def _note_use(self, id: str, stored: dict[str, Any], now: int) -> None:
        """Writes the day down, once a day and key. Whether that succeeds decides nothing."""
        day = f"{datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%d}"
        if stored.get("used") == day:
            return
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(id),
                UpdateExpression="SET #used = :day",
                ConditionExpression="attribute_exists(#pk)",
                ExpressionAttributeNames={"#used": "used", "#pk": "pk"},
                ExpressionAttributeValues={":day": {"S": day}},
            )
        except Exception as error:  # a day that is not noted must keep nobody out
            print(f'{{"event":"use_not_noted","key":"{id}","cause":"{type(error).__name__}"}}')


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    global _authorizer  # noqa: PLW0603 - made once for all invocations of a process, as Lambda advises
    if _authorizer is None:
        import boto3  # from the runtime

        _authorizer = Authorizer(boto3.client("dynamodb"), os.environ["TABLE_NAME"])
    return _authorizer(event, context)


_authorizer: Authorizer | None = None


def _key(id: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": api_key.PARTITION}, "sk": {"S": id}}


def _plain(value: dict[str, Any]) -> Any:
    """A string or a whole number of DynamoDB's JSON; None for what the authorizer has no use for."""
    return int(value["N"]) if "N" in value else value.get("S")


def _decision(effect: str, resource: str, principal: str = "nobody") -> dict[str, Any]:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}
    return {"principalId": principal, "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
