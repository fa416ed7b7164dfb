"""The stand-ins that others made, started as the commands start them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.assembly.deployment import create_resources, deploy
from emulator.assembly.template import Deployed, TemplateError
from emulator.fakes.aws import AwsStandIn
from emulator.fakes.readiness import StandInError
from emulator.openai.stand_in import OpenAIStandIn


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsStandIn]:
    with AwsStandIn() as running:
        yield running


def deployed(environment: dict[str, Any], **more: Any) -> Deployed:
    found: dict[str, Any] = {
        "name": "Stack",
        "properties": {"Timeout": 7, "MemorySize": 256, "Runtime": "python3.13", "ReservedConcurrentExecutions": 3},
        "environment": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/bootstrap", **environment},
        "code": Path("/code"),
        "secrets": {},
        "tables": {},
    }
    return Deployed(**(found | more))


def test_the_openai_stand_in_streams_to_those_who_have_its_key() -> None:
    with OpenAIStandIn(key="sk-right") as openai:
        body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "anything at all"}]}
        answers = {
            key: httpx.post(f"{openai.url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
            for key in ("sk-right", "sk-wrong")
        }
        assert answers["sk-right"].text.endswith("data: [DONE]\n\n")
        assert answers["sk-right"].headers["content-type"] == "text/event-stream"
        assert answers["sk-wrong"].status_code == 401
        assert len(openai.journal()) >= 1


def test_a_stand_in_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with (
        pytest.raises(StandInError, match=r"aimock.*ended with status"),
        OpenAIStandIn(key="sk-x", fixtures=broken) as openai,
    ):
        _ = openai.url
    with (
        pytest.raises(StandInError, match=r"no file .*none.json.*--fixtures"),
        OpenAIStandIn(key="sk-x", fixtures=tmp_path / "none.json"),
    ):
        pass


def test_the_secret_of_the_template_holds_the_key(aws: AwsStandIn) -> None:
    plan = deployed({"OPENAI_SECRET_ARN": {"Ref": "Key"}}, secrets={"Key": {}, "Other": {"GenerateSecretString": {}}})
    attributes, arn = create_resources(plan, aws, "sk-1", "eu-central-1")
    assert attributes["Key"]["Ref"] == arn
    assert aws.call("secretsmanager", "GetSecretValue", SecretId=arn)["SecretString"] == "sk-1"
    assert len(aws.call("secretsmanager", "GetSecretValue", SecretId=attributes["Other"]["Ref"])["SecretString"]) > 30


@pytest.mark.parametrize("named", ["team/openai", "arn:aws:secretsmanager:eu-central-1:1:secret:team/openai-other"])
def test_a_secret_that_exists_elsewhere_is_made_here(aws: AwsStandIn, named: str) -> None:
    function = deploy(
        deployed({"OPENAI_SECRET_ARN": named}),
        aws,
        openai_key="sk-2",
        region="eu-central-1",
        python=None,
        overrides={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
    )
    arn = function.environment["OPENAI_SECRET_ARN"]
    assert aws.call("secretsmanager", "GetSecretValue", SecretId=arn)["SecretString"] == "sk-2"
    assert function.environment["OPENAI_BASE_URL"] == "http://127.0.0.1:1/v1"
    assert function.environment["AWS_ENDPOINT_URL"] == aws.url
    assert (function.timeout, function.memory, function.concurrency) == (7, 256, 3)
    assert function.command[0] == "/code/bootstrap"


def test_a_table_of_the_template_is_made_with_its_keys_and_its_expiry(aws: AwsStandIn) -> None:
    properties = {
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        "BillingMode": "PAY_PER_REQUEST",
        "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
    }
    plan = deployed({"TABLE_NAME": {"Ref": "Limits"}, "OPENAI_SECRET_ARN": "k"}, tables={"Limits": properties})
    function = deploy(plan, aws, openai_key="sk-3", region="eu-central-1", python=None, overrides={})
    table = function.environment["TABLE_NAME"]
    assert aws.call("dynamodb", "DescribeTable", TableName=table)["Table"]["KeySchema"] == properties["KeySchema"]
    expiry = aws.call("dynamodb", "DescribeTimeToLive", TableName=table)["TimeToLiveDescription"]
    assert expiry["AttributeName"] == "expires"


def test_a_setting_that_cannot_be_known_is_named_with_its_remedy(aws: AwsStandIn) -> None:
    plan = deployed({"EDGE": {"Fn::GetAtt": ["Edge", "Domain"]}, "OPENAI_SECRET_ARN": "k2"})
    with pytest.raises(TemplateError, match=r"setting EDGE: .*--set EDGE="):
        deploy(plan, aws, openai_key="sk", region="eu-central-1", python=None, overrides={})
    overridden = deploy(plan, aws, openai_key="sk", region="eu-central-1", python=None, overrides={"EDGE": "e"})
    assert overridden.environment["EDGE"] == "e"
