"""Who may deploy: the roles of the pipelines as a template, pinned, asserted and looked at by the linters."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cfnlint.api
import pytest

from cdk_app import environments
from cdk_app.checks import guards
from cdk_app.config.environment import ConfigurationError, Environment
from cdk_app.pipelines.repository import PIPELINE, Pipeline, check
from tests.support.synthesis import EVERYTHING, ROOT

Template = dict[str, Any]
ACCEPTED = Path(__file__).parent.parent.parent / "snapshots" / "pipelines" / "roles.json"
ELSEWHERE = replace(EVERYTHING, name="elsewhere", region=None, edge="off")
OURS = Pipeline(repository="octo-org@123456/octo-repo@456789")


def synthesise(pipeline: Pipeline, chosen: list[Environment], out: Path) -> Template:
    # Here and not above: importing the CDK starts Node, in every process that only collects tests.
    import aws_cdk as cdk

    import app as entry
    from cdk_app.pipelines.roles import PipelineRoles

    context = json.loads(ROOT.joinpath("cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(out))
    PipelineRoles(app, "pipelines", pipeline=pipeline, environments=chosen)
    assert entry.synthesise(app, chosen[0]) == []
    template: Template = json.loads(out.joinpath("pipelines.template.json").read_text())
    return template


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesise(OURS, [EVERYTHING, ELSEWHERE], tmp_path_factory.mktemp("created"))


def _roles(template: Template) -> dict[str, dict[str, Any]]:
    roles = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Role"]
    return {role["RoleName"].removeprefix("openai-lambda-relay-deploy-"): role for role in roles}


def test_template_is_as_it_was_accepted(template: Template, request: pytest.FixtureRequest) -> None:
    made = json.dumps(template, indent=1) + "\n"
    if request.config.getoption("--accept-snapshots"):
        ACCEPTED.parent.mkdir(exist_ok=True)
        ACCEPTED.write_text(made)
    assert made == ACCEPTED.read_text(), "the template has changed; if that is what you want: make snapshots"


def test_guards_and_linter_have_nothing_to_say(template: Template) -> None:
    # cdk-nag has been asked when the template was made.
    assert guards.problems(template, EVERYTHING) == []
    findings = cfnlint.api.lint(json.dumps(template), config=cfnlint.api.ManualArgs())
    assert [f"{finding.rule.id} {finding.message}" for finding in findings] == []


def test_a_role_is_for_one_environment_of_one_repository(template: Template) -> None:
    assert set(_roles(template)) == {"everything", "elsewhere"}
    for environment, role in _roles(template).items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert list(trust["Principal"]) == ["Federated"]
        assert trust["Condition"] == {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": (
                    f"repo:octo-org@123456/octo-repo@456789:environment:{environment}"
                ),
            }
        }


def test_a_role_may_become_the_bootstrap_roles_of_its_regions_and_nothing_else(template: Template) -> None:
    policies = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::IAM::Policy"]
    assert len(policies) == 2
    allowed = {}
    for policy in policies:
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
        arns = [json.dumps(arn) for arn in statement["Resource"]]
        assert all("role/cdk-hnb659fds-" in arn and "*" not in arn for arn in arns)
        regions = {next((r for r in ("eu-central-1", "us-east-1") if r in arn), "the stack's") for arn in arns}
        kinds = {kind for kind in ("deploy", "file-publishing", "lookup", "cfn-exec") for arn in arns if kind in arn}
        allowed[next(name for name in ("everything", "elsewhere") if name in str(policy["Roles"]))] = regions, kinds
        assert "ManagedPolicyArns" not in str(template)
    kinds = {"deploy", "file-publishing", "lookup"}
    assert allowed == {"everything": ({"eu-central-1", "us-east-1"}, kinds), "elsewhere": ({"the stack's"}, kinds)}


def test_githubs_provider_is_taken_when_the_account_has_it(template: Template, tmp_path: Path) -> None:
    assert "AWS::IAM::OIDCProvider" in str(template)
    taken = synthesise(replace(OURS, provider="exists"), [EVERYTHING], tmp_path)
    assert "AWS::IAM::OIDCProvider" not in str(taken)
    (trust,) = _roles(taken)["everything"]["AssumeRolePolicyDocument"]["Statement"]
    assert ":iam::123456789012:oidc-provider/token.actions.githubusercontent.com" in str(trust["Principal"])


def test_every_environment_of_ours_gets_a_role(tmp_path: Path) -> None:
    template = synthesise(replace(OURS, repository="octo-org/octo-repo"), list(environments.ENVIRONMENTS), tmp_path)
    assert set(_roles(template)) == {environment.name for environment in environments.ENVIRONMENTS}
    assert "repo:octo-org/octo-repo:environment:" in str(template)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"repository": "octo-org"}, "repository is 'octo-org'"),
        ({"repository": "octo-org/*"}, "repository is 'octo-org/\\*'"),
        ({"repository": "octo-org@1/octo-repo"}, "repository is"),
        ({"repository": "octo-org/octo-repo:environment"}, "repository is"),
        ({"repository": "octo-org/."}, "repository is"),
        ({"repository": "octo-org@1/..@2"}, "repository is"),
        ({"repository": "-octo/repo"}, "repository is"),
        ({"repository": ".octo/repo"}, "repository is"),
        ({"repository": "octo.org/repo"}, "repository is"),
        ({"repository": "octo-org/répo"}, "repository is"),
        ({"repository": "octo-org/repo name"}, "repository is"),
        ({"repository": "octo-org/re/po"}, "repository is"),
        ({"repository": f"octo-org/{'r' * 101}"}, "repository is"),
        ({"repository": "octo-org/repo\n"}, "repository is"),
        ({"provider": "maybe"}, "provider is 'maybe'; allowed: 'create' or 'exists'"),
        ({"qualifier": "*"}, "qualifier is"),
    ],
)
def test_a_value_that_would_trust_others_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        check(replace(OURS, **changes))


@pytest.mark.parametrize("owner", ["octo-org", "octocat", "0cto", "name_acme", "a"])
@pytest.mark.parametrize(
    "name", [".github", ".github-private", "_infra", "-dash", "a.b", "...", "..x", "repo", "R_e-p.o9"]
)
def test_every_name_that_github_gives_is_taken(owner: str, name: str) -> None:
    check(replace(OURS, repository=f"{owner}/{name}"))
    check(replace(OURS, repository=f"{owner}@1/{name}@2"))


@pytest.mark.skipif(PIPELINE.repository != "OWNER/REPOSITORY", reason="the repository has been named")
def test_until_the_repository_is_named_nobody_is_trusted(tmp_path: Path) -> None:
    environ = {"CDK_OUTDIR": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"}
    command = [sys.executable, "pipeline_app.py"]
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "error: repository is 'OWNER/REPOSITORY'" in ran.stderr
    assert not tmp_path.joinpath("manifest.json").exists()
