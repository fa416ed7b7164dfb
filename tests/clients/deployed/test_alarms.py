"""Alarms and the kill switch as they are deployed, wired and unwired, against an account of MiniStack's."""

from __future__ import annotations

import dataclasses
import json
import threading

from clients.deployed import alarms
from clients.report import Result
from tests.clients.deployed.conftest import Site, results

NOTIFIES = "every alarm notifies the topic"
SUBSCRIBED = "somebody has subscribed to the topic, and confirmed it"
WIRED = "the kill switch is wired: alarm, rule, state machine, function"
STOPS, RESUMES = "the alarm stops the relay", "resumed, the relay serves"


def rule(site: Site) -> str:
    """The rule that starts the state machine."""
    events = site.client("events")
    (name,) = [one["Name"] for one in events.list_rules()["Rules"] if "CloudWatch Alarm" in one.get("EventPattern", "")]
    return str(name)


def stop_alarm(site: Site) -> dict[str, object]:
    found = site.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (stop,) = [one for one in found if one["AlarmName"].endswith("-Stop")]
    return dict(stop)


def test_what_was_deployed_is_wired(site: Site) -> None:
    seen = results(alarms.alarms(site.deployed))
    assert seen[NOTIFIES] is Result.KEPT
    assert results(alarms.kill_switch(site.deployed)) == {WIRED: Result.KEPT}


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
    assert results(alarms.kill_switch(site.deployed)) == {WIRED: Result.BROKEN}


def test_a_rule_for_another_alarm_is_noticed(site: Site) -> None:
    events, name = site.client("events"), rule(site)
    pattern = json.loads(events.describe_rule(Name=name)["EventPattern"])
    pattern["resources"] = ["arn:aws:cloudwatch:eu-central-1:123456789012:alarm:other"]
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    assert results(alarms.kill_switch(site.deployed)) == {WIRED: Result.BROKEN}


def test_a_rule_that_starts_nothing_is_noticed(site: Site) -> None:
    events, name = site.client("events"), rule(site)
    ids = [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
    events.remove_targets(Rule=name, Ids=ids)
    assert results(alarms.kill_switch(site.deployed)) == {WIRED: Result.BROKEN}


def test_a_machine_that_stops_another_function_is_noticed(site: Site) -> None:
    machines = site.client("stepfunctions")
    (machine,) = [one["stateMachineArn"] for one in machines.list_state_machines()["stateMachines"]]
    definition = machines.describe_state_machine(stateMachineArn=machine)["definition"]
    machines.update_state_machine(
        stateMachineArn=machine, definition=definition.replace(site.deployed.function, "another")
    )
    assert results(alarms.kill_switch(site.deployed)) == {WIRED: Result.BROKEN}


def test_without_monitoring_nothing_is_promised(site: Site) -> None:
    alone = dataclasses.replace(site.deployed, monitoring=None)
    assert set(results(alarms.alarms(alone)).values()) == {Result.SKIPPED}
    assert set(results(alarms.kill_switch(alone)).values()) == {Result.SKIPPED}
    assert set(results(alarms.drill(alone, lambda: True)).values()) == {Result.SKIPPED}


def test_a_drill_that_stops_the_relay_is_taken_back(site: Site) -> None:
    """MiniStack's state machines cannot stop a function, so the test does as soon as the alarm rings."""
    function = site.deployed.function
    client, watch = site.client("lambda"), site.client("cloudwatch")
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=7)
    name = stop_alarm(site)["AlarmName"]
    over = threading.Event()

    def stop() -> None:
        while not over.wait(0.02):
            if watch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "ALARM":
                client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
                return

    machine = threading.Thread(target=stop)
    machine.start()
    try:
        seen = results(alarms.drill(site.deployed, lambda: site.deployed.reserved() != 0))
    finally:
        over.set()
        machine.join()
    assert seen == {STOPS: Result.KEPT, RESUMES: Result.KEPT}
    assert site.deployed.reserved() == 7


def test_a_drill_that_stops_nothing_is_noticed_and_changes_nothing(site: Site) -> None:
    seen = results(alarms.drill(site.deployed, lambda: True))
    assert seen[STOPS] is Result.BROKEN
    assert seen[RESUMES] is Result.KEPT
    assert site.deployed.reserved() is None
