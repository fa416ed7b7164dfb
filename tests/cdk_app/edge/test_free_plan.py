"""CloudFront's Free plan: what it covers, and what it forbids is said before a deployment."""

from __future__ import annotations

import copy
import json

import pytest

from cdk_app.checks import guards
from tests.support.synthesis import EVERYTHING, FREE_PLAN, Synthesised
from tests.support.template_mutations import Mutation, Template, of, put

DISTRIBUTION, ACL = "AWS::CloudFront::Distribution", "AWS::WAFv2::WebACL"
AI = "AWSManagedRulesAISecurityRuleSet"
PLAN = "AWS::PricingPlanManager::Subscription"


def edge(templates: dict[str, Synthesised], name: str = EVERYTHING.name) -> Template:
    return templates[name].stacks["edge"]


def test_the_free_plan_covers_the_distribution_and_its_acl_and_is_asked_for(templates: dict[str, Synthesised]) -> None:
    template = edge(templates, FREE_PLAN.name)
    names = {
        kind: next(n for n, r in template["Resources"].items() if r["Type"] == kind) for kind in (DISTRIBUTION, ACL)
    }
    (plan,) = of(template, PLAN)
    assert (plan["PlanFamily"], plan["PlanTier"]) == ("CloudFront", "FREE")
    assert names[DISTRIBUTION] in json.dumps(plan["ResourceArns"][0])
    assert plan["ResourceArns"][1] == {"Fn::GetAtt": [names[ACL], "Arn"]}
    assert guards.problems(template, FREE_PLAN) == []
    assert not list(of(edge(templates), PLAN))


NOT_IN_THE_PLAN: dict[str, tuple[Mutation, str]] = {
    "another resource": (lambda t: next(of(t, PLAN))["ResourceArns"].append("arn:aws:x"), "exactly one distribution"),
    "another ACL": (put(PLAN, "ResourceArns.1", {"Fn::GetAtt": ["Other", "Arn"]}), "exactly one distribution"),
    "code at the edge": (
        put(DISTRIBUTION, "DistributionConfig.DefaultCacheBehavior.LambdaFunctionAssociations", [{}]),
        "LambdaFunctionAssociations is not part of",
    ),
    "old cache settings": (
        put(DISTRIBUTION, "DistributionConfig.DefaultCacheBehavior.ForwardedValues", {"QueryString": True}),
        "ForwardedValues is not part of",
    ),
    "a cache policy of one's own": (
        put(DISTRIBUTION, "DistributionConfig.DefaultCacheBehavior.CachePolicyId", {"Ref": "Policy"}),
        "a cache policy of one's own",
    ),
    "six behaviours": (
        put(DISTRIBUTION, "DistributionConfig.CacheBehaviors", [{"CachePolicyId": "x"}] * 5),
        "6 behaviours; the Free plan allows 5",
    ),
    "two domains": (put(DISTRIBUTION, "DistributionConfig.Aliases", ["a.example", "b.example"]), "covers one domain"),
    "AI rules": (
        lambda t: next(of(t, ACL))["Rules"].append(
            {"Name": AI, "Priority": 99, "Statement": {"ManagedRuleGroupStatement": {"Name": AI}}}
        ),
        "is paid for apart",
    ),
    "a captcha": (
        lambda t: next(of(t, ACL))["Rules"][0].update(Action={"Captcha": {}}),
        "is paid for apart",
    ),
}


@pytest.mark.parametrize("name", NOT_IN_THE_PLAN)
def test_what_the_free_plan_forbids_is_said_at_synth(name: str, templates: dict[str, Synthesised]) -> None:
    mutate, complaint = NOT_IN_THE_PLAN[name]
    broken = copy.deepcopy(edge(templates, FREE_PLAN.name))
    mutate(broken)
    assert any(complaint in line for line in guards.problems(broken, FREE_PLAN))
