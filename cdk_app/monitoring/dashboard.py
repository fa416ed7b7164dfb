"""The dashboard, most important rows first. Knows widgets; names of metrics are in `metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cdk_app.config import names
from cdk_app.monitoring import metrics
from cdk_app.monitoring.metrics import Metrics

THIRD, HALF = 8, 12  # of the 24 columns
HEIGHT = 6
MOST_GROUPS, MOST_LABELS = 20, 5
"""Lines of one graph that can be told apart; columns of a table that can be read. `operate usage` shows all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeMetrics:
    """The names under which CloudFront and WAF report an environment's edge."""

    distribution_id: str
    web_acl: str
    # Of the rules that refuse.
    rules: Sequence[str]


class Dashboard(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        function_name: str,
        log_group_name: str,
        concurrency_cap: int | None,
        alarms: list[cloudwatch.Alarm],
        groups: Sequence[str],
        labels: Sequence[str],
        edge: EdgeMetrics | None,
    ) -> None:
        super().__init__(scope, id)
        relay = Metrics(function_name)
        rows = [
            [_alarms(alarms)],
            [_requests(relay), _first_token(relay), _tokens_per_second(relay)],
            [_spend(relay), _tokens(relay), _concurrency(relay, concurrency_cap)],
            [_spenders(log_group_name), _refusals(log_group_name)],
            [_failures(relay), _lambda(relay), _duration(relay)],
        ]
        if groups or labels:
            rows.insert(4, _shared(relay, log_group_name, groups, labels))
        if edge is not None:
            rows.append([_edge_requests(edge), _waf(edge)])
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=name,
            default_interval=cdk.Duration.hours(12),
            widgets=rows,
        )


def _alarms(alarms: list[cloudwatch.Alarm]) -> cloudwatch.IWidget:
    return cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=24, height=4)


def _graph(title: str, *shown: cloudwatch.Metric, width: int = THIRD, unit: str = "") -> cloudwatch.GraphWidget:
    axis = cloudwatch.YAxisProps(label=unit, min=0, show_units=False)
    return cloudwatch.GraphWidget(title=title, left=list(shown), width=width, height=HEIGHT, left_y_axis=axis)


def _requests(relay: Metrics) -> cloudwatch.IWidget:
    return _graph("Requests", relay.relay("Requests", "Sum", "requests"), relay.relay("Failures", "Sum", "failed"))


def _first_token(relay: Metrics) -> cloudwatch.IWidget:
    shown = [relay.relay("TimeToFirstByte", statistic, statistic) for statistic in ("p50", "p95", "p99")]
    return _graph("Time to first token", *shown, unit="ms")


def _tokens_per_second(relay: Metrics) -> cloudwatch.IWidget:
    shown = [relay.relay("TokensPerSecond", statistic, statistic) for statistic in ("p50", "p10")]
    return _graph("Tokens per second", *shown)


def _spend(relay: Metrics) -> cloudwatch.IWidget:
    return _graph("Spend", relay.relay("Spend", "Sum", "US dollars"), unit="US dollars in 5 minutes")


def _tokens(relay: Metrics) -> cloudwatch.IWidget:
    return _graph("Tokens", relay.relay("InputTokens", "Sum", "in"), relay.relay("OutputTokens", "Sum", "out"))


def _concurrency(relay: Metrics, cap: int | None) -> cloudwatch.IWidget:
    caps = [cloudwatch.HorizontalAnnotation(value=cap, label="cap", color=cloudwatch.Color.RED)] if cap else []
    return cloudwatch.GraphWidget(
        title="Streams at once",
        left=[relay.function("ConcurrentExecutions", "Maximum", "at once")],
        left_annotations=caps,
        left_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
        width=THIRD,
        height=HEIGHT,
    )


def _spenders(log_group: str) -> cloudwatch.IWidget:
    return _table(
        "Spend by caller",
        log_group,
        "stats sum(usd) as dollars, count(*) as requests, sum(OutputTokens) as tokens by caller",
        "sort dollars desc",
    )


def _shared(relay: Metrics, log_group: str, groups: Sequence[str], labels: Sequence[str]) -> list[cloudwatch.IWidget]:
    """Spend by group over time, where there are groups, and by group and label in a table."""
    fields = [*(["group"] if groups else []), *(f"labels.{name}" for name in labels[:MOST_LABELS])]
    query = f"stats sum(usd) as dollars, count(*) as requests, sum(OutputTokens) as tokens by {', '.join(fields)}"
    title = "Spend by group and label" if groups and labels else "Spend by group" if groups else "Spend by label"
    table = _table(title, log_group, query, "sort dollars desc")
    if not groups:
        return [table]
    spend = [relay.relay("Spend", "Sum", group, group=group) for group in groups[:MOST_GROUPS]]
    return [_graph("Spend of groups", *spend, width=HALF, unit="US dollars in 5 minutes"), table]


def _refusals(log_group: str) -> cloudwatch.IWidget:
    return _table(
        "Refusals and failures by reason",
        log_group,
        'filter outcome != "ok"',
        "stats count(*) as requests by outcome, status",
        "sort requests desc",
    )


def _table(title: str, log_group: str, *query: str) -> cloudwatch.IWidget:
    """A Logs Insights query, run (and paid for by the gigabyte) only while the dashboard is open."""
    return cloudwatch.LogQueryWidget(
        title=title,
        log_group_names=[log_group],
        query_lines=['filter event = "request"', *query, "limit 20"],
        view=cloudwatch.LogQueryVisualizationType.TABLE,
        width=HALF,
        height=HEIGHT,
    )


def _failures(relay: Metrics) -> cloudwatch.IWidget:
    return _graph(
        "Failures",
        relay.relay("Failures", "Sum", "failed"),
        relay.relay("StreamCuts", "Sum", "streams cut"),
        relay.relay("StoreFailures", "Sum", "secret or store"),
    )


def _lambda(relay: Metrics) -> cloudwatch.IWidget:
    return _graph("Lambda", relay.function("Errors", "Sum", "errors"), relay.function("Throttles", "Sum", "throttled"))


def _duration(relay: Metrics) -> cloudwatch.IWidget:
    shown = [relay.relay("Duration", statistic, statistic) for statistic in ("p50", "p95")]
    return _graph("Duration of a response", *shown, unit="ms")


def _edge_requests(edge: EdgeMetrics) -> cloudwatch.IWidget:
    def metric(name: str, statistic: str, label: str) -> cloudwatch.Metric:
        return metrics.distribution(edge.distribution_id, name, statistic, label)

    return cloudwatch.GraphWidget(
        title="CloudFront",
        left=[metric("Requests", "Sum", "requests")],
        right=[metric("4xxErrorRate", "Average", "4xx, percent"), metric("5xxErrorRate", "Average", "5xx, percent")],
        region=names.EDGE_REGION,
        width=HALF,
        height=HEIGHT,
    )


def _waf(edge: EdgeMetrics) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title="Refused by WAF",
        left=[metrics.waf_rule(edge.web_acl, rule) for rule in edge.rules],
        region=names.EDGE_REGION,
        stacked=True,
        width=HALF,
        height=HEIGHT,
    )
