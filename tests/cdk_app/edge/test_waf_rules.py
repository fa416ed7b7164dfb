"""Prompts pass and attacks do not: a corpus through the synthesised web ACL, by the rules as AWS documents them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdk_app.edge import waf_lists
from tests.support.synthesis import EVERYTHING, Synthesised
from tests.support.waf_model import GROUPS, Groups, Request, WebAcl

CORPUS = json.loads(Path(__file__).with_name("waf_corpus.json").read_text())
SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/20261123/eu-central-1/lambda/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    "content-type": "application/json",
    "host": "d111111abcdef8.cloudfront.net",
    "user-agent": "OpenAI/Python 3.54.0",
    "x-amz-security-token": "token",
}


def acl(templates: dict[str, Synthesised], name: str = "prod", groups: Groups = GROUPS) -> WebAcl:
    resources = templates[name].stacks["edge"]["Resources"].values()
    (properties,) = (one["Properties"] for one in resources if one["Type"] == "AWS::WAFv2::WebACL")
    sets = [one["Properties"]["Addresses"] for one in resources if one["Type"] == "AWS::WAFv2::IPSet"]
    return WebAcl(properties, [network for one in sets for network in one], groups)


def prompt(text: str) -> str:
    return json.dumps({"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": text}]})


def signed(**more: Any) -> Request:
    headers = {**SIGNED, **more.pop("headers", {})}
    request = Request(**more, headers={name: text for name, text in headers.items() if text is not None})
    length = {"content-length": str(len(request.body.encode()))}
    return replace(request, headers={**length, **request.headers})


def prompts() -> Iterator[Any]:
    for case in CORPUS["prompts"]:
        text = case["text"] * case.get("times", 1)
        yield pytest.param(text, set(case["seen_by"]), id=case["what"])


@pytest.mark.parametrize(("text", "seen_by"), list(prompts()))
def test_a_prompt_passes_whatever_it_says(text: str, seen_by: set[str], templates: dict[str, Synthesised]) -> None:
    verdict = acl(templates).judge(signed(body=prompt(text)))
    assert (verdict.rule, verdict.status) == ("", 200)
    assert verdict.seen == seen_by


def attacks() -> Iterator[Any]:
    for case in CORPUS["attacks"]:
        yield pytest.param(case["request"], case["refused_by"], case["status"], set(case["seen_by"]), id=case["what"])


@pytest.mark.parametrize(("request_", "refused_by", "status", "seen_by"), list(attacks()))
def test_an_attack_is_refused_by_the_rule_that_is_for_it(
    request_: dict[str, Any], refused_by: str, status: int, seen_by: set[str], templates: dict[str, Synthesised]
) -> None:
    verdict = acl(templates).judge(signed(**request_))
    assert (verdict.rule, verdict.status) == (refused_by, status)
    assert verdict.seen == seen_by


def test_the_corpus_meets_every_rule_on_bodies() -> None:
    """Each of them would refuse some prompt of the corpus, were it left to itself."""
    met = {rule for case in CORPUS["prompts"] for rule in case["seen_by"]}
    assert met == {rule for rules in waf_lists.BODY_RULES.values() for rule in rules}


def test_a_prompt_of_150_kb_is_in_the_corpus() -> None:
    assert max(len(case["text"]) * case.get("times", 1) for case in CORPUS["prompts"]) >= 150_000


def test_what_is_listed_is_what_aws_documents() -> None:
    """Labels and names of rules: a misspelt one would refuse nothing, without anybody noticing."""
    documented = {label for rules in GROUPS.values() for _, _, label in rules.values()}
    documented.add("amazon-ip-list:AWSManagedReconnaissanceList")
    listed = {f"{group}:{name}" for group, names in waf_lists.REFUSED.items() for name in names}
    assert listed <= documented
    bodies = {label for label in documented if label.endswith("_Body")}
    assert documented - listed == bodies | {"core-rule-set:NoUserAgent_Header"}
    for group, rules in waf_lists.BODY_RULES.items():
        assert set(rules) == {name for name in GROUPS[group] if name.endswith("_BODY")}


def test_a_rule_that_aws_adds_to_a_group_refuses_nobody(templates: dict[str, Synthesised]) -> None:
    common = "AWSManagedRulesCommonRuleSet"
    grown = {**GROUPS, common: {**GROUPS[common], "New_BODY": ("body", bool, "core-rule-set:New_Body")}}
    verdict = acl(templates, groups=grown).judge(signed(body=prompt("hello")))
    assert verdict.status == 200
    assert "New_BODY" in verdict.seen


def test_rates_are_counted_by_address_and_by_session(templates: dict[str, Synthesised]) -> None:
    web_acl, options = acl(templates, EVERYTHING.name), EVERYTHING.edge_options
    often = {"address": options.requests_per_ip + 1, "session": 1}
    assert web_acl.judge(signed(rates=often)).rule == "RatePerAddress"
    eager = {"address": 1, "session": options.requests_per_session + 1}
    verdict = web_acl.judge(signed(rates=eager))
    assert (verdict.rule, verdict.status) == ("RatePerSession", 429)
    # Long-lived keys send no token: only their address is counted.
    assert web_acl.judge(signed(rates=eager, headers={"x-amz-security-token": None})).status == 200


def test_who_is_elsewhere_is_refused_where_places_are_listed(templates: dict[str, Synthesised]) -> None:
    listed, open_to_all = acl(templates, EVERYTHING.name), acl(templates)
    for change, rule in (({"address": "198.51.100.1"}, "OtherNetworks"), ({"country": "FR"}, "OtherCountries")):
        assert listed.judge(signed(**change)).rule == rule
        assert open_to_all.judge(signed(**change)).status == 200
    assert listed.judge(signed(address="2001:db8::1")).status == 200
