"""The synthesised templates: pinned as a whole, asserted by property, and shown to be guarded by breaking them."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cfnlint.api
import pytest

from cdk_app import environments
from cdk_app.bundle import target_python
from cdk_app.checks import guards
from cdk_app.config.environment import Waiver
from tests.support.synthesis import API, EVERYTHING, ROOT, Synthesised

Template = dict[str, Any]
# W3005: the CDK writes dependencies out that a reference implies. W6001: the edge repeats what the relay put out, for people.
LINTER = cfnlint.api.ManualArgs(ignore_checks=["W3005", "W6001"])
SNAPSHOTS = Path(__file__).parent.parent / "snapshots"
OWN = [environment.name for environment in environments.ENVIRONMENTS]
ALL = [*OWN, EVERYTHING.name, API.name]


@pytest.mark.parametrize("name", ALL)
def test_templates_are_as_they_were_accepted(
    name: str, templates: dict[str, Synthesised], request: pytest.FixtureRequest
) -> None:
    made = {f"{stack}.json": _pinned(template) for stack, template in templates[name].stacks.items()}
    folder = SNAPSHOTS / name
    if request.config.getoption("--accept-snapshots"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file, text in made.items():
            folder.joinpath(file).write_text(text)
    accepted = {path.name: path.read_text() for path in sorted(folder.glob("*.json"))}
    assert made == accepted, "the templates have changed; if that is what you want: make snapshots"


def _pinned(template: Template) -> str:
    """As text, without the hash of the bundle, which changes with every line of the relay."""
    text = json.dumps(template, indent=1) + "\n"
    return re.sub(r"(asset\.)?\b[0-9a-f]{64}\b(\.zip)?", "BUNDLE", text)


@pytest.mark.parametrize("name", ALL)
def test_guards_and_linter_have_nothing_to_say(name: str, templates: dict[str, Synthesised]) -> None:
    made = templates[name]
    for template in made.stacks.values():
        assert guards.problems(template, made.environment) == []
        findings = cfnlint.api.lint(_for_linter(template), config=LINTER)
        assert [f"{finding.rule.id} {finding.message}" for finding in findings] == []


def _for_linter(template: Template) -> str:
    """What cfn-lint does not know yet is shown to it as what it knows, or taken out.

    To it, `Fn::GetStackOutput` is the same as `Fn::ImportValue`: a text of another stack.
    """
    template = copy.deepcopy(template)
    for _, acl in _of(template, "AWS::WAFv2::WebACL"):
        assert acl.pop("AnalyticsConfig") == {"Mode": "DISABLED"}
        for rule in acl["Rules"]:
            rule["Statement"].get("ManagedRuleGroupStatement", {}).pop("ManagedRuleGroupConfigs", None)
    for _, authorizer in _of(template, "AWS::ApiGateway::Authorizer"):
        assert (authorizer["Type"] == "JWT") == (authorizer.pop("JwtConfiguration", None) is not None)
    return re.sub(r'\{"Fn::GetStackOutput": \{[^}]*\}\}', '{"Fn::ImportValue": "name"}', json.dumps(template))


# Decisions, by property: a refactoring may rename everything and still passes, a changed decision does not.


def test_the_function_is_what_was_decided(templates: dict[str, Synthesised]) -> None:
    function = _one(relay(templates), "AWS::Lambda::Function")
    assert function["Runtime"] == f"python{target_python.VERSION}"
    assert function["Architectures"] == ["arm64"]
    assert function["MemorySize"] == EVERYTHING.memory_mb
    assert function["Timeout"] == EVERYTHING.timeout_seconds
    assert function["ReservedConcurrentExecutions"] == EVERYTHING.reserved_concurrency
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert function["LoggingConfig"]["ApplicationLogLevel"] == "DEBUG"
    assert _one(relay(templates), "AWS::Logs::LogGroup")["RetentionInDays"] == EVERYTHING.log_retention_days


def test_the_relay_finds_openai_and_the_key_where_the_configuration_says(templates: dict[str, Synthesised]) -> None:
    variables = _one(relay(templates), "AWS::Lambda::Function")["Environment"]["Variables"]
    assert variables["OPENAI_BASE_URL"] == "https://eu.api.openai.com/v1"
    assert variables["OPENAI_SECRET_ARN"] == "shared/openai"


def test_only_a_direct_invoker_may_call_past_the_url(templates: dict[str, Synthesised]) -> None:
    given = [p for _, p in _of(relay(templates), "AWS::Lambda::Permission")]
    past = {p["Principal"] for p in given if not p.get("FunctionUrlAuthType") and not p.get("InvokedViaFunctionUrl")}
    assert past == {"arn:aws:iam::123456789012:role/batch"}


def test_the_role_may_read_one_secret_write_one_log_and_use_one_table(templates: dict[str, Synthesised]) -> None:
    (policy,) = (p for _, p in _of(templates["dev"].stacks["relay"], "AWS::IAM::Policy"))
    allowed = {str(s["Action"]): s["Resource"] for s in policy["PolicyDocument"]["Statement"]}
    assert set(allowed) == {
        "['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem']",
        "['logs:CreateLogStream', 'logs:PutLogEvents']",
        "secretsmanager:GetSecretValue",
    }
    assert "*" not in json.dumps(policy)
    assert "ManagedPolicyArns" not in _one(templates["dev"].stacks["relay"], "AWS::IAM::Role")


def test_an_existing_secret_is_read_by_name_and_decrypted_with_its_own_key(templates: dict[str, Synthesised]) -> None:
    (policy,) = (p for _, p in _of(relay(templates), "AWS::IAM::Policy"))
    allowed = {str(s["Action"]): json.dumps(s["Resource"]) for s in policy["PolicyDocument"]["Statement"]}
    assert ":123456789012:secret:shared/openai-??????" in allowed["secretsmanager:GetSecretValue"]
    assert EVERYTHING.openai_secret_kms_key in json.loads(allowed["kms:Decrypt"])
    assert len(list(_of(relay(templates), "AWS::SecretsManager::Secret"))) == 1  # the edge's


@pytest.mark.parametrize("name", OWN)
def test_the_key_is_an_empty_secret_until_a_person_sets_it(name: str, templates: dict[str, Synthesised]) -> None:
    key, *_ = (secret for _, secret in _of(templates[name].stacks["relay"], "AWS::SecretsManager::Secret"))
    assert set(key) <= {"Description", "Tags"}


def test_what_is_destroyed_with_the_stack_is_the_environments_choice(templates: dict[str, Synthesised]) -> None:
    """What is kept goes all the same when the first deployment fails; but for the table, which nobody can delete."""
    for name in ALL:
        made = templates[name]
        kept = made.environment.on_destroy == "keep"
        for stack in ("relay", "edge"):
            for resource in made.stacks.get(stack, {"Resources": {}})["Resources"].values():
                if resource["Type"] in (TABLE, "AWS::Logs::LogGroup", "AWS::SecretsManager::Secret"):
                    expected = (
                        "Delete" if not kept else "Retain" if resource["Type"] == TABLE else "RetainExceptOnCreate"
                    )
                    assert resource["DeletionPolicy"] == expected
                    assert resource["UpdateReplacePolicy"] == ("Retain" if kept else "Delete")


NAMED = {
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}


@pytest.mark.parametrize("name", ALL)
def test_what_can_be_left_behind_has_a_name_that_nobody_else_gets(name: str, templates: dict[str, Synthesised]) -> None:
    """Neither a second environment, nor the next attempt after one that failed or was destroyed."""
    for template in templates[name].stacks.values():
        for resource in template["Resources"].values():
            given = resource.get("Properties", {}).get(NAMED.get(resource["Type"], ""))
            assert given is None or '{"Ref": "AWS::StackId"}' in json.dumps(given)


def test_outputs_are_what_a_person_needs_next(templates: dict[str, Synthesised]) -> None:
    outputs = {name: json.dumps(o["Value"]) for name, o in relay(templates)["Outputs"].items()}
    # What the CDK publishes for other stacks is not for people.
    told = {name for name in outputs if not name.startswith("PublishOutput")}
    assert told == {
        *("FunctionUrl", "FunctionName", "LimitsTable", "OriginSecretArn", "SetKeyCommand", "FirstRequest"),
        "CallerPolicyArn",
    }
    assert "put-secret-value --region eu-central-1 --secret-id shared/openai" in outputs["SetKeyCommand"]
    assert "aws:amz:eu-central-1:lambda" in outputs["FirstRequest"]
    assert "v1/chat/completions" in outputs["FirstRequest"]


# Mutations: each security-relevant property is taken away, and the guards must say so.

Mutation = Callable[[Template], object]


def _set(kind: str, path: str, value: object) -> Mutation:
    def mutate(template: Template) -> None:
        *parents, last = path.split(".")
        target: Any = _one(template, kind)
        for parent in parents:
            target = target[int(parent) if parent.isdigit() else parent]
        target[last] = value

    return mutate


def _drop(kind: str, name: str) -> Mutation:
    return lambda template: _one(template, kind).pop(name)


def _permission(principal: str, action: str, **changes: object) -> Mutation:
    """Change one permission's properties; None takes a property away."""

    def mutate(template: Template) -> None:
        for _, properties in _of(template, "AWS::Lambda::Permission"):
            if (properties["Principal"], properties["Action"]) == (principal, action):
                kept = {**properties, **changes}
                properties.clear()
                properties.update({name: value for name, value in kept.items() if value is not None})

    return mutate


def _statement(**changes: object) -> Mutation:
    def mutate(template: Template) -> None:
        _one(template, "AWS::IAM::Policy")["PolicyDocument"]["Statement"][0].update(changes)

    return mutate


def _add(kind: str, **properties: object) -> Mutation:
    return lambda template: template["Resources"].update(Added={"Type": kind, "Properties": properties})


CALLERS = "AWS::IAM::ManagedPolicy"
URL, FUNCTION, TABLE = "AWS::Lambda::Url", "AWS::Lambda::Function", "AWS::DynamoDB::Table"
ROLE = "arn:aws:iam::456789012345:role/path/elsewhere"
ALLOW_ALL = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "unsigned calls": (_set(URL, "AuthType", "NONE"), "AuthType is NONE"),
    "no auth type": (_drop(URL, "AuthType"), "AuthType is None"),
    "buffered answers": (_set(URL, "InvokeMode", "BUFFERED"), "InvokeMode is BUFFERED"),
    "no invoke mode": (_drop(URL, "InvokeMode"), "InvokeMode is None"),
    "CORS for all": (_set(URL, "Cors", {"AllowOrigins": ["*"]}), "Cors allows every origin"),
    "URL permission gone": (
        _permission(ROLE, "lambda:InvokeFunctionUrl", Action="x:Y"),
        "lacks lambda:InvokeFunctionUrl",
    ),
    "function permission gone": (
        _permission(ROLE, "lambda:InvokeFunction", Action="x:Y"),
        "lacks lambda:InvokeFunction ",
    ),
    "account's permission gone": (
        _permission("345678901234", "lambda:InvokeFunction", Action="x:Y"),
        "345678901234:root lacks lambda:InvokeFunction ",
    ),
    "URL permission without signature": (
        _permission(ROLE, "lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE"),
        "lacks lambda:InvokeFunctionUrl",
    ),
    "permission past the URL": (
        _permission(ROLE, "lambda:InvokeFunction", InvokedViaFunctionUrl=None),
        "may call past the URL",
    ),
    "organisation forgotten": (
        _permission("*", "lambda:InvokeFunction", PrincipalOrgID=None),
        "everybody may call",
    ),
    "organisation's permission gone": (
        _permission("*", "lambda:InvokeFunctionUrl", Action="x:Y"),
        "o-a1b2c3d4e5 lacks lambda:InvokeFunctionUrl",
    ),
    "a policy that is attached to nobody": (_drop(CALLERS, "Roles"), "role/service lacks lambda:InvokeFunctionUrl"),
    "a user without the policy": (_drop(CALLERS, "Users"), "user/somebody lacks lambda:InvokeFunctionUrl"),
    "a policy for calls past the URL": (
        _set(CALLERS, "PolicyDocument.Statement.1.Condition", {}),
        "whoever has it may call past the URL",
    ),
    "a policy for unsigned calls": (
        _set(CALLERS, "PolicyDocument.Statement.0.Condition.StringEquals", {"lambda:FunctionUrlAuthType": "NONE"}),
        "whoever has it may call past the URL",
    ),
    "permission for all": (_permission(ROLE, "lambda:InvokeFunction", Principal="*"), "everybody may call"),
    "permission for everything": (_permission(ROLE, "lambda:InvokeFunction", Action="lambda:*"), "has a wildcard"),
    "wildcard action": (_statement(Action="logs:*"), "the action logs:* has a wildcard"),
    "all but one action": (_statement(NotAction="iam:PassRole"), "NotAction"),
    "a condition that holds where there is nothing": (
        _statement(Condition={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["keys"]}}),
        "ForAllValues alone",
    ),
    "every resource": (_statement(Resource="*"), "is allowed on every resource"),
    "role for all": (
        _set("AWS::IAM::Role", "AssumeRolePolicyDocument", {"Statement": [ALLOW_ALL]}),
        "is allowed to everybody",
    ),
    "secret value": (_add("AWS::SecretsManager::Secret", SecretString="x"), "SecretString puts the value"),
    "key as text": (_set(FUNCTION, "Description", "sk-proj-0123456789abcdef"), "looks like an OpenAI key"),
    "no retention": (_drop("AWS::Logs::LogGroup", "RetentionInDays"), "RetentionInDays is missing"),
    "no log group": (_drop(FUNCTION, "LoggingConfig"), "without a LogGroup"),
    "no concurrency cap": (_drop(FUNCTION, "ReservedConcurrentExecutions"), "nothing caps"),
    "a table that costs while idle": (_set(TABLE, "BillingMode", "PROVISIONED"), "it would cost while idle"),
    "no recovery": (_drop(TABLE, "PointInTimeRecoverySpecification"), "without point-in-time recovery"),
    "no encryption": (_drop(TABLE, "SSESpecification"), "SSEEnabled is missing"),
    "no expiry": (_drop(TABLE, "TimeToLiveSpecification"), "without a time to live"),
    "a table that can be dropped": (_drop(TABLE, "DeletionProtectionEnabled"), "DeletionProtectionEnabled is missing"),
    "variables too large": (_set(FUNCTION, "Environment.Variables.X", "x" * 4096), "Lambda allows 4096 together"),
    "another wrapper": (
        _set(FUNCTION, "Environment.Variables.AWS_LAMBDA_EXEC_WRAPPER", "/opt/otel"),
        "only one wrapper",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_template_that_lost_a_protection_is_refused(name: str, templates: dict[str, Synthesised]) -> None:
    mutate, complaint = MUTATIONS[name]
    broken = copy.deepcopy(relay(templates))
    mutate(broken)
    assert broken != relay(templates)
    assert any(complaint in line for line in guards.problems(broken, EVERYTHING))


def test_losing_any_one_permission_of_an_invoker_is_noticed(templates: dict[str, Synthesised]) -> None:
    for name, permission in _of(relay(templates), "AWS::Lambda::Permission"):
        broken = copy.deepcopy(relay(templates))
        del broken["Resources"][name]
        assert bool(guards.problems(broken, EVERYTHING)) == (permission["Principal"] not in EVERYTHING.direct_invokers)


def test_a_waived_concurrency_cap_is_not_asked_for(templates: dict[str, Synthesised]) -> None:
    uncapped = copy.deepcopy(relay(templates))
    _drop(FUNCTION, "ReservedConcurrentExecutions")(uncapped)
    waiver = Waiver(rule="no-concurrency-cap", reason="a new account has ten in all")
    waived = replace(EVERYTHING, reserved_concurrency=None, waivers=(waiver,))
    assert guards.problems(uncapped, waived) == []


def test_a_finding_of_cdk_nag_without_a_reason_is_refused(tmp_path: Path) -> None:
    import aws_cdk as cdk
    from aws_cdk import aws_secretsmanager as secretsmanager

    import app

    bad = cdk.App(outdir=str(tmp_path))
    secretsmanager.Secret(cdk.Stack(cdk.Stage(bad, "stage"), "stack"), "NotRotated")
    (line,) = app.synthesise(bad, EVERYTHING)
    assert "acknowledge each on its own resource" in line
    assert "AwsSolutions-SMG4" in tmp_path.joinpath("validation-report.json").read_text()


def test_a_template_that_the_guards_refuse_is_refused(tmp_path: Path) -> None:
    import aws_cdk as cdk

    import app

    bad = cdk.App(outdir=str(tmp_path))
    stack = cdk.Stack(cdk.Stage(bad, "stage"), "stack")
    properties = {"AuthType": "NONE", "TargetFunctionArn": "arn"}
    cdk.CfnResource(stack, "Url", type="AWS::Lambda::Url", properties=properties)
    lines = app.synthesise(bad, environments.ENVIRONMENTS[0])
    assert lines[0].startswith("stage/stack")
    assert "Url: AuthType is NONE; anybody could spend; allowed: AWS_IAM" in lines[0]


# app.py as the CDK CLI runs it.


# What another machine's shell may have set: none of it may change a template.
HOSTILE = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:1"),
    **dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"), "/nowhere"),
    **{"AWS_PROFILE": "gone", "AWS_REGION": "xx-nowhere-9", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
    **{"CDK_DEFAULT_ACCOUNT": "999999999999", "CDK_DEFAULT_REGION": "xx-nowhere-9"},
    **{"PIP_INDEX_URL": "http://127.0.0.1:1", "PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_TARGET": "/nowhere"},
    **{
        "npm_config_prefix": "/nowhere",
        "npm_config_cache": "/nowhere",
        "NODE_ENV": "production",
        "NODE_PATH": "/nowhere",
    },
    **{"TZ": "America/Los_Angeles", "LANG": "C", "LC_ALL": "C", "SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"},
    **{"PYTHONPATH": "/nowhere", "PYTHONUSERBASE": "/nowhere", "PYTHONOPTIMIZE": "1"},
    **{"PYENV_VERSION": "2.7", "VIRTUAL_ENV": "/nowhere"},
}


def _start_app(environment: str, out: Path, machine: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen[str]:
    """Without credentials, without the user's settings and, where the machine lets us, without a network."""
    offline = ["unshare", "-n"] if _may_unshare() else []
    context = json.loads(ROOT.joinpath("cdk.json").read_text())["context"]
    given = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(Path.home()),  # where pyenv is
        "CDK_CONTEXT_JSON": json.dumps({**context, "env": environment}),
        "CDK_OUTDIR": str(out),
        **machine,
    }
    command = [*offline, *json.loads(ROOT.joinpath("cdk.json").read_text())["app"].split()]
    return subprocess.Popen(command, cwd=ROOT, env=given, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _may_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


@pytest.mark.usefixtures("bundle")
def test_synth_is_deterministic_offline_without_credentials_and_on_every_machine(tmp_path: Path) -> None:
    machines = {"first": {}, "second": HOSTILE}
    for run in [_start_app("prod", tmp_path / out, machine) for out, machine in machines.items()]:
        _, errors = run.communicate()
        assert run.returncode == 0, errors
    assert _contents(tmp_path / "first") == _contents(tmp_path / "second")
    warned = _start_app("prod", tmp_path / "third", {"CDK_CLI_VERSION": "2.1148.1"})
    warned.communicate()
    assert warned.returncode == 0
    assert _contents(tmp_path / "third") == _contents(tmp_path / "first"), "a warning changes nothing"
    everything = "".join(p.read_text() for p in (tmp_path / "first").rglob("*.json") if "asset." not in str(p))
    assert str(ROOT) not in everything


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_unknown_environment_is_one_line_and_a_failure(tmp_path: Path) -> None:
    run = _start_app("foo", tmp_path / "out")
    _, errors = run.communicate()
    assert run.returncode == 1
    assert [line for line in errors.splitlines() if not line.startswith("b'!!")] == [
        'error: unknown environment "foo"; known: dev, staging, prod'
    ]


def relay(templates: dict[str, Synthesised]) -> Template:
    return templates[EVERYTHING.name].stacks["relay"]


def _of(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, r["Properties"]) for name, r in template["Resources"].items() if r["Type"] == kind)


def _one(template: Template, kind: str) -> dict[str, Any]:
    (found,) = (properties for _, properties in _of(template, kind))
    return found
