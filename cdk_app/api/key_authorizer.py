"""The function that judges keys: its code, its role and its log. Knows neither the API nor what the role may read."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

SOURCE = Path(__file__).resolve().parent.parent.parent / "authorizer_src"
HANDLER = "authorizer.handler.handle"


class KeyAuthorizer(Construct):
    """`function` for the API, `role` for the stack's grant. Plain Python with the runtime's own boto3."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        table_name: str,
        python: str,
        concurrency: int | None,
        log_retention_days: int,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        log_group = logs.LogGroup(self, "Logs", removal_policy=removal_policy)
        resource = log_group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        resource.retention_in_days = log_retention_days
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            description="Judges keys for the relay's API",
            runtime=lambda_.Runtime(f"python{python}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_asset(str(SOURCE), exclude=["**/__pycache__", "**/*.pyc", "**/.*"]),
            handler=HANDLER,
            environment={"TABLE_NAME": table_name},
            role=self.role,
            memory_size=256,
            timeout=cdk.Duration.seconds(10),
            reserved_concurrent_executions=concurrency,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
        )
        cdk.Validations.of(self.function).acknowledge(
            cdk.Acknowledgment(id="AwsSolutions-L1", reason=f"Python {python} is the version that the relay runs on")
        )
