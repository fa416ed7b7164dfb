"""Alarms and the spend watch as they are deployed, wired and unwired, against an account of MiniStack's."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from clients.deployed import alarms
from clients.deployed.account import Account
from clients.report import Result
from tests.clients.deployed.conftest import Site, results

NOTIFIES = "every alarm notifies the topic"
SUBSCRIBED = "somebody has subscribed to the topic, and confirmed it"
WIRED = "the spend watch is wired: schedule, state machine, table, function"
STOPS, RESUMES = "the spend watch stops the relay", "resumed, the relay serves"


def rule(site: Site) -> str:
    """The rule that starts the state machine."""
    events = site.client("events")
    (name,) = [one["Name"] for one in events.list_rules()["Rules"] if one.get("ScheduleExpression")]
    return str(name)


def stop_alarm(site: Site) -> dict[str, object]:
    found = site.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (stop,) = [one for one in found if one["AlarmName"].endswith("-Stop")]
    return dict(stop)


def test_what_was_deployed_is_wired(site: Site) -> None:
    seen = results(alarms.alarms(site.deployed))
    assert seen[NOTIFIES] is Result.KEPT
    assert results(alarms.spend_watch(site.deployed)) == {WIRED: Result.KEPT}


def test_a_topic_without_subscribers_is_noticed(site: Site) -> None:
    assert site.deployed.monitoring is not None
    topic = site.deployed.monitoring.outputs["AlarmTopic"]
    sns = site.client("sns")
    for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        if one["SubscriptionArn"].startswith("arn:"):
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    assert results(alarms.alarms(site.deployed))[SUBSCRIBED] is Result.BROKEN


def test_an_alarm_that_tells_nobody_is_noticed(site: Site) -> None:
    stop = stop_alarm(site)
    given = {key: stop[key] for key in ("AlarmName", "MetricName", "Namespace", "Statistic", "Period", "Threshold",
                                        "EvaluationPeriods", "ComparisonOperator") if key in stop}  # fmt: skip
    site.client("cloudwatch").put_metric_alarm(**given, AlarmActions=[])
    assert results(alarms.alarms(site.deployed))[NOTIFIES] is Result.BROKEN


def test_a_rule_that_is_disabled_is_noticed(site: Site) -> None:
    site.client("events").disable_rule(Name=rule(site))
    assert results(alarms.spend_watch(site.deployed)) == {WIRED: Result.BROKEN}


def test_a_rule_that_runs_once_a_day_is_noticed(site: Site) -> None:
    site.client("events").put_rule(Name=rule(site), ScheduleExpression="rate(1 day)")
    assert results(alarms.spend_watch(site.deployed)) == {WIRED: Result.BROKEN}


def test_a_rule_that_starts_nothing_is_noticed(site: Site) -> None:
    events, name = site.client("events"), rule(site)
    ids = [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
    events.remove_targets(Rule=name, Ids=ids)
    assert results(alarms.spend_watch(site.deployed)) == {WIRED: Result.BROKEN}


def test_a_machine_that_stops_another_function_is_noticed(site: Site) -> None:
    machines = site.client("stepfunctions")
    (machine,) = [one["stateMachineArn"] for one in machines.list_state_machines()["stateMachines"]]
    definition = machines.describe_state_machine(stateMachineArn=machine)["definition"]
    machines.update_state_machine(
        stateMachineArn=machine, definition=definition.replace(site.deployed.function, "another")
    )
    assert results(alarms.spend_watch(site.deployed)) == {WIRED: Result.BROKEN}


def test_without_monitoring_nothing_is_promised(site: Site) -> None:
    alone = dataclasses.replace(site.deployed, monitoring=None)
    assert set(results(alarms.alarms(alone)).values()) == {Result.SKIPPED}
    assert set(results(alarms.spend_watch(alone)).values()) == {Result.SKIPPED}
    assert set(results(alarms.drill(alone, lambda: True)).values()) == {Result.SKIPPED}


class Stopping(Account):
    """The account, where a machine that is started with a drill stops the function. MiniStack's machines cannot."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.session, site.deployed.account.region)
        self._site = site

    def call(self, service: str, operation: str, *, region: str = "", **parameters: Any) -> Any:
        result = self._site.deployed.account.call(service, operation, region=region, **parameters)
        if operation == "start_execution" and json.loads(parameters["input"]) == {"drill": True}:
            self._site.client("lambda").put_function_concurrency(
                FunctionName=self._site.deployed.function, ReservedConcurrentExecutions=0
            )
        return result


def test_a_drill_that_stops_the_relay_is_taken_back(site: Site) -> None:
    client = site.client("lambda")
    client.put_function_concurrency(FunctionName=site.deployed.function, ReservedConcurrentExecutions=7)
    deployed = dataclasses.replace(site.deployed, account=Stopping(site))
    seen = results(alarms.drill(deployed, lambda: site.deployed.reserved() != 0))
    assert seen == {STOPS: Result.KEPT, RESUMES: Result.KEPT}
    assert site.deployed.reserved() == 7


def test_a_drill_that_stops_nothing_is_noticed_and_changes_nothing(site: Site) -> None:
    seen = results(alarms.drill(site.deployed, lambda: True))
    assert seen[STOPS] is Result.BROKEN
    assert seen[RESUMES] is Result.KEPT
    assert site.deployed.reserved() is None
