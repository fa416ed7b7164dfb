"""The alarms and the topic that they notify. Thresholds come from the environment's AlarmOptions."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from cdk_app.monitoring import metrics
from cdk_app.monitoring.metrics import Metrics
from cdk_app.options.alarm_options import AlarmOptions

MINUTE = cdk.Duration.minutes(1)


class Alarms(Construct):
    """`all` for the dashboard, `topic` for subscribers. `watch_arn` is the spend watch's, None without one.

    `warns`: some limit has a share that is to be warned of.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        function_name: str,
        options: AlarmOptions,
        warns: bool,
        watch_arn: str | None,
    ) -> None:
        super().__init__(scope, id)
        self._name = name
        self.topic = self._topic(options)
        self.all: list[cloudwatch.Alarm] = []
        relay = Metrics(function_name)
        self._relay(relay, options)
        self._spend(relay, options)
        if warns:
            warned = relay.relay("LimitWarnings", "Sum")
            self._alarm(
                "LimitWarnings", warned, 1, "a caller or a group has used the share of a limit that is warned of"
            )
        if watch_arn is not None:
            self._watch(watch_arn)

    def _relay(self, relay: Metrics, options: AlarmOptions) -> None:
        self._alarm("Errors", relay.function("Errors", "Sum"), 1, "the function crashed or timed out")
        failed = relay.relay("Failures", "Sum")
        self._alarm("Failures", failed, options.failures, "responses failed, not because of their callers")
        cut = relay.relay("StreamCuts", "Sum")
        self._alarm("StreamCuts", cut, options.stream_cuts, "streams broke off after they had begun")
        store = relay.relay("StoreFailures", "Sum")
        self._alarm("StoreFailures", store, 1, "the key, the origin secret or the table of limits could not be reached")
        throttled = relay.function("Throttles", "Sum")
        self._alarm("Throttles", throttled, options.throttles, "requests found all environments busy")
        first = relay.relay("TimeToFirstByte", "p95")
        self._alarm(
            "FirstToken",
            first,
            options.first_token_ms,
            "the 95th percentile of the time to first token is high",
            periods=3,
        )

    def _spend(self, relay: Metrics, options: AlarmOptions) -> None:
        if options.usd_per_day is not None:
            # What the watch tells each minute; a sum of what requests report would know no UTC day: record 0054.
            today = relay.relay("SpendToday", "Maximum", period=MINUTE)
            self._alarm("Spend", today, options.usd_per_day, "US dollars booked since midnight UTC")
        if options.stop_at_usd_per_day is not None:
            stops = relay.relay("Stops", "Sum", period=MINUTE)
            self._alarm("Stop", stops, 1, "the relay was stopped at the day's limit of US dollars")

    def _watch(self, arn: str) -> None:
        """Whether the watch itself works: where nothing succeeds there is nothing to measure, too."""
        alarm = self._alarm(
            "SpendWatch",
            metrics.state_machine(arn, "ExecutionsSucceeded", "Sum"),
            1,
            "nobody adds up what is spent: the spend watch fails or does not run",
            periods=2,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )
        alarm.add_ok_action(actions.SnsAction(self.topic))

    def _alarm(
        self,
        id: str,
        metric: cloudwatch.Metric,
        threshold: int,
        text: str,
        *,
        periods: int = 1,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        # Without requests there is no data, and that is no failure.
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            id,
            alarm_name=f"{self._name}-{id}",
            alarm_description=f"{self._name}: {text}. docs/monitoring.md says what to do.",
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        self.all.append(alarm)
        return alarm

    def _topic(self, options: AlarmOptions) -> sns.Topic:
        topic = sns.Topic(self, "Topic", enforce_ssl=True)
        # A topic with a policy of its own has lost the one that let the account's alarms publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}},
            )
        )
        for email in options.emails:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        return topic
