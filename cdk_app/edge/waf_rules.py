"""The rules of the web ACLs in front of the relay, and the responses to what they refuse. `web_acl` builds it.

A prompt may hold anything: code, paths, addresses, scripts. So nothing here refuses a request for what its body says.
The managed rule groups only count and label, each of their rules by name; `AWSManaged` after them refuses by the labels in
`waf_lists`. A rule that AWS adds to a group therefore refuses nobody until somebody lists it, and every refusal has
OpenAI's shape.
Rules, labels and what each inspects: docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from aws_cdk import aws_wafv2 as wafv2

from cdk_app.config.edge_options import EdgeOptions
from cdk_app.edge.waf_lists import AI_GROUP, REFUSED, RESPONSES, RULES

Acl = wafv2.CfnWebACL
Rule = wafv2.CfnWebACL.RuleProperty
Statement = wafv2.CfnWebACL.StatementProperty

WINDOW_SECONDS = 300
# Content-Length has this many digits at most: 9,999,999 bytes. The exact limit is Lambda's (6 MB) and the relay's own.
LENGTH_DIGITS = 7
# One request cannot say who signed it: `Authorization` ends in a signature that is new each time, and WAF can neither
# cut it nor label by it. The token of temporary credentials stays the same for their session, so it is the caller's key.
SESSION_HEADER = "x-amz-security-token"
Scope = Literal["CLOUDFRONT", "REGIONAL"]
"""CLOUDFRONT is in front of the distribution, REGIONAL in front of the API, whose callers send the same bearer each time."""
CALLER_HEADERS: dict[Scope, str] = {"CLOUDFRONT": SESSION_HEADER, "REGIONAL": "authorization"}


def bodies() -> dict[str, wafv2.CfnWebACL.CustomResponseBodyProperty]:
    """The bodies of refusals by key, in OpenAI's error shape."""
    return {key: _body(type, code, text) for key, (_, type, code, text) in RESPONSES.items()}


def rules(options: EdgeOptions, networks: Sequence[str], scope: Scope = "CLOUDFRONT") -> list[Rule]:
    """All rules in the order of their priorities. `networks` are the ARNs of the IP sets that are served."""
    return [_numbered(number, rule) for number, rule in enumerate(_rules(options, networks, scope))]


def _rules(options: EdgeOptions, networks: Sequence[str], scope: Scope) -> Iterator[dict[str, Any]]:
    if networks:
        sets = [Statement(ip_set_reference_statement={"arn": arn}) for arn in networks]
        yield _block("OtherNetworks", _not(_any(sets)), "network")
    if options.countries:
        yield _block("OtherCountries", _not(Statement(geo_match_statement=_countries(options))), "network")
    if scope == "CLOUDFRONT":  # in front of the API there is an authorizer, which asks for a bearer
        yield _block("Unsigned", _not(_signed()), "unsigned")
    yield _block("TooLarge", _long_length(), "too-large")
    yield _block("RatePerAddress", _rate(options.requests_per_ip, aggregate_key_type="IP"), "rate")
    key = Acl.RateBasedStatementCustomKeyProperty(
        header=Acl.RateLimitHeaderProperty(name=CALLER_HEADERS[scope], text_transformations=[_as_it_is()])
    )
    by_session = _rate(options.requests_per_session, aggregate_key_type="CUSTOM_KEYS", custom_keys=[key])
    yield _block("RatePerSession", by_session, "rate")
    for group, counted in RULES.items():
        yield _managed(group, counted)
    labels = [f"awswaf:managed:aws:{group}:{label}" for group, names in REFUSED.items() for label in names]
    by_label = [Statement(label_match_statement={"scope": "LABEL", "key": label}) for label in labels]
    yield _block("AWSManaged", _any(by_label), "refused")
    if options.ai_rules != "off":
        yield _managed(AI_GROUP, (), refuses=options.ai_rules == "refuse")


def ai_configuration(options: EdgeOptions) -> list[dict[str, Any]]:
    """What the AI group wants to be told: whether Bedrock's guardrails read the requests, and as whom. Never responses:
    a stream would be held back while they are read.

    As the API spells it; the resource's class does not know it yet.
    """
    role = options.ai_guardrails_role
    read = {"ProtectRequestOnly": {"RoleArn": role}} if role else {"Disable": {}}
    return [{AI_GROUP: {"BedrockGuardrails": read}}]


def _signed() -> Statement:
    """Whether it is signed at all; only AWS can tell whether rightly. A signature in the query would end in logs."""
    return Statement(
        byte_match_statement=Acl.ByteMatchStatementProperty(
            field_to_match=_header("authorization"),
            positional_constraint="STARTS_WITH",
            search_string="AWS4-HMAC-SHA256 Credential=",
            text_transformations=[_as_it_is()],
        )
    )


def _long_length() -> Statement:
    """By the header: of a body itself WAF sees 16 KB, and calls every larger one too large, a prompt of 20 KB too."""
    return Statement(
        size_constraint_statement=Acl.SizeConstraintStatementProperty(
            field_to_match=_header("content-length"),
            comparison_operator="GT",
            size=LENGTH_DIGITS,
            text_transformations=[_as_it_is()],
        )
    )


def _rate(limit: int, **key: Any) -> Statement:
    rate = Acl.RateBasedStatementProperty(limit=limit, evaluation_window_sec=WINDOW_SECONDS, **key)
    return Statement(rate_based_statement=rate)


def _countries(options: EdgeOptions) -> wafv2.CfnWebACL.GeoMatchStatementProperty:
    return Acl.GeoMatchStatementProperty(country_codes=list(options.countries))


def _header(name: str) -> wafv2.CfnWebACL.FieldToMatchProperty:
    # As the resource's schema spells it; the CDK passes this one object through as it is.
    return Acl.FieldToMatchProperty(single_header={"Name": name})


def _as_it_is() -> wafv2.CfnWebACL.TextTransformationProperty:
    return Acl.TextTransformationProperty(priority=0, type="NONE")


def _not(statement: Statement) -> Statement:
    return Statement(not_statement=Acl.NotStatementProperty(statement=statement))


def _any(statements: Sequence[Statement]) -> Statement:
    """WAF takes an "or" of two at least."""
    return statements[0] if len(statements) == 1 else Statement(or_statement={"statements": statements})


def _block(name: str, statement: Statement, response_key: str) -> dict[str, Any]:
    headers = [Acl.CustomHTTPHeaderProperty(name="x-should-retry", value="true" if response_key == "rate" else "false")]
    if response_key == "rate":
        # WAF looks at its counts every ten seconds or so; a minute lets a window of five lose a fifth.
        headers.append(Acl.CustomHTTPHeaderProperty(name="retry-after", value="60"))
    response = Acl.CustomResponseProperty(
        response_code=RESPONSES[response_key][0], custom_response_body_key=response_key, response_headers=headers
    )
    action = Acl.RuleActionProperty(block=Acl.BlockActionProperty(custom_response=response))
    return {"name": name, "statement": statement, "action": action}


def _managed(name: str, counted: Sequence[str], *, refuses: bool = False) -> dict[str, Any]:
    overrides = [Acl.RuleActionOverrideProperty(name=rule, action_to_use=_counting()) for rule in counted]
    group = Acl.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=name, rule_action_overrides=overrides or None)
    statement = Statement(managed_rule_group_statement=group)
    result = Acl.OverrideActionProperty(none={}) if refuses else Acl.OverrideActionProperty(count={})
    return {"name": name, "statement": statement, "override_action": result}


def _counting() -> wafv2.CfnWebACL.RuleActionProperty:
    return Acl.RuleActionProperty(count={})


def _numbered(number: int, rule: dict[str, Any]) -> Rule:
    visible = Acl.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=rule["name"], sampled_requests_enabled=True
    )
    return Rule(priority=number, visibility_config=visible, **rule)


def _body(type: str, code: str, text: str) -> wafv2.CfnWebACL.CustomResponseBodyProperty:
    error = {"message": text, "type": type, "param": None, "code": code}
    return Acl.CustomResponseBodyProperty(content_type="APPLICATION_JSON", content=json.dumps({"error": error}))
