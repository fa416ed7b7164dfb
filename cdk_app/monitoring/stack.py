"""The monitoring stack: dashboard, alarms and, when asked for, the spend watch. Only the watch changes the relay."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from cdk_app.config import names
from cdk_app.config.environment import Environment
from cdk_app.monitoring.alarms import Alarms
from cdk_app.monitoring.dashboard import Dashboard, EdgeMetrics
from cdk_app.monitoring.spend_watch import SpendWatch


class MonitoringStack(cdk.Stack):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        function_name: str,
        function_arn: str,
        table_name: str,
        table_arn: str,
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
        callers, options, watch = environment.callers, environment.alarms, None
        if options.usd_per_day is not None or options.stop_at_usd_per_day is not None:
            watch = SpendWatch(
                self,
                "SpendWatch",
                table_name=table_name,
                table_arn=table_arn,
                function_name=function_name,
                function_arn=function_arn,
                limit_usd=options.stop_at_usd_per_day,
                concurrency=environment.reserved_concurrency,
            )
        alarms = Alarms(
            self,
            "Alarms",
            name=name,
            function_name=function_name,
            options=options,
            warns=any(terms.warn_at is not None for terms in callers.terms),
            watch_arn=watch.machine.state_machine_arn if watch else None,
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
        if watch is not None:
            self._commands(watch.machine.state_machine_arn, can_stop=options.stop_at_usd_per_day is not None)
        cdk.Tags.of(self).add("application", names.PROJECT)
        cdk.Tags.of(self).add("environment", environment.name)

    def _commands(self, machine: str, *, can_stop: bool) -> None:
        run = f"aws stepfunctions start-sync-execution --region {self.region} --state-machine-arn {machine}"
        cdk.CfnOutput(
            self,
            "SpendCommand",
            description="What was booked today, as the spend watch sees it; it acts on it as it does once a minute",
            value=run,
        )
        if can_stop:
            cdk.CfnOutput(
                self,
                "ResumeCommand",
                description="Lets the relay go on after the spend watch has stopped it, until as much again is booked today",
                value=f"""{run} --input '{{"resume":true}}'""",
            )
