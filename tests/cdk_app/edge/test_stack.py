"""The edge as it is synthesised: what was decided, by property, and what is noticed when it is taken away."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cdk_app.checks import guards
from cdk_app.config.check import check
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.environment import ConfigurationError, Environment, Waiver
from cdk_app.edge import waf_rules
from tests.support.synthesis import EVERYTHING, Synthesised
from tests.support.template_mutations import Mutation, drop, of, put, without

Template = dict[str, Any]
DISTRIBUTION, ACL = "AWS::CloudFront::Distribution", "AWS::WAFv2::WebACL"


def edge(templates: dict[str, Synthesised], name: str = EVERYTHING.name) -> Template:
    return templates[name].stacks["edge"]


def config(template: Template) -> dict[str, Any]:
    (found,) = of(template, DISTRIBUTION)
    return dict(found["DistributionConfig"])


def rules(template: Template) -> dict[str, dict[str, Any]]:
    (acl,) = of(template, ACL)
    return {rule["Name"]: rule for rule in acl["Rules"]}


def test_an_environment_without_an_edge_has_none(templates: dict[str, Synthesised]) -> None:
    assert "edge" not in templates["dev"].stacks
    variables = json.dumps(templates["dev"].stacks["relay"])
    assert '"EDGE": "off"' in variables
    assert "EDGE_SECRET_ARN" not in variables


@pytest.mark.parametrize("name", ["staging", "prod", EVERYTHING.name])
def test_no_custom_resource_and_no_function_carries_values_between_regions(
    name: str, templates: dict[str, Synthesised]
) -> None:
    types = [r["Type"] for stack in templates[name].stacks.values() for r in stack["Resources"].values()]
    assert not [kind for kind in types if kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource"]
    assert types.count("AWS::Lambda::Function") == 1


@pytest.mark.parametrize("name", ["staging", "prod", EVERYTHING.name])
def test_the_edge_is_in_us_east_1_wherever_the_relay_is(name: str, templates: dict[str, Synthesised]) -> None:
    manifest = json.loads(templates[name].directory.joinpath("manifest.json").read_text())
    places = {
        artifact["displayName"].split("/")[1].split(" ")[0]: artifact["environment"].rpartition("/")[2]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    assert places == {"relay": "eu-central-1", "edge": "us-east-1", "monitoring": "eu-central-1"}


def test_the_origin_secret_is_nowhere_text(templates: dict[str, Synthesised]) -> None:
    (origin,) = config(edge(templates))["Origins"]
    (header,) = origin["OriginCustomHeaders"]
    assert header["HeaderName"] == "x-relay-origin-secret"
    parts = header["HeaderValue"]["Fn::Join"][1]
    assert (parts[0], parts[-1]) == ("{{resolve:secretsmanager:", ":SecretString:::}}")
    (secret,) = (
        s
        for s in of(templates[EVERYTHING.name].stacks["relay"], "AWS::SecretsManager::Secret")
        if "ReplicaRegions" in s
    )
    assert secret["GenerateSecretString"] == {"ExcludePunctuation": True, "PasswordLength": 64}
    assert secret["ReplicaRegions"] == [{"Region": "us-east-1"}]


def test_the_secret_is_read_in_the_region_of_the_stack_that_reads_it(templates: dict[str, Synthesised]) -> None:
    (origin,) = config(edge(templates))["Origins"]
    (replica,) = (p for p in origin["OriginCustomHeaders"][0]["HeaderValue"]["Fn::Join"][1] if isinstance(p, dict))
    assert replica["Fn::Join"][1][0] == "arn:aws:secretsmanager:us-east-1"
    assert [part["Fn::Select"][0] for part in replica["Fn::Join"][1][1:]] == [4, 5, 6]


def test_a_new_version_of_the_secret_changes_the_distribution(templates: dict[str, Synthesised]) -> None:
    assert config(edge(templates))["Comment"].endswith("origin secret 3")
    assert config(edge(templates, "prod"))["Comment"].endswith("origin secret 1")


def test_times_fit_into_each_other(templates: dict[str, Synthesised]) -> None:
    for name in ("staging", "prod", EVERYTHING.name):
        made = templates[name].environment
        (origin,) = config(edge(templates, name))["Origins"]
        read = origin["CustomOriginConfig"]["OriginReadTimeout"]
        assert 2 * made.heartbeat_seconds <= read <= 120
        assert origin["ResponseCompletionTimeout"] > made.timeout_seconds


def test_a_domain_brings_its_certificate_and_the_least_version_of_tls(templates: dict[str, Synthesised]) -> None:
    with_domain, without = config(edge(templates)), config(edge(templates, "prod"))
    assert with_domain["Aliases"] == ["openai.example.com"]
    assert with_domain["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert "Aliases" not in without


def test_the_first_request_goes_where_it_is_served(templates: dict[str, Synthesised]) -> None:
    through = json.dumps(edge(templates, "prod")["Outputs"]["FirstRequest"]["Value"])
    assert "make smoke URL=https://" in through
    assert "--sign-host " in through
    assert "FirstRequest" not in templates["prod"].stacks["relay"]["Outputs"]
    assert "FirstRequest" in templates["dev"].stacks["relay"]["Outputs"]


def test_http_2_and_3(templates: dict[str, Synthesised]) -> None:
    assert config(edge(templates))["HttpVersion"] == "http2and3"


def test_rates_networks_and_countries_are_the_environments(templates: dict[str, Synthesised]) -> None:
    asked = rules(edge(templates))
    assert asked["RatePerAddress"]["Statement"]["RateBasedStatement"]["Limit"] == 1500
    assert asked["RatePerSession"]["Statement"]["RateBasedStatement"]["Limit"] == 600
    assert asked["OtherCountries"]["Statement"]["NotStatement"]["Statement"]["GeoMatchStatement"]["CountryCodes"] == [
        "DE",
        "CH",
    ]
    sets = [one["Addresses"] for one in of(edge(templates), "AWS::WAFv2::IPSet")]
    assert sets == [["203.0.113.0/24"], ["2001:db8::/32"]]
    assert not {"OtherNetworks", "OtherCountries"} & rules(edge(templates, "prod")).keys()


def test_a_caller_is_counted_by_what_stays_the_same_in_its_requests(templates: dict[str, Synthesised]) -> None:
    rate = rules(edge(templates))["RatePerSession"]["Statement"]["RateBasedStatement"]
    assert rate["AggregateKeyType"] == "CUSTOM_KEYS"
    (key,) = rate["CustomKeys"]
    assert key["Header"]["Name"] == "x-amz-security-token"


def test_every_answer_of_waf_is_openais_error(templates: dict[str, Synthesised]) -> None:
    (acl,) = of(edge(templates), ACL)
    for body in acl["CustomResponseBodies"].values():
        assert body["ContentType"] == "APPLICATION_JSON"
        assert json.loads(body["Content"])["error"].keys() == {"message", "type", "param", "code"}
    used = {
        rule["Action"]["Block"]["CustomResponse"]["CustomResponseBodyKey"]
        for rule in acl["Rules"]
        if "Block" in rule.get("Action", {})
    }
    assert used == acl["CustomResponseBodies"].keys()


def test_the_web_acl_stays_within_what_its_price_includes(templates: dict[str, Synthesised]) -> None:
    """1,500 capacity units; figures of docs.aws.amazon.com/waf/latest/developerguide, pages on each statement."""
    units = {"AWSManagedRulesCommonRuleSet": 700, "AWSManagedRulesKnownBadInputsRuleSet": 200}
    units["AWSManagedRulesAmazonIpReputationList"] = 25
    labels = len(rules(edge(templates))["AWSManaged"]["Statement"]["OrStatement"]["Statements"])
    own = {"OtherNetworks": 2, "OtherCountries": 1, "Unsigned": 2, "TooLarge": 1, "RatePerAddress": 2}
    ai = 400
    total = sum(units.values()) + labels + sum(own.values()) + 2 + 30 + ai
    assert total <= 1500


def test_ai_rules_stand_last_and_count_or_refuse_as_asked(templates: dict[str, Synthesised]) -> None:
    (acl,) = of(edge(templates), ACL)
    last = max(acl["Rules"], key=lambda one: one["Priority"])
    group = last["Statement"]["ManagedRuleGroupStatement"]
    assert (last["Name"], group["VendorName"], last["OverrideAction"]) == (AI, "AWS", {"Count": {}})
    assert group["ManagedRuleGroupConfigs"] == [{AI: {"BedrockGuardrails": {"ProtectRequestOnly": ROLE}}}]
    refusing = waf_rules.rules(EdgeOptions(ai_rules="refuse"), [])
    assert refusing[-1].name == AI
    assert refusing[-1].override_action.none == {}  # type: ignore[union-attr]
    assert waf_rules.ai_configuration(EdgeOptions(ai_rules="refuse")) == [{AI: {"BedrockGuardrails": {"Disable": {}}}}]
    assert AI not in rules(edge(templates, "prod"))


def test_logs_are_delivered_to_groups_of_this_account_only(templates: dict[str, Synthesised]) -> None:
    (policy,) = of(edge(templates), "AWS::Logs::ResourcePolicy")
    text = json.dumps(policy)
    assert "delivery.logs.amazonaws.com" in text
    assert str(EVERYTHING.account) in text
    assert "aws:SourceAccount" in text


def test_wafs_log_has_the_name_and_the_filter_that_it_needs(templates: dict[str, Synthesised]) -> None:
    names = [json.dumps(group.get("LogGroupName", "")) for group in of(edge(templates), "AWS::Logs::LogGroup")]
    assert any('"aws-waf-logs-openai-lambda-relay-everything-edge-"' in name for name in names)
    (logging,) = of(edge(templates), "AWS::WAFv2::LoggingConfiguration")
    assert logging["LoggingFilter"]["DefaultBehavior"] == "DROP"
    (destination,) = logging["LogDestinationConfigs"]
    assert not json.dumps(destination).endswith(':*"')


# Mutations. Each takes one property away or turns it round; the guards, which `app.py` asks at each synth, have to say it.


def rule(name: str, change: Callable[[dict[str, Any]], object]) -> Mutation:
    def mutate(template: Template) -> None:
        (acl,) = of(template, ACL)
        change(next(one for one in acl["Rules"] if one["Name"] == name))

    return mutate


def without_rule(name: str) -> Mutation:
    def mutate(template: Template) -> None:
        (acl,) = of(template, ACL)
        acl["Rules"] = [one for one in acl["Rules"] if one["Name"] != name]

    return mutate


def without_protection(index: int) -> Mutation:
    return drop(ACL, f"DataProtectionConfig.DataProtections.{index}")


BEHAVIOUR, ORIGIN = "DistributionConfig.DefaultCacheBehavior", "DistributionConfig.Origins.0"
CRS, BAD = "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"
AI = "AWSManagedRulesAISecurityRuleSet"
ROLE = {"RoleArn": "arn:aws:iam::123456789012:role/waf-guardrails"}
READ_RESPONSES = {"ManagedRuleGroupConfigs": [{AI: {"BedrockGuardrails": {"ProtectRequestAndResponse": ROLE}}}]}


def without_override(name: str) -> Callable[[dict[str, Any]], object]:
    def change(one: dict[str, Any]) -> None:
        group = one["Statement"]["ManagedRuleGroupStatement"]
        group["RuleActionOverrides"] = [each for each in group["RuleActionOverrides"] if each["Name"] != name]

    return change


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "caching": (put(DISTRIBUTION, f"{BEHAVIOUR}.CachePolicyId", "658327ea"), "responses would be cached"),
    "no cache policy": (drop(DISTRIBUTION, f"{BEHAVIOUR}.CachePolicyId"), "responses would be cached"),
    "no signatures": (drop(DISTRIBUTION, f"{BEHAVIOUR}.OriginRequestPolicyId"), "signatures would not reach Lambda"),
    "plain HTTP": (put(DISTRIBUTION, f"{BEHAVIOUR}.ViewerProtocolPolicy", "allow-all"), "in the clear"),
    "plain HTTP behind": (
        put(DISTRIBUTION, f"{ORIGIN}.CustomOriginConfig.OriginProtocolPolicy", "match-viewer"),
        "OriginProtocolPolicy",
    ),
    "compression": (put(DISTRIBUTION, f"{BEHAVIOUR}.Compress", True), "streams would be held back"),
    "GET only": (put(DISTRIBUTION, f"{BEHAVIOUR}.AllowedMethods", ["GET", "HEAD"]), "lacks POST"),
    "no WAF": (drop(DISTRIBUTION, "DistributionConfig.WebACLId"), "no web ACL"),
    "no origin secret": (drop(DISTRIBUTION, f"{ORIGIN}.OriginCustomHeaders"), "no origin secret"),
    "origin secret as text": (
        put(DISTRIBUTION, f"{ORIGIN}.OriginCustomHeaders.0.HeaderValue", "text"),
        "is text in the template",
    ),
    "origin access control": (put(DISTRIBUTION, f"{ORIGIN}.OriginAccessControlId", "E1"), "in the caller's place"),
    "read timeout out of range": (
        put(DISTRIBUTION, f"{ORIGIN}.CustomOriginConfig.OriginReadTimeout", 300),
        "allowed: 1 to 120",
    ),
    "read timeout shorter than heartbeats": (
        put(DISTRIBUTION, f"{ORIGIN}.CustomOriginConfig.OriginReadTimeout", 9),
        "two heartbeats within the timeout",
    ),
    "CloudFront gives up first": (
        put(DISTRIBUTION, f"{ORIGIN}.ResponseCompletionTimeout", 60),
        "before the function's time-out",
    ),
    "no access log": (without("AWS::Logs::Delivery"), "its access log is not delivered"),
    "every field logged": (drop("AWS::Logs::Delivery", "RecordFields"), "may hold a signature"),
    "query logged": (put("AWS::Logs::Delivery", "RecordFields", ["date", "cs-uri-query"]), "cs-uri-query is logged"),
    "no WAF log": (without("AWS::WAFv2::LoggingConfiguration"), "is not logged"),
    "regional WAF": (put(ACL, "Scope", "REGIONAL"), "allowed: CLOUDFRONT"),
    "authorization in the log": (without_protection(0), "authorization would be in the log"),
    "session token in the log": (without_protection(1), "x-amz-security-token would be in the log"),
    "cookies in the log": (without_protection(2), "cookie would be in the log"),
    "query in the log": (without_protection(3), "QUERY_STRING would be in the log"),
    "prompts in the log": (without_protection(4), "BODY would be in the log"),
    "prompts in match details": (
        put(ACL, "DataProtectionConfig.DataProtections.4.ExcludeRuleMatchDetails", True),
        "BODY would be in the log",
    ),
    "no protection at all": (drop(ACL, "DataProtectionConfig"), "authorization would be in the log"),
    "same priority twice": (put(ACL, "Rules.1.Priority", 0), "each once"),
    "rule without action": (rule("Unsigned", lambda one: one.pop("Action")), "neither or both"),
    "rule that only counts": (rule("Unsigned", lambda one: one.update(Action={"Count": {}})), "does not refuse"),
    "unsigned requests": (without_rule("Unsigned"), "the rule Unsigned is missing"),
    "no size": (without_rule("TooLarge"), "the rule TooLarge is missing"),
    "no rate by address": (without_rule("RatePerAddress"), "the rule RatePerAddress is missing"),
    "no rate by session": (without_rule("RatePerSession"), "the rule RatePerSession is missing"),
    "labels without consequence": (without_rule("AWSManaged"), "the rule AWSManaged is missing"),
    "no reputation": (without_rule("AWSManagedRulesAmazonIpReputationList"), "are missing"),
    "no common rules": (without_rule(CRS), "are missing"),
    "no bad inputs": (without_rule(BAD), "are missing"),
    "misspelt group": (
        rule(CRS, lambda one: one["Statement"]["ManagedRuleGroupStatement"].update(Name="AWSManagedRulesComonRuleSet")),
        "is not a managed rule group",
    ),
    "a group that refuses": (rule(CRS, lambda one: one.update(OverrideAction={"None": {}})), "refuses by itself"),
    "prompts of 8 KB refused": (
        rule(CRS, without_override("SizeRestrictions_BODY")),
        "SizeRestrictions_BODY would end its group",
    ),
    "prompts about Log4j refused": (
        rule(BAD, lambda one: one["Statement"]["ManagedRuleGroupStatement"].pop("RuleActionOverrides")),
        "Log4JRCE_BODY would end its group",
    ),
    "a client without a name hides attacks": (
        rule(CRS, without_override("NoUserAgent_HEADER")),
        "NoUserAgent_HEADER would end its group",
    ),
    "requests copied to other regions": (drop(ACL, "AnalyticsConfig"), "AnalyticsConfig has to be DISABLED"),
    "analysis turned on": (put(ACL, "AnalyticsConfig.Mode", "CROSS_REGION"), "AnalyticsConfig has to be DISABLED"),
    "responses read by guardrails": (
        rule(AI, lambda one: one["Statement"]["ManagedRuleGroupStatement"].update(READ_RESPONSES)),
        "has to be Disable or ProtectRequestOnly",
    ),
    "AI rules without configuration": (
        rule(AI, lambda one: one["Statement"]["ManagedRuleGroupStatement"].pop("ManagedRuleGroupConfigs")),
        "has to be Disable or ProtectRequestOnly",
    ),
    "rate without retry-after": (
        rule("RatePerAddress", lambda one: one["Action"]["Block"]["CustomResponse"].pop("ResponseHeaders")),
        "allowed: 429 with retry-after",
    ),
    "rate answered as forbidden": (
        rule("RatePerSession", lambda one: one["Action"]["Block"]["CustomResponse"].update(ResponseCode=403)),
        "allowed: 429 with retry-after",
    ),
    "an answer nobody understands": (
        rule("Unsigned", lambda one: one["Action"]["Block"].clear()),
        "without a response",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_edge_that_lost_a_protection_is_refused(name: str, templates: dict[str, Synthesised]) -> None:
    mutate, complaint = MUTATIONS[name]
    broken = copy.deepcopy(edge(templates))
    mutate(broken)
    assert broken != edge(templates)
    assert any(complaint in line for line in guards.problems(broken, EVERYTHING))


@pytest.mark.parametrize("name", ["staging", "prod", EVERYTHING.name])
def test_the_guards_have_nothing_to_say_of_what_is_synthesised(name: str, templates: dict[str, Synthesised]) -> None:
    assert guards.problems(edge(templates, name), templates[name].environment) == []


# The configuration's own guards, each failing and waived.

BASE = replace(EVERYTHING, edge="required", direct_invokers=())
BUDGETED = replace(EVERYTHING, requests=replace(EVERYTHING.requests, models=("gpt-5-mini", "gpt-99")))


def refusals(environment: Environment) -> list[str]:
    try:
        check(environment)
    except ConfigurationError as refused:
        return str(refused).splitlines()
    return []


def waiver(rule: Any) -> Waiver:
    return Waiver(rule=rule, reason="measured, and decided in a meeting")


@pytest.mark.parametrize(
    ("environment", "rule", "line"),
    [
        (
            replace(BASE, reserved_concurrency=None),
            "no-concurrency-cap",
            "everything: reserved_concurrency is None; allowed: a whole number, "
            "or Waiver(rule='no-concurrency-cap', reason=...)",
        ),
        (
            replace(BASE, heartbeat_seconds=0),
            "slow-heartbeat",
            "everything: heartbeat_seconds is 0; allowed: 1 to 30, half of edge_options.read_timeout_seconds, "
            "or Waiver(rule='slow-heartbeat', reason=...)",
        ),
        (
            replace(BASE, heartbeat_seconds=14, edge_options=replace(BASE.edge_options, read_timeout_seconds=20)),
            "slow-heartbeat",
            "everything: heartbeat_seconds is 14; allowed: 1 to 10, half of edge_options.read_timeout_seconds, "
            "or Waiver(rule='slow-heartbeat', reason=...)",
        ),
    ],
)
def test_a_value_that_a_guard_refuses_is_one_line_and_can_be_waived(
    environment: Environment, rule: str, line: str
) -> None:
    assert refusals(environment) == [line]
    assert refusals(replace(environment, waivers=(waiver(rule),))) == []


def test_a_model_without_price_under_a_budget_is_refused_and_can_be_waived() -> None:
    callers = replace(EVERYTHING.callers, default=replace(EVERYTHING.callers.default, models=("gpt-99", "gpt-5")))  # type: ignore[type-var]
    budgeted = replace(BASE, callers=callers)
    (line,) = refusals(budgeted)
    assert "gpt-99: no price" in line
    assert refusals(replace(budgeted, waivers=(waiver("unpriced-model"),))) == []
    priced = replace(budgeted, prices={**budgeted.prices, "gpt-99": {"input": 1, "output": 1}})
    assert refusals(priced) == []


IN_TEMPLATES: dict[str, tuple[str, Callable[[Template], object]]] = {
    "unsigned-calls": ("AuthType is NONE", put("AWS::Lambda::Url", "AuthType", "NONE")),
    "wildcard-cors": ("Cors allows every origin", put("AWS::Lambda::Url", "Cors", {"AllowOrigins": ["*"]})),
    "wildcard-principal": ("everybody may call", put("AWS::Lambda::Permission", "Principal", "*")),
    "missing-permission": ("lacks lambda:", put("AWS::Lambda::Permission", "Action", "lambda:GetFunction")),
    "no-concurrency-cap": ("nothing caps", drop("AWS::Lambda::Function", "ReservedConcurrentExecutions")),
}


@pytest.mark.parametrize("rule", IN_TEMPLATES)
def test_a_template_that_a_guard_refuses_is_named_and_can_be_waived(
    rule: str, templates: dict[str, Synthesised]
) -> None:
    complaint, mutate = IN_TEMPLATES[rule]
    broken = copy.deepcopy(templates[EVERYTHING.name].stacks["relay"])
    mutate(broken)
    found = [line for line in guards.problems(broken, EVERYTHING) if line.endswith(f"[{rule}]")]
    assert found
    assert complaint in found[0]
    waived = replace(EVERYTHING, waivers=(waiver(rule),))
    assert not [line for line in guards.problems(broken, waived) if line.endswith(f"[{rule}]")]


def test_a_slow_heartbeat_is_seen_in_the_template_too_and_can_be_waived(templates: dict[str, Synthesised]) -> None:
    silent = replace(EVERYTHING, heartbeat_seconds=0)
    (line,) = guards.problems(edge(templates), silent)
    assert line.endswith("[slow-heartbeat]")
    assert guards.problems(edge(templates), replace(silent, waivers=(waiver("slow-heartbeat"),))) == []


def test_a_waiver_that_no_template_needs_is_told(templates: dict[str, Synthesised]) -> None:
    idle = replace(EVERYTHING, waivers=(waiver("unsigned-calls"),))
    (line,) = guards.unused_waivers(templates[EVERYTHING.name].stacks.values(), idle)
    assert "'unsigned-calls', which nothing needs" in line


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"region": None}, "region is None; allowed: with an edge"),
        ({"region": "cn-north-1"}, "region is 'cn-north-1'"),
        ({"direct_invokers": ("arn:aws:iam::123456789012:role/batch",)}, "must be empty when edge='required'"),
        ({"edge": "always"}, "edge is 'always'"),
        ({"edge_options": EdgeOptions(domain="openai.example.com")}, "both or neither"),
        ({"edge_options": EdgeOptions(domain="x", certificate="y")}, "edge_options.certificate is 'y'"),
        (
            {"edge_options": EdgeOptions(requests_per_ip=9)},
            "edge_options.requests_per_ip is 9; allowed: a whole number",
        ),
        ({"edge_options": EdgeOptions(read_timeout_seconds=121)}, "allowed: a whole number from 1 to 120"),
        ({"edge_options": EdgeOptions(origin_secret_version=0)}, "origin_secret_version is 0"),
        ({"edge_options": EdgeOptions(networks=("203.0.113.1/24",))}, "networks has '203.0.113.1/24'"),
        ({"edge_options": EdgeOptions(networks=("0.0.0.0/0",))}, "networks has '0.0.0.0/0'"),
        ({"edge_options": EdgeOptions(countries=("Germany",))}, "countries has 'Germany'"),
    ],
)
def test_values_of_the_edge_that_are_not_allowed_are_named(change: dict[str, Any], complaint: str) -> None:
    assert any(complaint in line for line in refusals(replace(BASE, **change)))
