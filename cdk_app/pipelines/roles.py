"""The roles with which GitHub Actions deploys: one for each environment of an account, and whom GitHub vouches for.

A role is given to a job of this repository that runs in the GitHub environment of the same name, after whoever has to
approve has approved. It can do one thing: become the roles that `cdk bootstrap` made in the environment's regions.
What those may do was decided then: by default CloudFormation's may do everything, so a job that deploys can too.
Sources: docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws,
docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_app.config import names
from cdk_app.config.environment import Environment
from cdk_app.pipelines.repository import Pipeline

ISSUER = "token.actions.githubusercontent.com"
# aws-actions/configure-aws-credentials asks GitHub for a token for this audience.
AUDIENCE = "sts.amazonaws.com"
# Of the five that bootstrapping makes: not `image-publishing`, because there are no images, and not `cfn-exec`, which
# only CloudFormation becomes. `lookup` is for `cdk diff`, which reads what is deployed.
BOOTSTRAP_ROLES = ("deploy", "file-publishing", "lookup")


class PipelineRoles(cdk.Stack):
    """`environments` have to be of one account, the stack's own."""

    def __init__(self, scope: Construct, id: str, *, pipeline: Pipeline, environments: Sequence[Environment]) -> None:
        super().__init__(
            scope,
            id,
            stack_name=names.PIPELINES_STACK,
            description="Roles with which GitHub Actions deploys the relay",
            env=cdk.Environment(account=environments[0].account),
            # Whoever deploys this stack does so with rights of their own: what it is for needs no bootstrapping.
            synthesizer=cdk.BootstraplessSynthesizer(),
        )
        provider = f"arn:{self.partition}:iam::{self.account}:oidc-provider/{ISSUER}"
        if pipeline.provider == "create":
            created = iam.OidcProviderNative(self, "GitHub", url=f"https://{ISSUER}", client_ids=[AUDIENCE])
            provider = created.oidc_provider_arn
        for environment in environments:
            role = iam.Role(
                self,
                f"Deploy-{environment.name}",
                role_name=names.deploy_role(environment.name),
                description=f"GitHub Actions of {pipeline.repository}, environment {environment.name}",
                assumed_by=_jobs_of(pipeline, environment, provider),
            )
            role.add_to_policy(
                iam.PolicyStatement(
                    actions=["sts:AssumeRole"], resources=list(self._bootstrap_roles(pipeline, environment))
                )
            )
            cdk.CfnOutput(
                self,
                f"RoleOf{environment.name.replace('-', '')}",
                description=f"AWS_DEPLOY_ROLE_ARN of the GitHub environment {environment.name}",
                value=role.role_arn,
            )
        cdk.Tags.of(self).add("application", names.PROJECT)

    def _bootstrap_roles(self, pipeline: Pipeline, environment: Environment) -> Iterator[str]:
        home = environment.region or self.region
        for region in (home,) if environment.edge == "off" or home == names.EDGE_REGION else (home, names.EDGE_REGION):
            for role in BOOTSTRAP_ROLES:
                name = f"cdk-{pipeline.qualifier}-{role}-role-{self.account}-{region}"
                yield f"arn:{self.partition}:iam::{self.account}:role/{name}"


def _jobs_of(pipeline: Pipeline, environment: Environment, provider: str) -> iam.WebIdentityPrincipal:
    subject = f"repo:{pipeline.repository}:environment:{environment.name}"
    return iam.WebIdentityPrincipal(provider, {"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}})
