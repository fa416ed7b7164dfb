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


@pytest.mark.parametrize(("request_", "refused_by", "status", "seen_by"), list(attacks()))
def test_an_attack_without_a_user_agent_is_refused_all_the_same(
    request_: dict[str, Any], refused_by: str, status: int, seen_by: set[str], templates: dict[str, Synthesised]
) -> None:
    """Its own rule stands first in the core rule set, and would end that set."""
    headers = {"user-agent": None, **request_.get("headers", {})}
    verdict = acl(templates).judge(signed(**{**request_, "headers": headers}))
    assert (verdict.rule, verdict.status) == (refused_by, status)
    is_asked = refused_by == "AWSManaged" and not headers["user-agent"]
    assert verdict.seen == seen_by | ({"NoUserAgent_HEADER"} if is_asked else set())


def test_a_prompt_without_a_user_agent_passes(templates: dict[str, Synthesised]) -> None:
    verdict = acl(templates).judge(signed(body=prompt("hello"), headers={"user-agent": None}))
    assert verdict.status == 200
    assert verdict.seen == {"NoUserAgent_HEADER"}


def test_the_corpus_meets_every_rule_on_bodies() -> None:
    """Each of them would refuse some prompt of the corpus, were it left to itself."""
    met = {rule for case in CORPUS["prompts"] for rule in case["seen_by"]}
    assert met == {rule for rules in waf_lists.RULES.values() for rule in rules if rule.endswith("_BODY")}


def test_no_rule_hides_what_comes_after_it(templates: dict[str, Synthesised]) -> None:
    """Everything at once: each rule that can match one request does, whatever matched before."""
    path, agent = (
        "/latest/meta-data/../../WEB-INF/${jndi:x}/http://10.1.2.3/<script>/class.module.classLoader/a.log",
        "nmap",
    )
    text = "../../ http://169.254.169.254/ ${jndi:x} (java.lang.Runtime) __proto__ <script>" + "x" * 9000
    query = "u=http://169.254.169.254/../../&q=<script>${jndi:x}class.module.classLoader=.log&" + "x" * 2050
    cookie = "<script>169.254.169.254" + "x" * 10_300
    headers = {"user-agent": agent, "cookie": cookie, "host": "localhost", "x": "${jndi:a} (java.lang.Runtime)"}
    everything = {"known_bad": True, "scans": True, "floods": True, "method": "PROPFIND"}
    verdict = acl(templates).judge(
        signed(path="/" + "x" * 1024 + path, query=query, body=text, headers=headers, **everything)
    )
    every_rule = {rule for rules in GROUPS.values() for rule in rules}
    assert every_rule - verdict.seen == {"NoUserAgent_HEADER"}
    assert verdict.rule == "AWSManaged"


def test_who_floods_by_aws_own_list_is_counted_only(templates: dict[str, Synthesised]) -> None:
    assert acl(templates).judge(signed(floods=True)).status == 200
    assert acl(templates).judge(signed(scans=True)).rule == "AWSManaged"


def test_a_prompt_of_150_kb_is_in_the_corpus() -> None:
    assert max(len(case["text"]) * case.get("times", 1) for case in CORPUS["prompts"]) >= 150_000


def test_what_is_listed_is_what_aws_documents() -> None:
    """Labels and names of rules: a misspelt one would refuse nothing, without anybody noticing."""
    documented = {label for rules in GROUPS.values() for _, _, label in rules.values()}
    listed = {f"{group}:{name}" for group, names in waf_lists.REFUSED.items() for name in names}
    assert listed <= documented
    bodies = {label for label in documented if label.endswith("_Body")}
    assert documented - listed == bodies | {"core-rule-set:NoUserAgent_Header", "amazon-ip-list:AWSManagedIPDDoSList"}
    assert {group: set(rules) for group, rules in waf_lists.RULES.items()} == {g: set(r) for g, r in GROUPS.items()}


NEW: Groups = {
    group: {**rules, "New_HEADER": ("headers", bool, "new-rules:New_Header")} for group, rules in GROUPS.items()
}
NEW_FIRST: Groups = {
    group: {"New_HEADER": ("headers", bool, "new-rules:New_Header"), **rules} for group, rules in GROUPS.items()
}


@pytest.mark.parametrize("groups", [NEW, NEW_FIRST], ids=["at the end", "at the beginning"])
def test_a_rule_that_aws_adds_to_a_group_refuses_nobody(groups: Groups, templates: dict[str, Synthesised]) -> None:
    for case in CORPUS["prompts"]:
        body = prompt(case["text"] * case.get("times", 1))
        assert acl(templates, groups=groups).judge(signed(body=body)).status == 200


@pytest.mark.parametrize(("request_", "refused_by", "status", "seen_by"), list(attacks()))
def test_a_rule_that_aws_adds_lets_nobody_in(
    request_: dict[str, Any], refused_by: str, status: int, seen_by: set[str], templates: dict[str, Synthesised]
) -> None:
    """New rules are added behind the others. One that stands before them ends its group for what it matches itself."""
    verdict = acl(templates, groups=NEW).judge(signed(**request_))
    assert (verdict.rule, verdict.status) == (refused_by, status)
    assert seen_by <= verdict.seen


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
