"""The function that relays, its role, its logs and its URL. Knows nothing of who may call it or what it may read."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk_app.bundle import target_python
from cdk_app.bundle.build import EXEC_WRAPPER


class RelayFunction(Construct):
    """`function`, `log_group`, `role` for the stack's grants, and `url`: signed requests only, streamed responses."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        code: lambda_.Code,
        environment: Mapping[str, str],
        memory_mb: int,
        timeout: cdk.Duration,
        reserved_concurrency: int | None,
        log_level: str,
        log_retention_days: int,
        removal_policy: cdk.RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        log_group = self.log_group = logs.LogGroup(self, "Logs", removal_policy=removal_policy)
        # The construct takes names such as THIRTEEN_MONTHS; the resource takes the days that people configure.
        resource = log_group.node.default_child
        assert isinstance(resource, logs.CfnLogGroup)
        resource.retention_in_days = log_retention_days
        # Instead of the managed policy, which may write to every log group of the account.
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            description="Relays signed requests to OpenAI and streams the responses",
            runtime=lambda_.Runtime(f"python{target_python.VERSION}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64,
            code=code,
            handler="relay.__main__",  # required, and ignored: the wrapper decides what runs
            environment={"AWS_LAMBDA_EXEC_WRAPPER": EXEC_WRAPPER, **environment},
            role=self.role,
            memory_size=memory_mb,
            timeout=timeout,
            reserved_concurrent_executions=reserved_concurrency,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel[log_level],
            # INFO keeps platform.report, the line with duration and memory of each invocation.
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
        )
        cdk.Validations.of(self.function).acknowledge(
            cdk.Acknowledgment(
                id="AwsSolutions-L1",
                reason=f"Python {target_python.VERSION} is the newest version that the tests run the bundle on",
            )
        )
        self.url = self.function.add_function_url(
            auth_type=lambda_.FunctionUrlAuthType.AWS_IAM,
            invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM,
        )
