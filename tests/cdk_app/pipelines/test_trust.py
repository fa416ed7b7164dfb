"""The pipelines' roles where IAM is enforced: MiniStack's, bootstrapped by the real CDK CLI. Who gets one, and for what.

MiniStack knows no `AWS::IAM::OIDCProvider` and does not verify GitHub's signature; it does judge what a token says.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from emulator.local_deploy.ministack_account import REGION, MiniStackAccount
from emulator.signing.identities import ACCOUNT
from tests.cdk_app.pipelines.test_roles import OURS, synthesise
from tests.support.synthesis import EVERYTHING, ROOT

HERE = replace(EVERYTHING, name="here", account=ACCOUNT, region=REGION)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/openai-lambda-relay-deploy-here"
SUBJECT = f"repo:{OURS.repository}:environment:here"
BOOTSTRAPPED = f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-{{}}-role-{ACCOUNT}-{REGION}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStackAccount]:
    """An account after `cdk bootstrap` and `make deploy-roles`."""
    folder = tmp_path_factory.mktemp("roles")
    template = synthesise(replace(OURS, provider="exists"), [HERE], folder)
    with MiniStackAccount() as cloud:
        output = _bootstrap(cloud, folder)
        # As `make bootstrap ENV=prod` does it: whatever regions the environment's stacks are in.
        for region in ("eu-central-1", "us-east-1"):
            assert f"aws://{ACCOUNT}/{region} bootstrapped" in output
        formation = cloud.client("cloudformation")
        named = ["CAPABILITY_NAMED_IAM"]
        formation.create_stack(StackName="roles", TemplateBody=json.dumps(template), Capabilities=named)
        formation.get_waiter("stack_create_complete").wait(StackName="roles", WaiterConfig={"Delay": 1})
        yield cloud


def _bootstrap(cloud: MiniStackAccount, folder: Path) -> str:
    """What the CLI prints. It is called by hand, so it is cdk.json that finds the Python for the app."""
    theirs = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    command = [
        str(ROOT / "node_modules" / ".bin" / "cdk"),
        "bootstrap",
        "--no-notices",
        "--ci",
        *("--output", str(folder / "bootstrap.out"), "-c", "env=prod"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env={**theirs, **cloud.environment()}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def _token(*, subject: str = SUBJECT, audience: str = "sts.amazonaws.com") -> str:
    said = {"iss": "https://token.actions.githubusercontent.com", "aud": audience, "sub": subject, "exp": 4_000_000_000}
    parts = ({"alg": "RS256", "typ": "JWT"}, said, "signature")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def _as_a_job(cloud: MiniStackAccount, token: str) -> dict[str, str]:
    sts = cloud.client("sts")
    made = sts.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="job", WebIdentityToken=token)["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


def _refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
    return False


@pytest.mark.parametrize(
    "token",
    [
        _token(subject=f"repo:{OURS.repository}:environment:prod"),
        _token(subject=f"repo:{OURS.repository}:ref:refs/heads/main"),
        _token(subject=f"repo:{OURS.repository}:pull_request"),
        _token(subject="repo:octo-org/octo-repo:environment:here"),
        _token(subject="repo:octo-org@123456/octo-repo@456780:environment:here"),
        _token(subject=f"{SUBJECT}x"),
        _token(audience="https://github.com/octo-org"),
    ],
    ids=["another environment", "a branch", "a pull request", "the name alone", "a namesake", "longer", "for others"],
)
def test_whoever_is_not_a_job_of_the_environment_gets_no_role(cloud: MiniStackAccount, token: str) -> None:
    assert _refused(lambda: _as_a_job(cloud, token))


def test_a_job_of_the_environment_can_become_what_deploys_and_do_nothing_by_itself(cloud: MiniStackAccount) -> None:
    job = _as_a_job(cloud, _token())
    sts = cloud.client("sts", job)
    for role in ("deploy", "file-publishing", "lookup"):
        assert sts.assume_role(RoleArn=BOOTSTRAPPED.format(role), RoleSessionName="cdk")["Credentials"]
    assert _refused(lambda: sts.assume_role(RoleArn=BOOTSTRAPPED.format("image-publishing"), RoleSessionName="cdk"))
    assert _refused(lambda: sts.assume_role(RoleArn=BOOTSTRAPPED.format("cfn-exec"), RoleSessionName="cdk"))
    assert _refused(cloud.client("cloudformation", job).describe_stacks)
    assert _refused(cloud.client("secretsmanager", job).list_secrets)
    assert _refused(cloud.client("lambda", job).list_functions)
