"""Alarms and spend watch: what each watches, how it is counted, and that the watch reaches the function it stops."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cdk_app.checks import guards
from cdk_app.monitoring import spend_states
from cdk_app.monitoring.spend_states import Watched
from tests.support.synthesis import EVERYTHING, FREE_PLAN, Synthesised

Template = dict[str, Any]
LAMBDA, OWN = "AWS/Lambda", "OpenAILambdaRelay"
PARTITION = {"Ref": "AWS::Partition"}
# alarm -> namespace, metric, statistic, period in seconds, periods in a row.
WATCHED = {
    "Errors": (LAMBDA, "Errors", "Sum", 300, 1),
    "Failures": (OWN, "Failures", "Sum", 300, 1),
    "StreamCuts": (OWN, "StreamCuts", "Sum", 300, 1),
    "StoreFailures": (OWN, "StoreFailures", "Sum", 300, 1),
    "Throttles": (LAMBDA, "Throttles", "Sum", 300, 1),
    "FirstToken": (OWN, "TimeToFirstByte", "p95", 300, 3),
    "Spend": (OWN, "SpendToday", "Maximum", 60, 1),
    "Stop": (OWN, "Stops", "Sum", 60, 1),
    "SpendWatch": ("AWS/States", "ExecutionsSucceeded", "Sum", 300, 2),
}
THRESHOLDS = {
    "Errors": 1,
    "Failures": EVERYTHING.alarms.failures,
    "StreamCuts": EVERYTHING.alarms.stream_cuts,
    "StoreFailures": 1,
    "Throttles": EVERYTHING.alarms.throttles,
    "FirstToken": EVERYTHING.alarms.first_token_ms,
    "Spend": EVERYTHING.alarms.usd_per_day,
    "Stop": 1,
    "SpendWatch": 1,
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


def test_the_watch_runs_once_a_minute_and_is_armed(template: Template) -> None:
    (rule,) = of(template, "AWS::Events::Rule").values()
    assert (rule["State"], rule["ScheduleExpression"]) == ("ENABLED", "rate(1 minute)")
    (target,) = rule["Targets"]
    (machine,) = of(template, "AWS::StepFunctions::StateMachine")
    assert target["Arn"] == {"Ref": machine}
    assert "Input" not in target, "its input would be a drill's or a resume's"
    (start,) = (
        statement
        for policy in of(template, "AWS::IAM::Policy").values()
        if {"Ref": target["RoleArn"]["Fn::GetAtt"][0]} in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
    )
    assert (start["Effect"], start["Action"], start["Resource"]) == ("Allow", "states:StartExecution", {"Ref": machine})


def test_the_machine_is_the_one_that_is_tested_with_the_environments_own_names(
    template: Template, templates: dict[str, Synthesised]
) -> None:
    references: list[Any] = []
    deployed = definition(template, references)
    named = {f"<{number}>": reference for number, reference in enumerate(references)}
    outputs = {name: relay_function(templates, one) for name, one in named.items() if "Fn::GetStackOutput" in one}
    (table,) = {text for text in outputs.values() if "LimitsTable" in text}
    (function,) = {text for text in outputs.values() if "RelayFunction" in text}
    text = json.dumps(deployed)
    for name, one in named.items():
        known = {table: "TABLE", function: "FUNCTION"}.get(outputs.get(name, ""), "aws" if one == PARTITION else "?")
        text = text.replace(name, known)
    watched = Watched(
        partition="aws",
        table="TABLE",
        function="FUNCTION",
        namespace=OWN,
        limit_usd=EVERYTHING.alarms.stop_at_usd_per_day,
        concurrency=EVERYTHING.reserved_concurrency,
    )
    assert json.loads(text) == spend_states.definition(watched)


def test_the_watch_may_do_what_it_does_and_nothing_else(template: Template, templates: dict[str, Synthesised]) -> None:
    (machine,) = of(template, "AWS::StepFunctions::StateMachine").values()
    assert machine["StateMachineType"] == "EXPRESS"
    role = machine["RoleArn"]["Fn::GetAtt"][0]
    (trust,) = of(template, "AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "states.amazonaws.com"}
    allowed = {}
    for policy in of(template, "AWS::IAM::Policy").values():
        if {"Ref": role} in policy["Roles"]:
            for one in policy["PolicyDocument"]["Statement"]:
                assert one["Effect"] == "Allow"
                for action in one["Action"] if isinstance(one["Action"], list) else [one["Action"]]:
                    allowed[action] = one
    assert allowed.keys() == {
        *("dynamodb:Query", "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"),
        *("cloudwatch:PutMetricData", "lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency"),
    }
    for action, one in allowed.items():
        if action.startswith("cloudwatch"):
            assert one["Condition"] == {"StringEquals": {"cloudwatch:namespace": OWN}}
            continue
        resource = relay_function(templates, one["Resource"])
        assert ("RelayFunction" if action.startswith("lambda") else "LimitsTable") in resource
        assert json.loads(resource)["Fn::GetAtt"][1] == "Arn"
    assert allowed["dynamodb:PutItem"]["Condition"] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["switch"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }


def test_a_watch_that_only_tells_may_stop_nothing(templates: dict[str, Synthesised]) -> None:
    alone = templates[FREE_PLAN.name].stacks["monitoring"]
    assert FREE_PLAN.alarms.stop_at_usd_per_day is None
    assert "Judge" in definition(alone, [])["States"]
    text = json.dumps(alone)
    assert "SpendToday" in text
    assert "FunctionConcurrency" not in text
    assert "dynamodb:PutItem" not in text
    assert "SpendCommand" in alone["Outputs"]
    assert "ResumeCommand" not in alone["Outputs"]


def test_metrics_may_be_put_under_the_relays_name_only(template: Template) -> None:
    broken = copy.deepcopy(template)
    assert guards.problems(broken, EVERYTHING) == []
    for policy in of(broken, "AWS::IAM::Policy").values():
        for one in policy["PolicyDocument"]["Statement"]:
            if one["Action"] == "cloudwatch:PutMetricData":
                del one["Condition"]
    (line,) = guards.problems(broken, EVERYTHING)
    assert "cloudwatch:PutMetricData is allowed on every resource" in line


def test_a_resume_is_read_as_it_is_now(template: Template) -> None:
    """An answer of a moment ago would stop again what somebody has just let go on."""
    assert definition(template, [])["States"]["Resumed"]["Arguments"]["ConsistentRead"] is True


def test_the_watchs_own_alarm_rings_when_nothing_is_counted(template: Template) -> None:
    (alarm,) = (a for a in of(template, "AWS::CloudWatch::Alarm").values() if a["AlarmName"].endswith("-SpendWatch"))
    assert (alarm["TreatMissingData"], alarm["ComparisonOperator"]) == ("breaching", "LessThanThreshold")
    (machine,) = of(template, "AWS::StepFunctions::StateMachine")
    assert alarm["Dimensions"] == [{"Name": "StateMachineArn", "Value": {"Ref": machine}}]
    assert alarm["OKActions"] == alarm["AlarmActions"]
