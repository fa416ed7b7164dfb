"""The web ACL and its log: who is let through by default, what a refusal says, and what is written down of it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.synthesis import EVERYTHING, Synthesised
from tests.support.waf_model import GROUPS, Request, WebAcl

Template = dict[str, Any]
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIA", "user-agent": "python", "x-amz-security-token": "t"}


@pytest.fixture(params=["staging", "prod", EVERYTHING.name])
def template(request: pytest.FixtureRequest, templates: dict[str, Synthesised]) -> Template:
    return templates[request.param].stacks["edge"]


def of(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def one(template: Template, kind: str) -> dict[str, Any]:
    (properties,) = of(template, kind).values()
    return properties


def test_what_no_rule_refuses_is_let_through(template: Template) -> None:
    acl = one(template, "AWS::WAFv2::WebACL")
    assert acl["DefaultAction"] == {"Allow": {}}
    addresses = [network for sets in of(template, "AWS::WAFv2::IPSet").values() for network in sets["Addresses"]]
    request = Request(headers=SIGNED)
    assert WebAcl(acl, addresses, GROUPS).judge(request).status == 200
    closed = {**acl, "DefaultAction": {"Block": {}}}
    assert WebAcl(closed, addresses, GROUPS).judge(request).rule == "DefaultAction"


def test_every_refusal_says_whether_to_come_again(template: Template) -> None:
    """OpenAI's SDKs obey x-should-retry before they look at the status."""
    seen = set()
    for rule in one(template, "AWS::WAFv2::WebACL")["Rules"]:
        if "Block" in rule.get("Action", {}):
            response = rule["Action"]["Block"]["CustomResponse"]
            headers = {header["Name"]: header["Value"] for header in response["ResponseHeaders"]}
            again = response["ResponseCode"] == 429
            assert headers["x-should-retry"] == ("true" if again else "false"), rule["Name"]
            assert ("retry-after" in headers) == again
            seen.add(response["ResponseCode"])
    assert seen == {403, 413, 429}


def test_refusals_and_nothing_else_are_logged_to_the_acls_own_group(template: Template) -> None:
    logging = one(template, "AWS::WAFv2::LoggingConfiguration")
    (acl,) = of(template, "AWS::WAFv2::WebACL")
    assert logging["ResourceArn"] == {"Fn::GetAtt": [acl, "Arn"]}
    (kept,) = logging["LoggingFilter"]["Filters"]
    assert logging["LoggingFilter"]["DefaultBehavior"] == "DROP"
    assert (kept["Behavior"], kept["Requirement"]) == ("KEEP", "MEETS_ANY")
    assert kept["Conditions"] == [{"ActionCondition": {"Action": "BLOCK"}}]
    (destination,) = logging["LogDestinationConfigs"]
    *_, group = destination["Fn::Join"][1]
    named = of(template, "AWS::Logs::LogGroup")[group["Ref"]]["LogGroupName"]
    assert named["Fn::Join"][1][0].startswith("aws-waf-logs-"), "WAF takes no other name"
    assert ":*" not in json.dumps(destination), "WAF refuses the ARN that log_group_arn gives"


def test_log_delivery_may_write_to_the_edges_two_groups_and_to_no_other(template: Template) -> None:
    parts = one(template, "AWS::Logs::ResourcePolicy")["PolicyDocument"]["Fn::Join"][1]
    references = [part for part in parts if isinstance(part, dict)]
    text = "".join(part if isinstance(part, str) else json.dumps(part).replace('"', "'") for part in parts)
    (statement,) = json.loads(text)["Statement"]
    groups = {f"{{'Fn::GetAtt': ['{name}', 'Arn']}}" for name in of(template, "AWS::Logs::LogGroup")}
    assert set(statement["Resource"]) == groups
    assert len(groups) == 2
    assert statement["Principal"] == {"Service": "delivery.logs.amazonaws.com"}
    assert statement["Condition"]["StringEquals"].keys() == {"aws:SourceAccount"}
    assert references


@pytest.mark.parametrize("digits", [5, 6])
def test_a_size_rule_below_the_relays_own_limit_is_refused(digits: int, templates: dict[str, Synthesised]) -> None:
    from cdk_app.checks import guards

    broken = copy.deepcopy(templates[EVERYTHING.name].stacks["edge"])
    (rule,) = (rule for rule in one(broken, "AWS::WAFv2::WebACL")["Rules"] if rule["Name"] == "TooLarge")
    rule["Statement"]["SizeConstraintStatement"]["Size"] = digits
    assert any("max_body_bytes" in line for line in guards.problems(broken, EVERYTHING)) == (10**digits <= 6_000_000)
