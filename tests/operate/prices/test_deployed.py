"""`operate prices`: the list of the function that is deployed, what ends when, and who uses it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from relay.pricing.money import PICO

from operate.__main__ import main
from tests.support import dynamo
from tests.support.operator_desk import ANN, CI, Desk

NOON = int(datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp() * 1000)
DEPLOYED: dict[str, Any] = {
    "as_of": "2026-11-01",
    "models": {
        "m-soon": {
            "input": 0.25,
            "cached_input": 0.025,
            "output": 2,
            "shutdown": "2026-12-11",
            "snapshots": ["2026-01-31"],
        },
        "m-gone": {"input": 1, "output": 2, "shutdown": "2026-11-20"},
        "m-stays": {"input": 2, "cache_write": 2.5, "output": 10, "tiers": {"flex": {"input": 1, "output": 5}}},
        "m-hears": {"second": 0.0001},
    },
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A stand-in that has Lambda, too."""
    with dynamo.ministack("dynamodb,cloudformation,lambda,iam") as url:
        yield url


def client(url: str, service: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=url, region_name=dynamo.REGION, **keys)


def deploy(url: str, table: str, code: dict[str, str], **settings: str) -> None:
    """A stack with the outputs of the relay's, and a function of that code."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for member, text in code.items():
            file.writestr(member, text)
    client(url, "lambda").create_function(
        FunctionName="relay",
        Runtime="python3.13",
        Role="arn:aws:iam::123456789012:role/x",
        Handler="a.b",
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": settings},
    )
    role = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}}
    template = {
        "Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": role}},
        "Outputs": {name: {"Value": value} for name, value in (("LimitsTable", table), ("FunctionName", "relay"))},
    }
    client(url, "cloudformation").create_stack(StackName="openai-lambda-relay-dev", TemplateBody=json.dumps(template))


@pytest.fixture
def deployed(url: str, desk: Desk) -> Iterator[Callable[..., None]]:
    """Deploys a function beside the desk's table, and takes it away after the test."""
    yield lambda code, **settings: deploy(url, desk.table, code, **settings)
    client(url, "cloudformation").delete_stack(StackName="openai-lambda-relay-dev")
    client(url, "lambda").delete_function(FunctionName="relay")


def shown(desk: Desk) -> list[str]:
    """What `operate prices` shows at the desk's own time, without the lines of the tables."""
    desk.output.readouterr()
    assert main(["prices"], table_of=lambda _: desk.limits_table) == 0
    return [" ".join(line.replace("│", " ").split()) for line in desk.output.readouterr().out.splitlines()]


def test_the_deployed_list_with_the_environments_own_models(desk: Desk, deployed: Callable[..., None]) -> None:
    own = {"models": {"m-stays": {"input": 3, "output": 10}}}
    deployed({"relay/pricing/prices.json": json.dumps(DEPLOYED)}, PRICES=json.dumps(own))
    desk.now = NOON
    told = shown(desk)
    assert "Prices of 2026-11-01, in US dollars for a million (relay)" in told
    assert [line for line in told if line.startswith("m-")] == [
        "m-gone 1 - - - 2 2026-11-20, ended",
        "m-soon 0.25 0.025 - - 2 2026-12-11, in 14 days",
        "m-hears 0 - - - 0 second 0.0001",
        "m-stays 3 - - - 10",
    ]


def test_a_regional_host_costs_a_tenth_more(desk: Desk, deployed: Callable[..., None]) -> None:
    listed = json.dumps(DEPLOYED)
    deployed({"relay/pricing/prices.json": listed}, OPENAI_BASE_URL="https://eu.api.openai.com/v1")
    desk.now = NOON
    assert "m-stays 2.2 - 2.75 - 11 flex" in shown(desk)


def test_callers_of_models_that_end_are_named_with_what_they_used_this_month(
    desk: Desk, deployed: Callable[..., None]
) -> None:
    deployed({"relay/pricing/prices.json": json.dumps(DEPLOYED)})
    desk.now = NOON - 40 * 86_400_000
    desk.serve(ANN, model="m-gone")
    desk.now = NOON
    desk.serve(CI, model="m-soon-2026-01-31", usd=PICO)
    desk.serve(CI, model="m-soon-2026-01-31", usd=PICO)
    desk.serve(ANN, model="m-gone")
    desk.serve(ANN, model="m-stays")
    desk.serve(ANN, model="unlisted")
    told = shown(desk)
    at = next(index for index, line in enumerate(told) if line.startswith("Callers of models that end, 2026-11"))
    assert [line for line in told[at:] if line.startswith("123456789012:")] == [
        "123456789012:user/ann m-gone 1 0.250000 2026-11-20, ended",
        "123456789012:role/ci-deploy m-soon-2026-01-31 2 2.000000 2026-12-11, in 14 days",
    ]


def test_with_a_table_alone_it_is_the_list_of_this_checkout(desk: Desk) -> None:
    shown = desk.run("prices")
    assert "(this checkout)" in shown
    assert "gpt-6-luna" in shown


@pytest.mark.parametrize("code", [{"relay/pricing/prices.json": "{"}, {"other.txt": "x"}])
def test_a_function_of_another_kind_is_named(desk: Desk, deployed: Callable[..., None], code: dict[str, str]) -> None:
    deployed(code)
    desk.table = ""
    error = desk.run("prices", ok=False)
    assert error.startswith("error: the price list of the function relay cannot be read (")
    assert "it takes lambda:GetFunction; --table shows the list of this checkout" in error
