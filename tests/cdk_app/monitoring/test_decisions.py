"""Alarms and kill switch: what each watches, how it is counted, and that the switch reaches the function it stops."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.synthesis import EVERYTHING, Synthesised

Template = dict[str, Any]
LAMBDA, OWN = "AWS/Lambda", "OpenAILambdaRelay"
# alarm -> namespace, metric, statistic, period in seconds, periods in a row. A mean of Spend would never stop anything.
WATCHED = {
    "Errors": (LAMBDA, "Errors", "Sum", 300, 1),
    "Failures": (OWN, "Failures", "Sum", 300, 1),
    "StreamCuts": (OWN, "StreamCuts", "Sum", 300, 1),
    "StoreFailures": (OWN, "StoreFailures", "Sum", 300, 1),
    "Throttles": (LAMBDA, "Throttles", "Sum", 300, 1),
    "FirstToken": (OWN, "TimeToFirstByte", "p95", 300, 3),
    "Spend": (OWN, "Spend", "Sum", 86_400, 1),
    "Stop": (OWN, "Spend", "Sum", 86_400, 1),
}
THRESHOLDS = {
    "Errors": 1,
    "Failures": EVERYTHING.alarms.failures,
    "StreamCuts": EVERYTHING.alarms.stream_cuts,
    "StoreFailures": 1,
    "Throttles": EVERYTHING.alarms.throttles,
    "FirstToken": EVERYTHING.alarms.first_token_ms,
    "Spend": EVERYTHING.alarms.usd_per_day,
    "Stop": EVERYTHING.alarms.stop_at_usd_per_day,
}


@pytest.fixture
def template(templates: dict[str, Synthesised]) -> Template:
    return templates[EVERYTHING.name].stacks["monitoring"]


def of(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


@pytest.mark.parametrize("name", WATCHED)
def test_an_alarm_counts_what_it_is_about(name: str, template: Template) -> None:
    (alarm,) = (a for a in of(template, "AWS::CloudWatch::Alarm").values() if a["AlarmName"].endswith(f"-{name}"))
    statistic = alarm.get("Statistic") or alarm.get("ExtendedStatistic")
    counted = (alarm["Namespace"], alarm["MetricName"], statistic, alarm["Period"], alarm["EvaluationPeriods"])
    assert counted == WATCHED[name]
    assert alarm["Threshold"] == THRESHOLDS[name]
    assert alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) == alarm["EvaluationPeriods"]
    assert alarm.get("ActionsEnabled", True) is True


def relay_function(templates: dict[str, Synthesised], output: Any) -> str:
    """The logical id and attribute in the relay's stack that a reference from another stack means."""
    published = templates[EVERYTHING.name].stacks["relay"]["Outputs"][output["Fn::GetStackOutput"]["OutputName"]]
    return json.dumps(published["Value"])


def definition(template: Template, references: list[Any]) -> dict[str, Any]:
    """The state machine as Step Functions reads it; references become their place in `references`."""
    (machine,) = of(template, "AWS::StepFunctions::StateMachine").values()
    text = ""
    for part in machine["DefinitionString"]["Fn::Join"][1]:
        if isinstance(part, str):
            text += part
        else:
            text += f"<{len(references)}>"
            references.append(part)
    read: dict[str, Any] = json.loads(text)
    return read


def test_the_switch_is_thrown_by_its_alarm_alone_and_is_armed(template: Template) -> None:
    (rule,) = of(template, "AWS::Events::Rule").values()
    assert rule["State"] == "ENABLED"
    assert rule["EventPattern"]["source"] == ["aws.cloudwatch"]
    assert rule["EventPattern"]["detail-type"] == ["CloudWatch Alarm State Change"]
    assert rule["EventPattern"]["detail"] == {"state": {"value": ["ALARM"]}}
    (alarm,) = rule["EventPattern"]["resources"]
    assert of(template, "AWS::CloudWatch::Alarm")[alarm["Fn::GetAtt"][0]]["AlarmName"].endswith("-Stop")
    (target,) = rule["Targets"]
    (machine,) = of(template, "AWS::StepFunctions::StateMachine")
    assert target["Arn"] == {"Ref": machine}
    (start,) = (
        statement
        for policy in of(template, "AWS::IAM::Policy").values()
        if {"Ref": target["RoleArn"]["Fn::GetAtt"][0]} in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
    )
    assert (start["Effect"], start["Action"], start["Resource"]) == ("Allow", "states:StartExecution", {"Ref": machine})


def test_the_switch_stops_the_relays_function_and_tries_again(
    template: Template, templates: dict[str, Synthesised]
) -> None:
    references: list[Any] = []
    states = definition(template, references)
    (state,) = states["States"].values()
    assert state["Resource"].endswith(":states:::aws-sdk:lambda:putFunctionConcurrency")
    assert state["Parameters"]["ReservedConcurrentExecutions"] == 0
    (function,) = (reference for reference in references if "Fn::GetStackOutput" in reference)
    assert state["Parameters"]["FunctionName"] == f"<{references.index(function)}>"
    assert "RelayFunction" in relay_function(templates, function)
    (retry,) = (retry for retry in state["Retry"] if "States.ALL" in retry["ErrorEquals"])
    assert retry["MaxAttempts"] >= 5
    assert states["TimeoutSeconds"] >= 600


def test_the_switch_may_stop_the_relays_function_and_no_other(
    template: Template, templates: dict[str, Synthesised]
) -> None:
    (allowed,) = (
        statement
        for policy in of(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "lambda:putFunctionConcurrency"
    )
    assert allowed["Effect"] == "Allow"
    assert json.loads(relay_function(templates, allowed["Resource"]))["Fn::GetAtt"][1] == "Arn"
    (machine,) = of(template, "AWS::StepFunctions::StateMachine").values()
    (trust,) = of(template, "AWS::IAM::Role")[machine["RoleArn"]["Fn::GetAtt"][0]]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
