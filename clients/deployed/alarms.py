"""Alarms and the kill switch as they are deployed: who is told, and whether each step leads to the next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clients.deployed.deployment import Deployment
from clients.report import Finding, judged, observed, skipped


def alarms(deployed: Deployment) -> Iterator[Finding]:
    """Every alarm has somebody to tell, and a metric that arrives."""
    if deployed.monitoring is None:
        yield skipped("every alarm notifies the topic", 'monitoring is "off" in this environment')
        return
    found = _alarms(deployed)
    topic = deployed.monitoring.output("AlarmTopic")
    silent = [one["AlarmName"] for one in found if topic not in one["AlarmActions"] or not one["ActionsEnabled"]]
    yield judged(
        "every alarm notifies the topic", bool(found) and not silent, f"{len(found)} alarms, silent ones: {silent}"
    )
    subscribed = deployed.account.call("sns", "list_subscriptions_by_topic", TopicArn=topic)["Subscriptions"]
    waiting = [one["Protocol"] for one in subscribed if not one["SubscriptionArn"].startswith("arn:")]
    yield judged(
        "somebody has subscribed to the topic, and confirmed it",
        bool(subscribed) and not waiting,
        f"{len(subscribed)} subscriptions, not confirmed: {waiting}",
        "Name addresses in alarms=AlarmOptions(emails=...), deploy, and follow the link in the mail.",
    )
    ringing = [one["AlarmName"] for one in found if one["StateValue"] == "ALARM"]
    yield observed("alarms that ring now", ", ".join(ringing) or "none")


def _alarms(deployed: Deployment) -> list[dict[str, Any]]:
    assert deployed.monitoring is not None
    ids = [physical for _, physical in deployed.account.resources(deployed.monitoring, "AWS::CloudWatch::Alarm")]
    found: list[dict[str, Any]] = deployed.account.call("cloudwatch", "describe_alarms", AlarmNames=ids)["MetricAlarms"]
    return found


def _stops(deployed: Deployment) -> list[dict[str, Any]]:
    """The alarm of the kill switch, if there is one."""
    return [one for one in _alarms(deployed) if one["AlarmName"].endswith("-Stop")]


def kill_switch(deployed: Deployment) -> Iterator[Finding]:
    """The rule is enabled, fits the alarm's event, and starts a machine that stops this function. Nothing is stopped."""
    promise = "the kill switch is wired: alarm, rule, state machine, function"
    stack = deployed.monitoring
    machines = dict(deployed.account.resources(stack, "AWS::StepFunctions::StateMachine")) if stack else {}
    if stack is None or not machines:
        yield skipped(promise, "there is none", "Set stop_at_usd_per_day in alarms=AlarmOptions(...).")
        return
    wrong = []
    machine = next(iter(machines.values()))
    stops = _stops(deployed)
    for _, physical in deployed.account.resources(stack, "AWS::Events::Rule"):
        name = physical.rpartition("/")[2].rpartition("|")[2]
        rule = deployed.account.call("events", "describe_rule", Name=name)
        targets = deployed.account.call("events", "list_targets_by_rule", Rule=name)["Targets"]
        if machine not in [target["Arn"] for target in targets]:
            continue
        if rule["State"] != "ENABLED":
            wrong.append(f"the rule is {rule['State']}")
        event = json.dumps(_event(stops[0], deployed)) if stops else "{}"
        pattern = rule["EventPattern"]
        if not deployed.account.call("events", "test_event_pattern", EventPattern=pattern, Event=event)["Result"]:
            wrong.append("the rule does not match the alarm's event")
        break
    else:
        wrong.append("no rule starts the state machine")
    definition = deployed.account.call("stepfunctions", "describe_state_machine", stateMachineArn=machine)["definition"]
    if deployed.function not in definition or "putFunctionConcurrency" not in definition:
        wrong.append("the state machine does not stop this function")
    cure = "Deploy the environment again, and look for changes made by hand."
    yield judged(promise, not wrong, "; ".join(wrong) or "each step leads to the next", cure)


def _event(alarm: Mapping[str, Any], deployed: Deployment) -> Mapping[str, Any]:
    """What EventBridge gets when the alarm fires: docs.aws.amazon.com/AmazonCloudWatch, page cloudwatch-and-eventbridge."""
    return {
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": alarm["AlarmArn"].split(":")[4],
        "time": "2026-01-01T00:00:00Z",
        "region": deployed.account.region,
        "resources": [alarm["AlarmArn"]],
        "detail": {"alarmName": alarm["AlarmName"], "state": {"value": "ALARM"}, "previousState": {"value": "OK"}},
    }


def drill(deployed: Deployment, is_served: Callable[[], bool]) -> Iterator[Finding]:
    """Throw the kill switch by the alarm's state, without any money spent, and take it back whatever happens."""
    promise = "the alarm stops the relay"
    stops = _stops(deployed) if deployed.monitoring else []
    if not stops:
        yield skipped(promise, "there is no kill switch", "Set stop_at_usd_per_day in alarms=AlarmOptions(...).")
        return
    before = deployed.reserved()
    try:
        began = time.monotonic()
        reason = "a drill of the kill switch"
        deployed.account.call(
            "cloudwatch", "set_alarm_state", AlarmName=stops[0]["AlarmName"], StateValue="OK", StateReason=reason
        )
        deployed.account.call(
            "cloudwatch", "set_alarm_state", AlarmName=stops[0]["AlarmName"], StateValue="ALARM", StateReason=reason
        )
        stopped = deployed.within(lambda: deployed.reserved() == 0) and deployed.within(lambda: not is_served())
        seen = f"reserved {deployed.reserved()} after {time.monotonic() - began:.0f} s"
        yield judged(promise, stopped, seen, "See docs/monitoring.md, and the state machine's executions.")
    finally:
        _set_reserved(deployed, before)
    yield judged("resumed, the relay serves", deployed.within(is_served), f"reserved {deployed.reserved()}")


def _set_reserved(deployed: Deployment, number: int | None) -> None:
    if number is None:
        deployed.account.call("lambda", "delete_function_concurrency", FunctionName=deployed.function)
    else:
        deployed.account.call(
            "lambda", "put_function_concurrency", FunctionName=deployed.function, ReservedConcurrentExecutions=number
        )
