"""The relay's stack: each decision by property, so that a refactoring may rename everything and a changed decision shows."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.bundle.build import digest
from cdk_app.checks import grant_size, guards
from cdk_app.relay import settings as relay_settings
from tests.support.synthesis import EVERYTHING, Synthesised

Template = dict[str, Any]
OWN = [environment.name for environment in environments.ENVIRONMENTS]
ALL = [*OWN, EVERYTHING.name]


def of(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def one(template: Template, kind: str) -> dict[str, Any]:
    (properties,) = of(template, kind).values()
    return properties


def statements(template: Template) -> Iterator[tuple[str, Any]]:
    """Action and resource of everything that the function's role may do."""
    for statement in one(template, "AWS::IAM::Policy")["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        yield from ((action, resource) for action in actions for resource in resources)


@pytest.fixture(params=ALL)
def made(request: pytest.FixtureRequest, templates: dict[str, Synthesised]) -> Synthesised:
    return templates[request.param]


def test_code_is_uploaded_anew_when_a_name_a_mode_or_a_content_changes(made: Synthesised) -> None:
    """The asset's hash is the bundle's own digest: the CDK's would not see that the wrapper lost its +x."""
    key = one(made.stacks["relay"], "AWS::Lambda::Function")["Code"]["S3Key"]
    (asset,) = (path for path in made.directory.parent.glob("asset.*") if path.is_dir() and path.name in f"asset.{key}")
    # The CDK hashes what it is given as a hash.
    assert key == f"{hashlib.sha256(digest(asset).encode()).hexdigest()}.zip"


def test_the_function_gets_every_setting_and_the_names_of_its_resources(made: Synthesised) -> None:
    template = made.stacks["relay"]
    variables = one(template, "AWS::Lambda::Function")["Environment"]["Variables"]
    for name, value in relay_settings.of(made.environment).items():
        assert variables[name] == value, name
    (table,) = of(template, "AWS::DynamoDB::Table")
    assert variables["TABLE_NAME"] == {"Ref": table}
    secrets = of(template, "AWS::SecretsManager::Secret")
    named = {json.dumps(variables[name]) for name in ("OPENAI_SECRET_ARN", "EDGE_SECRET_ARN") if name in variables}
    assert ("EDGE_SECRET_ARN" in variables) == (made.environment.edge != "off")
    assert all(any(secret in name for name in named) for secret in secrets)


def test_callers_are_held_to_their_limits(made: Synthesised) -> None:
    """Without CALLER_POLICIES or TABLE_NAME the relay would know no limit at all."""
    variables = one(made.stacks["relay"], "AWS::Lambda::Function")["Environment"]["Variables"]
    assert made.environment.callers.default != "refuse"
    written = json.loads(variables["CALLER_POLICIES"])["default"]
    assert written["rpm"] == made.environment.callers.default.requests_per_minute
    assert written["usd_day"] == made.environment.callers.default.usd_per_day


def test_records_expire_by_the_attribute_that_the_relay_writes(made: Synthesised) -> None:
    expiry = one(made.stacks["relay"], "AWS::DynamoDB::Table")["TimeToLiveSpecification"]
    assert expiry == {"AttributeName": "expires", "Enabled": True}


def test_only_lambda_may_assume_the_functions_role(made: Synthesised) -> None:
    (statement,) = one(made.stacks["relay"], "AWS::IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_the_role_reads_each_secret_that_the_relay_reads_and_uses_its_own_table_and_log(made: Synthesised) -> None:
    template = made.stacks["relay"]
    allowed = list(statements(template))
    secrets = [resource for action, resource in allowed if action == "secretsmanager:GetSecretValue"]
    for name in of(template, "AWS::SecretsManager::Secret"):
        assert {"Fn::GetAtt": [name, "Id"]} in secrets
    assert len(secrets) == (1 if made.environment.edge == "off" else 2)
    (log,), (table,) = of(template, "AWS::Logs::LogGroup"), of(template, "AWS::DynamoDB::Table")
    by_service = {action: resource for action, resource in allowed if not action.startswith("secretsmanager")}
    assert by_service["logs:PutLogEvents"] == by_service["logs:CreateLogStream"] == {"Fn::GetAtt": [log, "Arn"]}
    assert by_service["dynamodb:UpdateItem"] == {"Fn::GetAtt": [table, "Arn"]}


def test_the_platforms_report_of_each_invocation_is_logged(made: Synthesised) -> None:
    """At WARN, Lambda would write no line with duration and memory."""
    logging = one(made.stacks["relay"], "AWS::Lambda::Function")["LoggingConfig"]
    assert logging["SystemLogLevel"] == "INFO"
    assert logging["ApplicationLogLevel"] == made.environment.log_level


# Outputs, run in a shell with another `curl`.


@pytest.fixture(params=["sh", "bash", "dash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    from shutil import which

    path = which(request.param)
    if path is None:
        pytest.skip(f"no {request.param} on this machine")
    return str(path)


def resolved(value: Any) -> str:
    """An output as CloudFormation would write it."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    match function:
        case "Fn::Join":
            return str(argument[0]).join(resolved(part) for part in argument[1])
        case "Fn::Select":
            index, values = argument
            return str(resolved_list(values)[int(index)])
        case "Fn::GetAtt" | "Fn::GetStackOutput" if "FunctionUrl" in json.dumps(argument):
            return "https://abc.lambda-url.eu-central-1.on.aws/"
        case "Ref" | "Fn::GetAtt" | "Fn::GetStackOutput":
            return "eu-central-1" if argument == "AWS::Region" else "NAME"
    raise AssertionError(function)


def resolved_list(value: Any) -> list[str]:
    separator, text = value["Fn::Split"]
    return resolved(text).split(str(separator))


@pytest.mark.parametrize("token", [None, "", "IQoJb3JpZ2luX2VjEND//+=="])
def test_the_first_request_works_with_and_without_a_session_token(
    token: str | None, shell: str, templates: dict[str, Synthesised], tmp_path: Path
) -> None:
    """An IAM user's keys have no token: curl signs a header that is empty, and does not send it."""
    command = resolved(templates["dev"].stacks["relay"]["Outputs"]["FirstRequest"]["Value"])
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nfor argument in "$@"; do printf "%s\\n" "$argument"; done\n')
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "s/+",
    }
    if token is not None:
        environment["AWS_SESSION_TOKEN"] = token
    done = subprocess.run([shell, "-c", command], env=environment, capture_output=True, text=True, check=True)
    arguments = done.stdout.splitlines()
    assert "https://abc.lambda-url.eu-central-1.on.aws/v1/chat/completions" in arguments
    assert "AKIA:s/+" in arguments
    sent = [argument for argument in arguments if "x-amz-security-token" in argument]
    assert sent == ([f"-Hx-amz-security-token: {token}"] if token else [])
    (body,) = (argument for argument in arguments if argument.startswith("{"))
    assert json.loads(body)["stream"] is True


def test_urls_have_no_slash_at_their_end(made: Synthesised) -> None:
    """So that "$URL/v1/..." has one slash, as it was signed."""
    outputs = {name: o["Value"] for stack in made.stacks.values() for name, o in stack["Outputs"].items()}
    assert resolved(outputs["FunctionUrl"]) == "https://abc.lambda-url.eu-central-1.on.aws"
    if "EdgeUrl" in outputs:
        assert resolved(outputs["EdgeUrl"]).startswith("https://")
        assert not resolved(outputs["EdgeUrl"]).endswith("/")
        through = shlex.split(resolved(made.stacks["edge"]["Outputs"]["FirstRequest"]["Value"]))
        (url,) = (word for word in through if word.startswith("URL="))
        assert not url.endswith("/")


@pytest.mark.parametrize("name", ["SetKeyCommand", "ResumeCommand"])
def test_commands_name_the_region(name: str, made: Synthesised) -> None:
    outputs = {key: o["Value"] for stack in made.stacks.values() for key, o in stack["Outputs"].items()}
    if name in outputs:
        words = shlex.split(resolved(outputs[name]))
        assert words[words.index("--region") + 1] == "eu-central-1"
        assert words[0] == "aws"


# The policy in which all callers have to fit.


def with_callers(template: Template, count: int, *, account_only: bool = False) -> tuple[Template, tuple[str, ...]]:
    """The template with that many callers: both permissions of each."""
    grown = copy.deepcopy(template)
    models = [r for r in grown["Resources"].values() if r["Type"] == "AWS::Lambda::Permission"][:2]
    for name in [n for n, r in grown["Resources"].items() if r["Type"] == "AWS::Lambda::Permission"]:
        del grown["Resources"][name]
    callers = tuple(
        f"{100_000_000_000 + n}" if account_only else f"arn:aws:iam::210987654321:role/team-{n:03}"
        for n in range(count)
    )
    for number, caller in enumerate(callers):
        for kind, model in enumerate(models):
            properties = {**model["Properties"], "Principal": caller}
            grown["Resources"][f"RelayFunctionFunctionUrlInvokeUrl{number:04}{kind}0123456789"] = {
                **model,
                "Properties": properties,
            }
    return grown, callers


def test_more_callers_than_fit_are_one_line_that_says_how_many_and_the_cure(templates: dict[str, Synthesised]) -> None:
    relay = templates[EVERYTHING.name].stacks["relay"]
    template, callers = with_callers(relay, 60)
    environment = replace(EVERYTHING, invokers=callers, direct_invokers=())
    (line,) = [line for line in guards.problems(template, environment) if "bytes of the function's policy" in line]
    assert line.startswith("invokers: the permissions of 60 callers take about ")
    assert "which holds 20480" in line
    assert "name whole accounts ('123456789012') or the organisation ('o-...') instead" in line
    fit = int(line.split(": about ")[1].split()[0])
    assert 20 <= fit <= 35
    few, some = with_callers(relay, fit)
    assert list(grant_size.lines(few, replace(environment, invokers=some))) == []
    many, more = with_callers(relay, fit + 1)
    assert len(list(grant_size.lines(many, replace(environment, invokers=more)))) == 1


def test_whole_accounts_are_counted_too(templates: dict[str, Synthesised]) -> None:
    template, callers = with_callers(templates[EVERYTHING.name].stacks["relay"], 60, account_only=True)
    assert list(grant_size.lines(template, replace(EVERYTHING, invokers=callers, direct_invokers=())))


def test_the_size_is_what_lambda_would_keep(templates: dict[str, Synthesised]) -> None:
    """Held against a statement as `aws lambda get-policy` returns it, for one caller."""
    statement = grant_size._statement(
        "RelayFunctionFunctionUrlInvokeUrl1",
        {
            "Principal": {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":iam::345678901234:root"]]},
            "Action": "lambda:InvokeFunctionUrl",
            "FunctionUrlAuthType": "AWS_IAM",
        },
        EVERYTHING,
    )
    assert statement["Principal"] == {"AWS": "arn:aws:iam::345678901234:root"}
    assert statement["Condition"] == {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}
    assert statement["Sid"].startswith("openai-lambda-relay-everything-RelayFunctionFunctionUrlInvokeUrl1-")
