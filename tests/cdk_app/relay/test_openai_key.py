"""Which secrets the relay may read, for each way of naming one that exists. Secrets Manager adds "-" and six characters."""

from __future__ import annotations

from typing import Any

import pytest

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"
# as it is configured -> what the policy names
NAMED: dict[str, list[str]] = {
    "team/openai": [f"{ARN}team/openai-??????"],
    f"{ARN}openai": [f"{ARN}openai-??????"],
    f"{ARN}team/openai-key": [f"{ARN}team/openai-key-??????"],
    # Complete, or without its end: a name may end like that as well.
    f"{ARN}openai-AbCdEf": [f"{ARN}openai-AbCdEf", f"{ARN}openai-AbCdEf-??????"],
    f"{ARN}my-secret": [f"{ARN}my-secret", f"{ARN}my-secret-??????"],
}


@pytest.fixture(scope="module")
def granted() -> dict[str, list[str]]:
    # Here and not above: importing the CDK starts Node, in every process that only collects tests.
    import aws_cdk as cdk
    from aws_cdk import aws_iam as iam

    from cdk_app.relay.openai_key import OpenAIKey

    app = cdk.App()
    account = cdk.Environment(account="123456789012", region="eu-central-1")
    stacks = {}
    for number, existing in enumerate(NAMED):
        stack = stacks[existing] = cdk.Stack(app, f"stack{number}", env=account)
        key = OpenAIKey(
            stack, "Key", existing=existing, existing_kms_key=None, removal_policy=cdk.RemovalPolicy.DESTROY
        )
        assert key.secret_id == existing
        key.grant_read(iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))
    assembly = app.synth()
    return {name: _resources(assembly.get_stack_by_name(stack.stack_name).template) for name, stack in stacks.items()}


def _resources(template: dict[str, Any]) -> list[str]:
    (policy,) = (r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Policy")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    named = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
    return ["".join(_text(part) for part in n["Fn::Join"][1]) if isinstance(n, dict) else n for n in named]


def _text(part: Any) -> str:
    return part if isinstance(part, str) else "aws"


@pytest.mark.parametrize("existing", NAMED)
def test_the_role_may_read_the_secret_however_it_is_named(existing: str, granted: dict[str, list[str]]) -> None:
    assert granted[existing] == NAMED[existing]
