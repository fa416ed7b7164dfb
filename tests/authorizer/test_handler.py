"""The authorizer function: what API Gateway gives it, and what it decides."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from authorizer import api_key
from authorizer.handler import Authorizer
from relay.aws.update_expression import encode

NOW = 1_795_435_200_000  # 2026-11-23
ARN = "arn:aws:execute-api:eu-central-1:123456789012:abcde12345/relay/POST/v1/chat/completions"
STAGE = "arn:aws:execute-api:eu-central-1:123456789012:abcde12345/relay/*"
KEY = api_key.create()


class Table:
    """The two calls, on one stored key."""

    def __init__(self, *, fails: type[Exception] | None = None, **changes: Any) -> None:
        self.stored = {
            **api_key.fields(KEY, name="ci-bot", now=NOW - 1, until=0, owner="", labels={"a": "b"}),
            **changes,
        }
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fails = fails

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(("get", arguments))
        known = arguments["Key"] == {"pk": {"S": "keys"}, "sk": {"S": api_key.id_of(KEY)}}
        return {"Item": {name: encode(value) for name, value in self.stored.items()}} if known else {}

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(("update", arguments))
        if self.fails:
            raise self.fails
        return {}


def decide(token: str, table: Table | None = None, arn: str = ARN) -> dict[str, Any]:
    return Authorizer(table or Table(), "limits", lambda: NOW)({"authorizationToken": token, "methodArn": arn})


def effect(decision: dict[str, Any]) -> str:
    (statement,) = decision["policyDocument"]["Statement"]
    assert statement["Action"] == "execute-api:Invoke"
    return str(statement["Effect"])


def test_a_valid_key_opens_its_stage_and_names_its_caller() -> None:
    decision = decide(f"Bearer {KEY}")
    assert decision["policyDocument"]["Statement"][0]["Resource"] == STAGE
    assert effect(decision) == "Allow"
    assert decision["principalId"] == "key:ci-bot"
    assert decision["context"] == {"name": "ci-bot", "keyId": api_key.id_of(KEY)}
    assert KEY not in repr(decision)


OTHER = api_key.create()
TYPED = KEY[:-1] + ("x" if KEY[-1] != "x" else "y")


@pytest.mark.parametrize(
    "token",
    [
        "", "Bearer", f"{KEY}", f"Basic {KEY}", f"Bearer  {KEY}", f"Bearer {KEY} ", f"Bearer {KEY}\n", f"BEARER {KEY}",
        f"Bearer {KEY},Bearer {KEY}", f"Bearer {OTHER}", f"Bearer {TYPED}", "Bearer sk-proj-abc", f"Bearer {KEY[:-2]}",
    ],
    ids=itertools.count(),  # the keys are others in each process
)  # fmt: skip
def test_anything_else_is_denied(token: str) -> None:
    decision = decide(token)
    assert effect(decision) == "Deny"
    assert "context" not in decision


@pytest.mark.parametrize("changes", [{"off": NOW}, {"until": NOW}, {"hash": "0" * 64}, {"name": "A B"}])
def test_a_key_that_does_not_hold_any_more_is_denied(changes: dict[str, Any]) -> None:
    assert effect(decide(f"Bearer {KEY}", Table(**changes))) == "Deny"


@pytest.mark.parametrize("arn", ["", "*", "arn:aws:execute-api:*:*:*", "arn:aws:lambda:eu-central-1:1:function:x"])
def test_a_method_that_is_none_is_denied(arn: str) -> None:
    assert effect(decide(f"Bearer {KEY}", arn=arn)) == "Deny"


def test_a_mistyped_key_costs_no_look_up() -> None:
    table = Table()
    decide(f"Bearer {TYPED}", table)
    assert table.calls == []


def test_reads_consistently_and_notes_the_use_once_a_day() -> None:
    table = Table()
    decide(f"Bearer {KEY}", table)
    assert [name for name, _ in table.calls] == ["get", "update"]
    assert table.calls[0][1]["ConsistentRead"] is True
    assert table.calls[1][1]["ExpressionAttributeValues"] == {":day": {"S": "2026-11-23"}}
    table = Table(used="2026-11-23")
    decide(f"Bearer {KEY}", table)
    assert [name for name, _ in table.calls] == ["get"]


def test_a_use_that_is_not_noted_keeps_nobody_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert effect(decide(f"Bearer {KEY}", Table(fails=RuntimeError))) == "Allow"
    said = capsys.readouterr().out
    assert "use_not_noted" in said
    assert KEY not in said
