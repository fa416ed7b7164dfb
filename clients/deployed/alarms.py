"""Alarms and the spend watch as they are deployed: who is told, and whether each step leads to the next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
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


def _machine(deployed: Deployment) -> str | None:
    """The state machine that adds up and stops; None without one."""
    stack = deployed.monitoring
    machines = dict(deployed.account.resources(stack, "AWS::StepFunctions::StateMachine")) if stack else {}
    return next(iter(machines.values()), None)


def _definition(deployed: Deployment, machine: str) -> str:
    return str(deployed.account.call("stepfunctions", "describe_state_machine", stateMachineArn=machine)["definition"])


def spend_watch(deployed: Deployment) -> Iterator[Finding]:
    """A rule runs the machine by the minute, and it reads this table and stops this function. Nothing is stopped."""
    promise = "the spend watch is wired: schedule, state machine, table, function"
    machine = _machine(deployed)
    if deployed.monitoring is None or machine is None:
        yield skipped(promise, "there is none", "Set stop_at_usd_per_day in alarms=AlarmOptions(...).")
        return
    wrong = []
    for _, physical in deployed.account.resources(deployed.monitoring, "AWS::Events::Rule"):
        name = physical.rpartition("/")[2].rpartition("|")[2]
        targets = deployed.account.call("events", "list_targets_by_rule", Rule=name)["Targets"]
        if machine not in [target["Arn"] for target in targets]:
            continue
        rule = deployed.account.call("events", "describe_rule", Name=name)
        if rule["State"] != "ENABLED":
            wrong.append(f"the rule is {rule['State']}")
        if rule.get("ScheduleExpression") != "rate(1 minute)":
            wrong.append(f"the rule's schedule is {rule.get('ScheduleExpression')}")
        break
    else:
        wrong.append("no rule starts the state machine")
    definition = _definition(deployed, machine)
    if deployed.relay.output("LimitsTable") not in definition:
        wrong.append("the state machine does not read this table")
    if deployed.function not in definition:
        wrong.append("the state machine does not know this function")
    cure = "Deploy the environment again, and look for changes made by hand."
    yield judged(promise, not wrong, "; ".join(wrong) or "each step leads to the next", cure)


def drill(deployed: Deployment, is_served: Callable[[], bool]) -> Iterator[Finding]:
    """Run the spend watch as if the limit were reached, without any money spent, and take it back whatever happens."""
    promise = "the spend watch stops the relay"
    machine = _machine(deployed)
    if machine is None or "putFunctionConcurrency" not in _definition(deployed, machine):
        yield skipped(promise, "it stops nothing here", "Set stop_at_usd_per_day in alarms=AlarmOptions(...).")
        return
    before = deployed.reserved()
    try:
        began = time.monotonic()
        deployed.account.call(
            "stepfunctions", "start_execution", stateMachineArn=machine, input=json.dumps({"drill": True})
        )
        stopped = deployed.within(lambda: deployed.reserved() == 0) and deployed.within(lambda: not is_served())
        seen = f"reserved {deployed.reserved()} after {time.monotonic() - began:.0f} s"
        yield judged(promise, stopped, seen, "See docs/monitoring.md, and run the output SpendCommand.")
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
