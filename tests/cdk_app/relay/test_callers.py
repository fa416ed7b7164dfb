"""Who may call: by the managed policy in the relay's own account, by a statement on the function from elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.checks import guards
from cdk_app.config import principals
from cdk_app.config.principals import Kind
from tests.support.synthesis import EVERYTHING, ROOT, Synthesised

Template = dict[str, Any]
OWN = [environment.name for environment in environments.ENVIRONMENTS]
SIGNED = {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}
THROUGH_THE_URL = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}


def of(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def permissions(template: Template) -> dict[str, dict[str, dict[str, Any]]]:
    """principal -> action -> permission. An organisation goes by its id."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for permission in of(template, "AWS::Lambda::Permission").values():
        who = permission.get("PrincipalOrgID") or json.dumps(permission["Principal"]).strip('"')
        found.setdefault(who, {})[permission["Action"]] = permission
    return found


@pytest.fixture
def template(templates: dict[str, Synthesised]) -> Template:
    return templates[EVERYTHING.name].stacks["relay"]


def test_the_policy_allows_signed_calls_through_the_url_and_nothing_else(template: Template) -> None:
    (policy,) = of(template, "AWS::IAM::ManagedPolicy").values()
    (function,) = of(template, "AWS::Lambda::Function")
    arn = {"Fn::GetAtt": [function, "Arn"]}
    assert policy["PolicyDocument"]["Statement"] == [
        {"Action": "lambda:InvokeFunctionUrl", "Condition": SIGNED, "Effect": "Allow", "Resource": arn},
        {"Action": "lambda:InvokeFunction", "Condition": THROUGH_THE_URL, "Effect": "Allow", "Resource": arn},
    ]
    assert "ManagedPolicyName" not in policy, "a name of its own would be in the way of a second deployment"


@pytest.mark.parametrize("name", [*OWN, EVERYTHING.name])
def test_the_policy_is_named_in_the_outputs(name: str, templates: dict[str, Synthesised]) -> None:
    relay = templates[name].stacks["relay"]
    (policy,) = of(relay, "AWS::IAM::ManagedPolicy")
    assert relay["Outputs"]["CallerPolicyArn"]["Value"] == {"Ref": policy}


def test_roles_and_users_of_the_own_account_get_the_policy_and_no_statement(template: Template) -> None:
    (policy,) = of(template, "AWS::IAM::ManagedPolicy").values()
    assert (policy["Roles"], policy["Users"]) == (["service"], ["somebody"])
    given = permissions(template)
    assert not {"arn:aws:iam::123456789012:role/service", "arn:aws:iam::123456789012:user/somebody"} & given.keys()
    # The account's own policies decide without a statement.
    assert "123456789012" not in given


def test_who_is_elsewhere_gets_both_permissions_and_only_through_the_url(template: Template) -> None:
    given = permissions(template)
    elsewhere = {"210987654321", "345678901234", "arn:aws:iam::456789012345:role/path/elsewhere", "o-a1b2c3d4e5"}
    # Nobody but Identity Center may attach a policy to its roles.
    elsewhere |= {invoker for invoker in EVERYTHING.invokers if "aws-reserved" in invoker}
    assert given.keys() == elsewhere | set(EVERYTHING.direct_invokers)
    for who in elsewhere:
        assert given[who].keys() == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
        assert given[who]["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "AWS_IAM"
        assert given[who]["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True


def test_an_organisation_is_everybody_in_it_and_nobody_else(template: Template) -> None:
    for permission in permissions(template)["o-a1b2c3d4e5"].values():
        assert (permission["Principal"], permission["PrincipalOrgID"]) == ("*", "o-a1b2c3d4e5")


@pytest.mark.parametrize("name", OWN)
def test_nobody_may_call_until_somebody_is_named(name: str, templates: dict[str, Synthesised]) -> None:
    relay = templates[name].stacks["relay"]
    assert templates[name].environment.invokers == ()
    assert permissions(relay) == {}
    (policy,) = of(relay, "AWS::IAM::ManagedPolicy").values()
    assert not {"Roles", "Users", "Groups"} & policy.keys()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("123456789012", Kind.ACCOUNT),
        ("arn:aws:iam::123456789012:root", Kind.ACCOUNT),
        ("arn:aws-cn:iam::123456789012:role/a/b", Kind.IDENTITY),
        ("arn:aws:iam::123456789012:user/a@b", Kind.IDENTITY),
        ("o-a1b2c3d4e5", Kind.ORGANISATION),
        ("${Token[TOKEN.123]}", Kind.REFERENCE),
        ("${Token[Role.Arn.12]}", Kind.REFERENCE),
        ("o-A1b2c3d4e5", None),
        ("o-a1b2c3d4e", None),
        ("*", None),
        ("arn:aws:iam::123456789012:role/*", None),
        ("arn:aws:iam::123456789012:group/a", None),
        ("arn:aws:sts::123456789012:assumed-role/a/b", None),
        (123456789012, None),
    ],
)
def test_kinds_of_principals(text: object, kind: Kind | None) -> None:
    assert principals.kind(text) is kind


def test_who_may_call_past_the_url_is_never_an_organisation() -> None:
    allowed = (Kind.IDENTITY, Kind.ACCOUNT, Kind.REFERENCE)
    (line,) = principals.problems("direct_invokers", ("o-a1b2c3d4e5",), allowed)
    assert line.startswith("direct_invokers[0] is 'o-a1b2c3d4e5'; allowed: the IAM ARN of a role or user")
    assert "organisation" not in line


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    """Sixty callers by ARN, one role of the same app as a token, and one that is let in afterwards."""
    import aws_cdk as cdk
    from aws_cdk import aws_iam as iam

    from cdk_app.config.check import check
    from cdk_app.relay.stack import RelayStack

    folder = tmp_path_factory.mktemp("library")
    folder.joinpath("bundle").mkdir()
    folder.joinpath("bundle", "bootstrap").write_text("#!/bin/sh\n")
    context = json.loads(ROOT.joinpath("cdk.json").read_text())["context"]
    app = cdk.App(outdir=str(folder / "cdk.out"), context=context)
    stage = cdk.Stage(app, "stage", env=cdk.Environment(account=EVERYTHING.account, region=EVERYTHING.region))
    trust = iam.ServicePrincipal("lambda.amazonaws.com")
    named = iam.Role(cdk.Stack(stage, "before"), "Named", assumed_by=trust)
    later = iam.Role(cdk.Stack(stage, "after"), "Later", assumed_by=trust)
    sixty = tuple(f"arn:aws:iam::123456789012:role/teams/team-{number}" for number in range(60))
    environment = replace(EVERYTHING, invokers=(named.role_arn, *sixty))
    check(environment)
    relay = RelayStack(stage, "relay", environment=environment, bundle=folder / "bundle")
    relay.grant_call(later)
    made = {stack.stack_name: stack.template for stack in stage.synth().stacks}
    assert guards.problems(made["openai-lambda-relay-everything"], environment) == []
    return made


def test_sixty_callers_of_the_account_take_no_room_in_the_functions_policy(library: dict[str, Template]) -> None:
    relay = library["openai-lambda-relay-everything"]
    (policy,) = of(relay, "AWS::IAM::ManagedPolicy").values()
    assert policy["Roles"] == [f"team-{number}" for number in range(60)]
    assert len(of(relay, "AWS::Lambda::Permission")) == 2 + len(EVERYTHING.direct_invokers)


def test_a_role_of_the_same_app_may_be_a_token(library: dict[str, Template]) -> None:
    relay = library["openai-lambda-relay-everything"]
    (mine,) = (by_action for who, by_action in permissions(relay).items() if "stage-before" in who)
    assert mine["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "AWS_IAM"
    assert mine["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True


def test_a_role_of_the_same_app_can_be_let_in_afterwards(library: dict[str, Template]) -> None:
    (policy,) = of(library["stage-after"], "AWS::IAM::Policy").values()
    statements = {one["Action"]: one for one in policy["PolicyDocument"]["Statement"]}
    assert statements.keys() == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    assert statements["lambda:InvokeFunctionUrl"]["Condition"] == SIGNED
    assert statements["lambda:InvokeFunction"]["Condition"] == THROUGH_THE_URL
    assert all("openai-lambda-relay-everything" in json.dumps(one["Resource"]) for one in statements.values())
