"""Rules that every template of the edge has to meet. Reads finished templates only; called by `guards`.

Much of this no linter and no validator knows: a read timeout that CloudFront refuses, rules of a web ACL that have no
action or the same priority, a managed rule group that does not exist, a log with signatures in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cdk_app.config.environment import Environment
from cdk_app.edge import waf_lists

Template = Mapping[str, Any]
Found = Iterator[str]

# docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide: managed policies, by id.
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
# Fields of CloudFront's access log that may hold a signature, a token or a prompt.
NEVER_LOGGED = ("cs-uri-query", "cs(Cookie)", "cs(Referer)", "cs-headers")
PROTECTED = {"authorization", "x-amz-security-token", "cookie", "QUERY_STRING", "BODY"}
ACTIONS = ("Action", "OverrideAction")
ACL = "AWS::WAFv2::WebACL"
# Rules that only one of the two kinds of ACLs has: in front of the API, an authorizer asks for a bearer.
_BY_SCOPE: dict[str, tuple[str, ...]] = {"CLOUDFRONT": ("Unsigned",), "REGIONAL": ()}
# Of CloudFront's Free plan.
MOST_BEHAVIOURS = 5


def lines(template: Template, environment: Environment) -> Found:
    """One for each problem."""
    for name, properties in _of(template, "AWS::CloudFront::Distribution"):
        yield from (f"{name}: {line}" for line in _distribution(properties["DistributionConfig"], environment))
        if not list(_of(template, "AWS::Logs::Delivery")):
            yield f"{name}: its access log is not delivered; add an AWS::Logs::Delivery"
    for name, properties in _of(template, "AWS::Logs::Delivery"):
        for field in properties.get("RecordFields", NEVER_LOGGED):
            if field in NEVER_LOGGED:
                yield f"{name}: {field} is logged, and may hold a signature"
    # What a web ACL is in front of decides where it lives: a distribution, or else an API's stage.
    scope = "CLOUDFRONT" if list(_of(template, "AWS::CloudFront::Distribution")) else "REGIONAL"
    for name, properties in _of(template, ACL):
        yield from (f"{name}: {line}" for line in [*_web_acl(properties, scope), *_sizes(properties, environment)])
        if properties.get("AnalyticsConfig") != {"Mode": "DISABLED"}:
            yield f"{name}: AnalyticsConfig has to be DISABLED; WAF would copy all requests to other regions"
        if not list(_of(template, "AWS::WAFv2::LoggingConfiguration")):
            yield f"{name}: what it refuses is not logged"
    yield from _plan(template)


def _of(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in template.get("Resources", {}).items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def _distribution(config: Mapping[str, Any], environment: Environment) -> Found:
    behaviour = config["DefaultCacheBehavior"]
    for name, wanted, why in (
        ("CachePolicyId", CACHING_DISABLED, "responses would be cached"),
        ("OriginRequestPolicyId", ALL_VIEWER_EXCEPT_HOST_HEADER, "signatures would not reach Lambda"),
        ("ViewerProtocolPolicy", "https-only", "signed requests could come in the clear"),
        ("Compress", False, "streams would be held back"),
    ):
        if behaviour.get(name) != wanted:
            yield f"{name} is {behaviour.get(name)}; {why}; allowed: {wanted}"
    if "POST" not in behaviour.get("AllowedMethods", []):
        yield "AllowedMethods lacks POST"
    if not config.get("WebACLId"):
        yield "no web ACL stands in front of it"
    for origin in config["Origins"]:
        yield from _origin(origin, environment)


def _plan(template: Template) -> Found:
    """What a flat-rate plan forbids: docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/flat-rate-pricing-plan.html"""
    for name, plan in _of(template, "AWS::PricingPlanManager::Subscription"):
        distributions, acls = list(_of(template, "AWS::CloudFront::Distribution")), list(_of(template, ACL))
        covered = {resource["Fn::GetAtt"][0] for resource in plan["ResourceArns"] if "Fn::GetAtt" in resource}
        if len(distributions) != 1 or len(acls) != 1 or len(plan["ResourceArns"]) != 2 or acls[0][0] not in covered:
            yield f"{name}: a plan covers exactly one distribution and its web ACL"
        for distribution, properties in distributions:
            yield from (f"{distribution}: {line}" for line in _not_in_the_plan(properties["DistributionConfig"]))
        for acl, properties in acls:
            paid = [rule["Name"] for rule in properties["Rules"] if _is_paid(rule)]
            yield from (f"{acl}: {rule} is paid for apart, and the Free plan has no such rules" for rule in paid)


def _not_in_the_plan(config: Mapping[str, Any]) -> Found:
    behaviours = [config["DefaultCacheBehavior"], *config.get("CacheBehaviors", [])]
    if len(behaviours) > MOST_BEHAVIOURS:
        yield f"{len(behaviours)} behaviours; the Free plan allows {MOST_BEHAVIOURS}"
    for field in ("LambdaFunctionAssociations", "ForwardedValues", "RealtimeLogConfigArn", "FieldLevelEncryptionId"):
        if any(behaviour.get(field) for behaviour in behaviours):
            yield f"{field} is not part of the Free plan"
    if any(not isinstance(behaviour.get("CachePolicyId"), str) for behaviour in behaviours):
        yield "a cache policy of one's own is not part of the Free plan; use one of CloudFront's"
    if len(config.get("Aliases", [])) > 1:
        yield "the Free plan covers one domain"


def _is_paid(rule: Mapping[str, Any]) -> bool:
    action, group = rule.get("Action", {}), rule["Statement"].get("ManagedRuleGroupStatement")
    return "Captcha" in action or (group is not None and group["Name"] not in waf_lists.RULES)


def _origin(origin: Mapping[str, Any], environment: Environment) -> Found:
    custom = origin.get("CustomOriginConfig", {})
    if custom.get("OriginProtocolPolicy") != "https-only":
        yield f"OriginProtocolPolicy is {custom.get('OriginProtocolPolicy')}; allowed: https-only"
    if origin.get("OriginAccessControlId"):
        yield "an origin access control would put CloudFront in the caller's place"
    secrets = [json.dumps(header["HeaderValue"]) for header in origin.get("OriginCustomHeaders", [])]
    if not secrets:
        yield "no origin secret is sent; the direct door could not be locked"
    if any("{{resolve:secretsmanager:" not in secret for secret in secrets):
        yield "the origin secret is text in the template"
    read, completion = custom.get("OriginReadTimeout", 30), origin.get("ResponseCompletionTimeout")
    if not 1 <= read <= 120:
        yield f"OriginReadTimeout is {read}; allowed: 1 to 120"
    if not 0 < environment.heartbeat_seconds <= read / 2:
        yield (
            f"OriginReadTimeout is {read} and a heartbeat comes every {environment.heartbeat_seconds} s (0: never); "
            "allowed: two heartbeats within the timeout [slow-heartbeat]"
        )
    if completion is not None and completion < max(read, environment.timeout_seconds):
        yield f"ResponseCompletionTimeout is {completion}; it would end responses before the function's time-out does"


def _web_acl(acl: Mapping[str, Any], scope: str) -> Found:
    if acl.get("Scope") != scope:
        yield f"Scope is {acl.get('Scope')}; allowed: {scope}"
    rules = acl.get("Rules", [])
    priorities = [rule["Priority"] for rule in rules]
    if len(set(priorities)) != len(priorities):
        yield f"priorities {priorities}: each once"
    for rule in rules:
        yield from (f"{rule['Name']}: {line}" for line in _rule(rule))
    yield from _missing(acl)
    protected = {
        key
        for entry in acl.get("DataProtectionConfig", {}).get("DataProtections", [])
        for key in entry["Field"].get("FieldKeys", [entry["Field"]["FieldType"]])
        if not entry.get("ExcludeRuleMatchDetails")
    }
    for field in sorted(PROTECTED - protected):
        yield f"{field} would be in the log and in sampled requests"


def _sizes(acl: Mapping[str, Any], environment: Environment) -> Found:
    """WAF judges a body by the digits of its Content-Length; what the relay takes has to pass."""
    for rule in acl.get("Rules", []):
        digits = rule["Statement"].get("SizeConstraintStatement", {}).get("Size")
        if digits is not None and 10**digits <= environment.max_body_bytes:
            yield f"{rule['Name']} refuses bodies from {10**digits} bytes on; max_body_bytes is {environment.max_body_bytes}"


def _rule(rule: Mapping[str, Any]) -> Found:
    if sum(name in rule for name in ACTIONS) != 1:
        yield "has neither or both of Action and OverrideAction"
    response = rule.get("Action", {}).get("Block", {}).get("CustomResponse")
    if "Block" in rule.get("Action", {}) and not response:
        yield "refuses without a response that OpenAI clients understand"
    group = rule["Statement"].get("ManagedRuleGroupStatement")
    if group is None:
        return
    if group["Name"] == waf_lists.AI_GROUP:
        yield from _ai_group(group)
        return
    if group["Name"] not in waf_lists.RULES:
        yield f"{group['Name']} is not a managed rule group that is known here"
        return
    if rule.get("OverrideAction") != {"Count": {}}:
        yield "refuses by itself; it has to count, and AWSManaged refuses by its labels"
    overrides = group.get("RuleActionOverrides", [])
    counted = {override["Name"] for override in overrides if override["ActionToUse"] == {"Count": {}}}
    for missing in sorted(set(waf_lists.RULES[group["Name"]]) - counted):
        yield f"{missing} would end its group, and attacks that later rules know would pass; count it"


def _ai_group(group: Mapping[str, Any]) -> Found:
    (configuration,) = group.get("ManagedRuleGroupConfigs", [{}])
    guardrails = configuration.get(waf_lists.AI_GROUP, {}).get("BedrockGuardrails", {})
    if list(guardrails) not in (["Disable"], ["ProtectRequestOnly"]):
        yield "BedrockGuardrails has to be Disable or ProtectRequestOnly; a stream that is read first is held back"


def _missing(acl: Mapping[str, Any]) -> Found:
    """Rules that are absent or do not refuse, by name."""
    rules = {rule["Name"]: rule for rule in acl.get("Rules", [])}
    refusing = {name for name, rule in rules.items() if "Block" in rule.get("Action", {})}
    for name in (
        *_BY_SCOPE.get(acl.get("Scope", ""), ()),
        "TooLarge",
        "RatePerAddress",
        "RatePerSession",
        "AWSManaged",
    ):
        if name not in refusing:
            yield f"the rule {name} is missing, or does not refuse"
    for name in waf_lists.RULES:
        if name not in rules:
            yield f"the managed rules {name} are missing"
    for name in ("RatePerAddress", "RatePerSession"):
        response = rules.get(name, {}).get("Action", {}).get("Block", {}).get("CustomResponse", {})
        headers = {header["Name"] for header in response.get("ResponseHeaders", [])}
        if response.get("ResponseCode") != 429 or "retry-after" not in headers:
            yield f"{name}: responds with {response.get('ResponseCode')}; allowed: 429 with retry-after"
