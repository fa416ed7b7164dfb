"""Alarms, dashboard and spend watch as they are synthesised, and the names of metrics as the relay writes them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from relay import request_log

from tests.support.dashboard_picture import DOCUMENT, markdown, widgets_of
from tests.support.synthesis import EVERYTHING, ROOT, Synthesised

Template = dict[str, Any]
ALWAYS = {"Errors", "Failures", "StreamCuts", "StoreFailures", "Throttles", "FirstToken"}


def monitoring(templates: dict[str, Synthesised], name: str = EVERYTHING.name) -> Template:
    return templates[name].stacks["monitoring"]


def of(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    found = of(template, "AWS::CloudWatch::Alarm").values()
    return {alarm["AlarmName"].rpartition("-")[2]: alarm for alarm in found}


def metrics_of(template: Template) -> set[tuple[str, str]]:
    (body,) = (json.dumps(one["DashboardBody"]) for one in of(template, "AWS::CloudWatch::Dashboard").values())
    return set(re.findall(r'\[\\*"(OpenAILambdaRelay)\\*",\\*"(\w+)', body))


def test_what_is_looked_at_is_what_the_relay_writes(templates: dict[str, Synthesised]) -> None:
    template = monitoring(templates)
    alarmed = {
        (alarm["Namespace"], alarm["MetricName"])
        for alarm in alarms(template).values()
        if alarm["Namespace"] not in ("AWS/Lambda", "AWS/States")
    } - {(request_log.NAMESPACE, name) for name in ("SpendToday", "Stops")}  # the spend watch's own
    looked_at = alarmed | metrics_of(template)
    assert len(looked_at) >= 8
    assert {namespace for namespace, _ in looked_at} == {request_log.NAMESPACE}
    assert {name for _, name in looked_at} <= set(request_log._UNITS)


def test_each_alarm_tells_the_topic_and_silence_is_none(templates: dict[str, Synthesised]) -> None:
    template = monitoring(templates)
    (topic,) = of(template, "AWS::SNS::Topic")
    for alarm in alarms(template).values():
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        if not alarm["AlarmName"].endswith("-SpendWatch"):
            assert alarm["TreatMissingData"] == "notBreaching"
            assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert "docs/monitoring.md" in alarm["AlarmDescription"]


def test_the_alarms_of_money_are_there_when_asked_for(templates: dict[str, Synthesised]) -> None:
    assert alarms(monitoring(templates, "prod")).keys() == ALWAYS
    asked = alarms(monitoring(templates))
    assert asked.keys() == ALWAYS | {"Spend", "Stop", "SpendWatch", "LimitWarnings"}
    assert asked["Spend"]["Threshold"] == 50


@pytest.mark.parametrize("name", ["prod", EVERYTHING.name])
def test_alarms_watch_one_function_only(name: str, templates: dict[str, Synthesised]) -> None:
    for alarm in alarms(monitoring(templates, name)).values():
        if alarm["AlarmName"].endswith("-SpendWatch"):
            continue
        (dimension,) = alarm["Dimensions"]
        assert dimension["Name"] in ("function", "FunctionName")
        assert "RelayFunction" in json.dumps(dimension["Value"])


def test_without_a_limit_nothing_can_stop_the_relay(templates: dict[str, Synthesised]) -> None:
    assert not of(monitoring(templates, "prod"), "AWS::StepFunctions::StateMachine")


def test_the_operator_is_told_how_to_go_on(templates: dict[str, Synthesised]) -> None:
    outputs = {name: json.dumps(one["Value"]) for name, one in monitoring(templates)["Outputs"].items()}
    assert "aws stepfunctions start-sync-execution --region eu-central-1" in outputs["ResumeCommand"]
    assert json.loads(json.loads(re.findall(r"--input '(.*)'", outputs["ResumeCommand"])[0].join(['"', '"']))) == {
        "resume": True
    }
    assert "--input" not in outputs["SpendCommand"]
    assert not {"SpendCommand", "ResumeCommand"} & monitoring(templates, "prod")["Outputs"].keys()


def test_only_alarms_of_the_account_may_publish_and_only_over_tls(templates: dict[str, Synthesised]) -> None:
    (policy,) = of(monitoring(templates), "AWS::SNS::TopicPolicy").values()
    by_effect = {one["Effect"]: one for one in policy["PolicyDocument"]["Statement"]}
    assert by_effect["Allow"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert by_effect["Allow"]["Condition"] == {"StringEquals": {"aws:SourceAccount": EVERYTHING.account}}
    assert by_effect["Deny"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_dashboard_has_its_cap_and_its_edge(templates: dict[str, Synthesised]) -> None:
    shown = {widget.title: widget for widget in widgets_of(monitoring(templates))}
    assert shown["Streams at once"].lines == [f"cap {EVERYTHING.reserved_concurrency}"]
    assert {"CloudFront", "Refused by WAF"} <= shown.keys()


def test_the_documented_dashboard_is_the_one_that_is_deployed(
    templates: dict[str, Synthesised], request: pytest.FixtureRequest
) -> None:
    document = ROOT / DOCUMENT
    made = markdown(widgets_of(monitoring(templates)), document.read_text())
    if request.config.getoption("--accept-snapshots"):
        document.write_text(made)
    assert document.read_text() == made, "docs/monitoring.md shows another dashboard: make snapshots"


def test_what_the_relay_warns_of_goes_to_the_topic_where_some_limit_says_so(templates: dict[str, Synthesised]) -> None:
    assert any(terms.warn_at is not None for terms in EVERYTHING.callers.terms)
    alarm = alarms(monitoring(templates))["LimitWarnings"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == ("LimitWarnings", "Sum", 1)


def test_the_dashboard_shows_groups_and_labels_where_there_are_any(templates: dict[str, Synthesised]) -> None:
    (body,) = of(monitoring(templates), "AWS::CloudWatch::Dashboard").values()
    text = json.dumps(body["DashboardBody"]).replace("\\", "")
    assert '"group","atlas"' in text
    assert "by group, labels.cost_center, labels.project" in text
    (body,) = of(monitoring(templates, "prod"), "AWS::CloudWatch::Dashboard").values()
    assert "group" not in json.dumps(body["DashboardBody"])


def test_an_environment_can_do_without(templates: dict[str, Synthesised]) -> None:
    assert set(templates["dev"].stacks) == {"relay"}
