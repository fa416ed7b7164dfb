"""Fields that are each allowed and contradict one another: one line that names both, at synth and not at a caller's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.config import contradictions
from cdk_app.config.caller_policies import CallerPolicies, CallerPolicy
from cdk_app.config.check import check
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.environment import ConfigurationError, Environment, RequestPolicy
from cdk_app.edge import waf_rules
from cdk_app.options.alarm_options import AlarmOptions
from tests.support.synthesis import EVERYTHING

GOOD = Environment(
    name="dev",
    region="eu-central-1",
    reserved_concurrency=5,
    log_retention_days=7,
    prices={"gpt-5": {"input": 1, "output": 10}},
)


def refusals(**changes: Any) -> list[str]:
    try:
        check(replace(GOOD, **changes))
    except ConfigurationError as refusal:
        return str(refusal).splitlines()
    return []


def default(**limits: Any) -> CallerPolicies:
    return CallerPolicies(default=CallerPolicy(**limits))


def secret(region: str) -> str:
    return f"arn:aws:secretsmanager:{region}:123456789012:secret:openai-AbCdEf"


KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012"
CONTRADICTORY: dict[str, tuple[dict[str, Any], str]] = {
    "a deadline that leaves no time": (
        {"timeout_seconds": 30, "deadline_reserve_seconds": 7},
        "deadline_reserve_seconds is 7; allowed: at most 6, a fifth of timeout_seconds (30)",
    ),
    "a heartbeat after the end": (
        {"timeout_seconds": 12, "heartbeat_seconds": 13},
        "heartbeat_seconds is 13; allowed: at most timeout_seconds (12)",
    ),
    "WAF below the relay's own rate": (
        {"edge": "required", "callers": default(requests_per_minute=120)},
        "edge_options.requests_per_session is 500; allowed: at least 900, because a caller may make 120 requests a minute",
    ),
    "WAF below one rule's rate": (
        {"edge": "optional", "callers": CallerPolicies(rules={"*:role/fast": CallerPolicy(requests_per_minute=200)})},
        "edge_options.requests_per_session is 500; allowed: at least 1500",
    ),
    "WAF below the rate of two callers behind one address": (
        {"edge": "required", "edge_options": EdgeOptions(requests_per_session=500, requests_per_ip=999)},
        "edge_options.requests_per_ip is 999; allowed: at least 1000, 2 callers behind one address",
    ),
    "more at once than all together": (
        {"callers": default(concurrent=6)},
        "callers.default.concurrent is 6; allowed: at most 5, reserved_concurrency",
    ),
    "a cap above the environment's": (
        {"requests": RequestPolicy(max_output_tokens=1000), "callers": default(output_cap=1001)},
        "callers.default.output_cap is 1001; allowed: at most 1000, requests.max_output_tokens",
    ),
    "a day's tokens below one response": (
        {"callers": default(tokens_per_day=16_384)},
        "callers.default.tokens_per_day is 16384; allowed: more than 16384, what one response may take",
    ),
    "a day's tokens below one capped response": (
        {"callers": CallerPolicies(rules={"*:role/x": CallerPolicy(tokens_per_day=999, output_cap=1000)})},
        "callers.rules['*:role/x'].tokens_per_day is 999; allowed: more than 1000",
    ),
    "a month below a day": (
        {"callers": default(usd_per_day=5, usd_per_month="4.99")},
        "callers.default.usd_per_month is '4.99'; allowed: at least usd_per_day, 5",
    ),
    "a budget below one response": (
        {"callers": default(usd_per_day=0.01, models=("gpt-5",))},
        "callers.default.usd_per_day is 0.01; allowed: at least 0.16384, what a response of 16384 tokens costs at least",
    ),
    "a secret of another region": (
        {"openai_secret": secret("us-east-1")},
        "openai_secret is in us-east-1; allowed: one in eu-central-1, the environment's region",
    ),
    "a KMS key of another region": (
        {"openai_secret": "name", "openai_secret_kms_key": KEY},
        "openai_secret_kms_key is in us-east-1; allowed: one in eu-central-1",
    ),
    "a rule behind one that matches the same": (
        {"callers": CallerPolicies(rules={"*:role/*": CallerPolicy(), "123456789012:role/ci-*": "refuse"})},
        "callers.rules has '123456789012:role/ci-*' after '*:role/*', which matches first; put it before",
    ),
    "a warning after the stop": (
        {"alarms": AlarmOptions(usd_per_day=11, stop_at_usd_per_day=10)},
        "alarms.usd_per_day is 11; allowed: at most stop_at_usd_per_day, 10",
    ),
    "a stop below one caller's budget": (
        {"alarms": AlarmOptions(stop_at_usd_per_day=10), "callers": default(usd_per_day="10.5")},
        "alarms.stop_at_usd_per_day is 10; allowed: at least 10.5, which one caller may spend (callers.default.usd_per_day)",
    ),
    "direct callers past a required edge": (
        {"edge": "required", "direct_invokers": ("123456789012",)},
        "direct_invokers must be empty when edge='required': direct calls bypass the edge",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTORY)
def test_a_contradiction_is_one_line(name: str) -> None:
    changes, says = CONTRADICTORY[name]
    line, *others = refusals(**changes)
    assert line.startswith(f"dev: {says}")
    # A session's rate that is too low makes that of an address too low as well.
    assert not [other for other in others if "requests_per_ip" not in other]


AGREEING: dict[str, dict[str, Any]] = {
    "the shortest time-out": {"timeout_seconds": 10},
    "a fifth": {"timeout_seconds": 30, "deadline_reserve_seconds": 6},
    "WAF far from the edge": {"edge": "off", "callers": default(requests_per_minute=10_000)},
    "WAF at the relay's own rate": {
        "edge": "required",
        "edge_options": EdgeOptions(requests_per_session=900, requests_per_ip=1800),
        "callers": default(requests_per_minute=120),
    },
    "WAF without a rate of the relay's": {"edge": "required"},
    "all at once": {"callers": default(concurrent=5)},
    "nobody is served": {"callers": default(concurrent=5), "reserved_concurrency": 0},
    "a cap at the environment's": {"callers": default(output_cap=16_384)},
    "a month like a day": {"callers": default(usd_per_day=5, usd_per_month=5)},
    "nothing to spend": {"callers": default(usd_per_day=0, usd_per_month=0, models=("gpt-5",))},
    "a budget for one response": {"callers": default(usd_per_day="0.16384", models=("gpt-5",))},
    "a budget for one short response": {"callers": default(usd_per_day=0.01, models=("gpt-5",), output_cap=100)},
    "a secret of the region": {"openai_secret": secret("eu-central-1")},
    "a secret of whatever region is deployed to": {"openai_secret": secret("us-east-1"), "region": None},
    "a rule before one that matches more": {
        "callers": CallerPolicies(rules={"1:role/ci-*": "refuse", "*:role/*": CallerPolicy(), "*:user/*": "refuse"})
    },
    "a rule behind one that matches one letter": {
        "callers": CallerPolicies(rules={"1:role/?": "refuse", "1:role/*": CallerPolicy()})
    },
    "a stop at one caller's budget": {
        "alarms": AlarmOptions(usd_per_day=10, stop_at_usd_per_day=10),
        "callers": default(usd_per_day=10),
    },
}


@pytest.mark.parametrize("name", AGREEING)
def test_what_agrees_is_allowed(name: str) -> None:
    assert refusals(**AGREEING[name]) == []


def test_contradictions_are_told_together_and_only_of_values_that_are_allowed() -> None:
    both = {"callers": default(concurrent=6, usd_per_day=5, usd_per_month=4)}
    assert len(refusals(**both)) == 2
    (line,) = refusals(**both, heartbeat_seconds="10")
    assert line.startswith("dev: heartbeat_seconds is '10'; allowed: a number")


@pytest.mark.parametrize("environment", [*environments.ENVIRONMENTS, EVERYTHING], ids=lambda e: str(e.name))
def test_waf_lets_through_what_the_relay_allows(environment: Environment) -> None:
    """The worst that a caller within its limit does: all of a minute's requests at its end, then those of five more."""
    policies = contradictions.policies(environment).values()
    fastest = max(policy.requests_per_minute or 0 for policy in policies)
    minutes = waf_rules.WINDOW_SECONDS // 60 + 1
    options = environment.edge_options
    assert fastest > 0
    if environment.edge != "off":
        assert options.requests_per_session > fastest * minutes
        assert options.requests_per_ip >= 2 * options.requests_per_session
    assert minutes == contradictions.RATE_WINDOWS


def test_waf_takes_every_body_that_the_relay_takes() -> None:
    largest = 10**waf_rules.LENGTH_DIGITS - 1
    assert largest >= 6_291_456
