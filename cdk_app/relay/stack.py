"""The relay's stack: its resources, every permission on them, and outputs with the next commands. Details: constructs."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_app import removal
from cdk_app.api.door import ApiDoor
from cdk_app.bundle import target_python
from cdk_app.bundle.build import digest
from cdk_app.config import names
from cdk_app.config.environment import Environment
from cdk_app.relay import settings
from cdk_app.relay.callers import Callers, principal
from cdk_app.relay.function import RelayFunction
from cdk_app.relay.limits_table import Limits
from cdk_app.relay.openai_key import OpenAIKey
from cdk_app.relay.origin_secret import OriginSecret


class RelayStack(cdk.Stack):
    def __init__(self, scope: Construct, id: str, *, environment: Environment, bundle: Path) -> None:
        super().__init__(
            scope,
            id,
            stack_name=names.relay_stack(environment.name),
            description=f"Streams OpenAI responses to IAM callers ({environment.name})",
        )
        removal_policy = removal.policy(environment)

        key = OpenAIKey(
            self,
            "OpenAIKey",
            existing=environment.openai_secret,
            existing_kms_key=environment.openai_secret_kms_key,
            removal_policy=removal_policy,
        )
        limits = Limits(self, "Limits", removal_policy=removal.of_the_table(environment))
        self.origin_secret = None
        if environment.edge != "off":
            self.origin_secret = OriginSecret(
                self,
                "OriginSecret",
                replicate_to=names.EDGE_REGION if environment.region != names.EDGE_REGION else None,
                removal_policy=removal_policy,
            )
        api = None
        if environment.api is not None:
            api = ApiDoor(
                self,
                "Api",
                name=names.api(environment.name),
                options=environment.api,
                table_name=limits.table_name,
                python=target_python.VERSION,
                reserves_concurrency=environment.reserved_concurrency is not None,
                log_retention_days=environment.log_retention_days,
                removal_policy=removal_policy,
            )
        relay = RelayFunction(
            self,
            "Relay",
            # A hash of our own: the CDK's covers no file modes, and without the +x of `bootstrap` nothing starts.
            code=lambda_.Code.from_asset(str(bundle), asset_hash=digest(bundle)),
            environment={
                "OPENAI_SECRET_ARN": key.secret_id,
                "TABLE_NAME": limits.table_name,
                **({"EDGE_SECRET_ARN": self.origin_secret.arn} if self.origin_secret else {}),
                **(api.settings if api else {}),
                **settings.of(environment),
            },
            memory_mb=environment.memory_mb,
            timeout=cdk.Duration.seconds(environment.timeout_seconds),
            reserved_concurrency=environment.reserved_concurrency,
            log_level=environment.log_level,
            log_retention_days=environment.log_retention_days,
            removal_policy=removal_policy,
        )

        self.url = relay.url.url
        self.function_name = relay.function.function_name
        self.function_arn = relay.function.function_arn
        self.table_name, self.table_arn = limits.table_name, limits.table_arn
        self.log_group_name = relay.log_group.log_group_name
        self._grant(environment, key, limits, relay)
        self._outputs(environment, key, limits, relay)
        if api is not None:
            api.serve(relay.function)
            if api.key_role is not None:
                limits.grant_keys(api.key_role)
            api.outputs(self)
        cdk.Tags.of(self).add("application", names.PROJECT)
        cdk.Tags.of(self).add("environment", environment.name)

    def _grant(self, environment: Environment, key: OpenAIKey, limits: Limits, relay: RelayFunction) -> None:
        """Every permission there is, but for the function's right to write its own log."""
        key.grant_read(relay.role)
        limits.grant_use(relay.role)
        if self.origin_secret is not None:
            self.origin_secret.grant_read(relay.role)
        self._callers = Callers(
            self,
            "Callers",
            function=relay.function,
            url=relay.url,
            account=environment.account,
            invokers=environment.invokers,
        )
        for invoker in environment.direct_invokers:
            relay.function.grant_invoke(principal(invoker))

    def grant_call(self, grantee: iam.IGrantable) -> None:
        """Lets a role, user or function of the same app call the relay, by a policy of its own."""
        for statement in self._callers.statements():
            grantee.grant_principal.add_to_principal_policy(statement)

    def _outputs(self, environment: Environment, key: OpenAIKey, limits: Limits, relay: RelayFunction) -> None:
        """The names that operators need, and the two commands that come next, ready to paste."""
        # Without the slash at its end, so that "$URL/v1/..." is the path that was signed.
        url = f"https://{cdk.Fn.select(2, cdk.Fn.split('/', relay.url.url))}"
        cdk.CfnOutput(self, "FunctionUrl", value=url)
        cdk.CfnOutput(self, "FunctionName", value=relay.function.function_name)
        cdk.CfnOutput(
            self,
            "CallerPolicyArn",
            description="Attach it to roles, users, groups or permission sets of this account that shall call",
            value=self._callers.policy.managed_policy_arn,
        )
        cdk.CfnOutput(self, "LimitsTable", description="For `python -m operate`", value=limits.table_name)
        if self.origin_secret is not None:
            cdk.CfnOutput(self, "OriginSecretArn", value=self.origin_secret.arn)
        cdk.CfnOutput(
            self,
            "SetKeyCommand",
            description="Stores the key of your shell in Secrets Manager",
            value=f"aws secretsmanager put-secret-value --region {self.region} --secret-id {key.secret_id} "
            '--secret-string "$OPENAI_API_KEY"',
        )
        if environment.edge == "required":
            return  # the first request goes through the edge; the edge's stack has that output
        cdk.CfnOutput(
            self,
            "FirstRequest",
            description="Signs with the credentials of your shell (aws configure export-credentials --format env)",
            value=f'curl -N {url}/v1/chat/completions --aws-sigv4 "aws:amz:{self.region}:lambda" '
            '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
            # An IAM user's keys have no token, and an empty header would be signed but not sent. No blank behind -H:
            # zsh does not split what is expanded.
            """${AWS_SESSION_TOKEN:+-H"x-amz-security-token: $AWS_SESSION_TOKEN"} """
            "-H 'content-type: application/json' "
            """-d '{"model":"gpt-6-luna","stream":true,"messages":[{"role":"user","content":"Hello"}]}'""",
        )
