"""The metrics by name: the relay's own, Lambda's, CloudFront's and WAF's.

The relay writes its own as embedded metrics in its log lines; a test holds the names against what it writes. `SpendToday` and
`Stops` are the spend watch's.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from cdk_app.config import names

NAMESPACE = "OpenAILambdaRelay"
FIVE_MINUTES = cdk.Duration.minutes(5)


class Metrics:
    """Makes metrics of one deployed function."""

    def __init__(self, function_name: str) -> None:
        self._function = function_name

    def relay(
        self,
        name: str,
        statistic: str,
        label: str | None = None,
        *,
        period: cdk.Duration = FIVE_MINUTES,
        group: str | None = None,
    ) -> cloudwatch.Metric:
        """One of the relay's own; of the callers in `group` alone where that is given (Requests and Spend have this)."""
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={"function": self._function, **({"group": group} if group else {})},
            statistic=statistic,
            label=label,
            period=period,
        )

    def function(self, name: str, statistic: str, label: str | None = None) -> cloudwatch.Metric:
        """One of Lambda's of the function."""
        return cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={"FunctionName": self._function},
            statistic=statistic,
            label=label,
            period=FIVE_MINUTES,
        )


def state_machine(arn: str, name: str, statistic: str) -> cloudwatch.Metric:
    """One of Step Functions' of a machine."""
    return cloudwatch.Metric(
        namespace="AWS/States",
        metric_name=name,
        dimensions_map={"StateMachineArn": arn},
        statistic=statistic,
        period=FIVE_MINUTES,
    )


def distribution(id: str, name: str, statistic: str, label: str) -> cloudwatch.Metric:
    """One of CloudFront's."""
    return cloudwatch.Metric(
        namespace="AWS/CloudFront",
        metric_name=name,
        dimensions_map={"DistributionId": id, "Region": "Global"},
        statistic=statistic,
        label=label,
        region=names.EDGE_REGION,
        period=FIVE_MINUTES,
    )


def waf_rule(acl: str, rule: str) -> cloudwatch.Metric:
    """What one rule refused. `acl` and `rule` are the names of their metrics."""
    return cloudwatch.Metric(
        namespace="AWS/WAFV2",
        metric_name="BlockedRequests",
        dimensions_map={"WebACL": acl, "Rule": rule},
        statistic="Sum",
        label=rule,
        region=names.EDGE_REGION,
        period=FIVE_MINUTES,
    )
