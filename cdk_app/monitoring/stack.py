"""The monitoring stack: dashboard, alarms and, when asked for, the kill switch. Only the switch changes the relay."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from cdk_app.config import names
from cdk_app.config.environment import Environment
from cdk_app.monitoring.alarms import Alarms
from cdk_app.monitoring.dashboard import Dashboard, EdgeMetrics
from cdk_app.monitoring.kill_switch import KillSwitch


class MonitoringStack(cdk.Stack):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        function_name: str,
        function_arn: str,
        log_group_name: str,
        edge: EdgeMetrics | None,
    ) -> None:
        name = names.relay_stack(environment.name)
        super().__init__(
            scope,
            id,
            stack_name=names.monitoring_stack(environment.name),
            description=f"Dashboard and alarms of the relay ({environment.name})",
        )
        callers = environment.callers
        alarms = Alarms(
            self,
            "Alarms",
            name=name,
            function_name=function_name,
            options=environment.alarms,
            warns=any(terms.warn_at is not None for terms in callers.terms),
        )
        Dashboard(
            self,
            "Dashboard",
            name=name,
            function_name=function_name,
            log_group_name=log_group_name,
            concurrency_cap=environment.reserved_concurrency,
            alarms=alarms.all,
            groups=sorted(callers.groups),
            labels=sorted({name for terms in callers.terms for name in terms.labels}),
            edge=edge,
        )
        cdk.CfnOutput(self, "AlarmTopic", value=alarms.topic.topic_arn)
        if alarms.stop is not None:
            KillSwitch(self, "KillSwitch", alarm=alarms.stop, function_name=function_name, function_arn=function_arn)
            cdk.CfnOutput(
                self,
                "ResumeCommand",
                description="Resumes the relay after the kill switch has stopped it",
                value=_resume(self.region, function_name, environment.reserved_concurrency),
            )
        cdk.Tags.of(self).add("application", names.PROJECT)
        cdk.Tags.of(self).add("environment", environment.name)


def _resume(region: str, function_name: str, cap: int | None) -> str:
    where = f"--region {region} --function-name {function_name}"
    if cap is None:
        return f"aws lambda delete-function-concurrency {where}"
    return f"aws lambda put-function-concurrency {where} --reserved-concurrent-executions {cap}"
