"""DynamoDB's errors by the names that the ledger knows them by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from relay.aws import client as aws
from relay.aws.client import Client
from relay.aws.dynamodb import DynamoDb
from relay.aws.errors import ConditionFailedError, StoreError
from relay.aws.signing import Credentials

from emulator.fakes.raw_upstream import RawUpstream, json_answer


@pytest.fixture
def server() -> Iterator[RawUpstream]:
    with RawUpstream(path="") as running:
        yield running


@pytest.fixture
def store(server: RawUpstream) -> Iterator[DynamoDb]:
    fixed = Credentials(access_key="AKIA", secret_key="secret")
    client = Client(aws.DYNAMODB, url=server.url, region="x", credentials=lambda: fixed, tls_context=None)
    yield DynamoDb(client)
    client.close()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [{"__type": "InternalServerError"}, {"__type": "SomethingNewException"}, {}])
def test_whatever_a_5xx_is_called_it_may_be_gone_at_the_next_attempt(
    server: RawUpstream, store: DynamoDb, status: int, body: dict[str, str]
) -> None:
    server.answer(*json_answer(status, body))
    with pytest.raises(StoreError) as caught:
        store.call("UpdateItem", {})
    assert caught.value.code == "ServiceUnavailable"


@pytest.mark.parametrize("field", ["message", "Message"])
def test_an_error_keeps_its_code_and_says_what_the_service_said(
    server: RawUpstream, store: DynamoDb, field: str
) -> None:
    server.answer(*json_answer(400, {"__type": "com.amazonaws.x#ValidationException", field: "Item size " * 100}))
    with pytest.raises(StoreError) as caught:
        store.call("UpdateItem", {})
    assert caught.value.code == "ValidationException"
    assert str(caught.value).startswith("ValidationException: Item size ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("fields", "item"), [({"Item": {"pk": {"S": "x"}}}, {"pk": {"S": "x"}}), ({}, None)])
def test_a_condition_that_failed_comes_with_the_item_if_there_is_one(
    server: RawUpstream, store: DynamoDb, fields: dict[str, Any], item: dict[str, Any] | None
) -> None:
    server.answer(*json_answer(400, {"__type": "x#ConditionalCheckFailedException", **fields}))
    with pytest.raises(ConditionFailedError) as caught:
        store.call("UpdateItem", {})
    assert caught.value.item == item
