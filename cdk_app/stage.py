"""One environment as a unit of deployment: the stacks that belong together. Further stacks are added here."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from cdk_app.config.environment import Environment
from cdk_app.edge import waf_lists
from cdk_app.edge.stack import EdgeStack
from cdk_app.monitoring.dashboard import EdgeMetrics
from cdk_app.monitoring.stack import MonitoringStack
from cdk_app.relay.stack import RelayStack


class RelayStage(cdk.Stage):
    def __init__(self, scope: Construct, id: str, *, environment: Environment, bundle: Path) -> None:
        super().__init__(scope, id, env=cdk.Environment(account=environment.account, region=environment.region))
        self.relay = RelayStack(self, "relay", environment=environment, bundle=bundle)
        edge = None
        if self.relay.origin_secret is not None:
            edge = EdgeStack(
                self,
                "edge",
                environment=environment,
                function_url=self.relay.url,
                origin_secret_arn=self.relay.origin_secret.arn,
            )
        if environment.monitoring == "off":
            return
        self.monitoring = MonitoringStack(
            self,
            "monitoring",
            environment=environment,
            function_name=self.relay.function_name,
            function_arn=self.relay.function_arn,
            table_name=self.relay.table_name,
            table_arn=self.relay.table_arn,
            log_group_name=self.relay.log_group_name,
            edge=_metrics_of(edge) if edge else None,
        )


def _metrics_of(edge: EdgeStack) -> EdgeMetrics:
    return EdgeMetrics(distribution_id=edge.distribution_id, web_acl=edge.web_acl_metric, rules=waf_lists.NAMES)
