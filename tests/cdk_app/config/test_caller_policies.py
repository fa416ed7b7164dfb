"""Callers' policies as they are configured, as they travel, and as the relay reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from relay.accounts.limit_kinds import MOST_CONCURRENT, Limits
from relay.models import Caller, Usage
from relay.policies import policy_json
from relay.pricing import prices
from relay.pricing.money import PICO
from relay.settings import Settings

from cdk_app import environments
from cdk_app.checks import guards
from cdk_app.config.caller_policies import CallerGroup, CallerPolicies, CallerPolicy, encoded, encoded_prices
from cdk_app.config.check import check
from cdk_app.config.environment import ConfigurationError, Environment
from cdk_app.relay import settings as relay_settings
from tests.support.synthesis import EVERYTHING

GOOD = Environment(name="dev", reserved_concurrency=5, log_retention_days=7)
# What the stack adds to the settings that are values: where its secrets are.
BASE = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "OPENAI_SECRET_ARN": "x", "EDGE_SECRET_ARN": "y"}


def caller(role: str) -> Caller:
    return Caller(account="123456789012", principal="A", arn=f"arn:aws:sts::123456789012:assumed-role/{role}/session")


def refusals(**changes: Any) -> list[str]:
    try:
        check(replace(GOOD, **changes))
    except ConfigurationError as refusal:
        return str(refusal).splitlines()
    return []


@pytest.mark.parametrize("environment", [*environments.ENVIRONMENTS, EVERYTHING], ids=lambda e: str(e.name))
def test_the_relay_takes_what_is_configured(environment: Environment) -> None:
    check(environment)
    settings = Settings.from_environ({**BASE, **relay_settings.of(environment)})
    assert settings.settle_failure == environment.settle_failure
    assert settings.usage_days == environment.usage_days


def test_a_policy_arrives_as_it_was_meant() -> None:
    whole = CallerPolicy(
        models=("gpt-5",),
        requests_per_minute=1,
        concurrent=2,
        tokens_per_day=3,
        usd_per_day=4.5,
        usd_per_month=6,
        output_cap=17,
    )
    text = encoded(
        CallerPolicies(
            default=whole,
            rules={
                "*:role/same": whole,
                "*:role/dearer": replace(whole, usd_per_day=50),
                "*:role/free": CallerPolicy(),
                "*:role/none": "refuse",
            },
        )
    )
    read = policy_json.parse(text)
    limits = Limits(
        requests_per_minute=1,
        concurrent=2,
        tokens_per_day=3,
        usd_per_day=9 * PICO // 2,
        usd_per_month=6 * PICO,
    )
    assert read.default is not None
    assert (read.default.limits, read.default.models, read.default.output_cap) == (limits, frozenset({"gpt-5"}), 17)
    same, dearer, free = (read.of(caller(name)) for name in ("same", "dearer", "free"))
    assert same is not None
    assert dearer is not None
    assert free is not None
    assert same.limits == limits
    assert dearer.limits == limits.changed(usd_per_day=50 * PICO)
    assert (free.limits, free.models, free.output_cap) == (Limits(concurrent=MOST_CONCURRENT), None, None)
    assert read.of(caller("none")) is None
    assert '"*:role/same":{}' in text, "what does not differ takes no room"


def test_groups_labels_and_what_is_observed_arrive_as_they_were_meant() -> None:
    callers = CallerPolicies(
        default=CallerPolicy(usd_per_day=5, warn_at=0.8, labels={"project": "none"}),
        rules={
            "*:role/atlas": CallerPolicy(usd_per_day=5, warn_at=0.8, group="atlas", labels={"project": "ci"}),
            "*:role/trial": CallerPolicy(usd_per_day=7, observe=("usd_per_day",)),
        },
        groups={"atlas": CallerGroup(usd_per_month="100.5", labels={"cost_center": "42", "project": "x"}, warn_at=0.5)},
    )
    text = encoded(callers)
    assert json.loads(text)["rules"]["*:role/atlas"] == {"group": "atlas", "labels": {"project": "ci"}}
    read = policy_json.parse(text)
    atlas, trial, other = (read.of(caller(name)) for name in ("atlas", "trial", "other"))
    assert atlas is not None
    assert trial is not None
    assert other is not None
    assert atlas.group is not None
    assert atlas.group.limits == Limits(usd_per_month=1005 * PICO // 10)
    assert (atlas.label_text, atlas.warn_at, atlas.group.warn_at) == (
        "cost_center=42,project=ci",
        8 * PICO // 10,
        PICO // 2,
    )
    assert (trial.limits.usd_per_day, dict(trial.observed)) == (None, {"usd_per_day": 7 * PICO})
    assert (trial.warn_at, trial.label_text, trial.group) == (0, "", None), "a rule says all that holds for its callers"
    assert (other.label_text, other.group) == ("project=none", None)


@pytest.mark.parametrize(
    ("callers", "says"),
    [
        (CallerPolicies(default=CallerPolicy(group="x")), "default.group is 'x'; allowed: the name of a group"),
        (CallerPolicies(groups={"x": CallerGroup()}), "groups has 'x', which no rule names"),
        (
            CallerPolicies(default=CallerPolicy(group="x"), groups={"x": 5}),  # type: ignore[dict-item]
            "groups['x'] is 5; allowed: CallerGroup(...)",
        ),
        (
            CallerPolicies(groups=5),  # type: ignore[arg-type]
            "groups is 5; allowed: a mapping",
        ),
        (
            CallerPolicies(default=CallerPolicy(group="x"), groups={"x": CallerGroup(usd_per_day=5, usd_per_month=1)}),
            "groups['x'].usd_per_month is 1; allowed: at least usd_per_day, 5",
        ),
        (
            CallerPolicies(
                default=CallerPolicy(group="x", labels=dict.fromkeys("abc", "1")),
                groups={"x": CallerGroup(labels=dict.fromkeys("def", "1"))},
            ),
            "default.labels and its group's are too many",
        ),
    ],
)
def test_groups_that_cannot_be_meant_are_refused(callers: Any, says: str) -> None:
    (line,) = refusals(callers=callers)
    assert f"callers.{says}" in line


def test_a_model_without_a_price_is_named_where_only_the_group_has_a_budget() -> None:
    callers = CallerPolicies(
        default=CallerPolicy(group="x", models=("new-model",)), groups={"x": CallerGroup(usd_per_day=5)}
    )
    (line,) = refusals(callers=callers)
    assert line.startswith("dev: new-model: no price")
    assert not refusals(callers=replace(callers, groups={"x": CallerGroup(usd_per_day=5, observe=("usd_per_day",))}))


def test_a_default_may_be_to_refuse() -> None:
    text = encoded(CallerPolicies(default="refuse", rules={"*:role/app": CallerPolicy(requests_per_minute=5)}))
    assert json.loads(text) == {"default": "refuse", "rules": {"*:role/app": {"rpm": 5}}}
    read = policy_json.parse(text)
    assert read.of(caller("stranger")) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"requests_per_minute": 0}, "callers.default.requests_per_minute is 0; allowed: a whole number of at least 1"),
        ({"requests_per_minute": "5"}, "callers.default.requests_per_minute is '5'"),
        ({"concurrent": 501}, "allowed: a whole number from 1 to 500"),
        ({"tokens_per_day": True}, "callers.default.tokens_per_day is True"),
        ({"output_cap": -1}, "callers.default.output_cap is -1"),
        ({"usd_per_day": -1}, "callers.default.usd_per_day is -1; allowed: US dollars such as 5 or '0.25'"),
        ({"usd_per_day": 0.1 + 0.2}, "callers.default.usd_per_day is 0.30000000000000004; allowed: US dollars"),
        ({"usd_per_day": float("nan")}, "callers.default.usd_per_day is nan"),
        ({"usd_per_day": float("inf")}, "callers.default.usd_per_day is inf"),
        ({"usd_per_day": True}, "callers.default.usd_per_day is True"),
        ({"usd_per_day": "0.0000000000001"}, "with at most 12 decimals"),
        ({"output_cap": 15}, "callers.default.output_cap is 15; allowed: a whole number of at least 16"),
        ({"usd_per_month": "ten"}, "callers.default.usd_per_month is 'ten'"),
        ({"usd_per_month": "NaN"}, "callers.default.usd_per_month is 'NaN'"),
        ({"models": ()}, "callers.default.models is (); allowed: a tuple of model names"),
        ({"models": ["gpt-5"]}, "callers.default.models is ['gpt-5']"),
        ({"models": ("",)}, "callers.default.models is ('',)"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_synth(changes: dict[str, Any], says: str) -> None:
    (line,) = refusals(callers=CallerPolicies(default=replace(CallerPolicy(), **changes)))
    assert says in line
    (line,) = refusals(callers=CallerPolicies(rules={"*:*": replace(CallerPolicy(), **changes)}))
    assert says.replace("callers.default", "callers.rules['*:*']") in line


@pytest.mark.parametrize(
    "pattern",
    [
        "role/ci",
        "123456789012",
        "*:group/x",
        "*:role/[a]",
        "",
        "x:role/y",
        ":role/x",
        "key:",
        "key:[a]",
        "oidc:corp",
        "oidc::x",
        "oidc:a:",
    ],
)
def test_a_pattern_that_matches_nobody_is_refused_at_synth_and_by_the_relay(pattern: str) -> None:
    (line,) = refusals(callers=CallerPolicies(rules={pattern: CallerPolicy()}))
    assert f"callers.rules has {pattern!r}" in line
    if pattern != "x:role/y":  # the relay does not ask whether an account is one
        with pytest.raises(policy_json.PolicyError):
            policy_json.parse(encoded(CallerPolicies(rules={pattern: CallerPolicy()})))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "prices['m'] has no price"),
        ({"input": -1}, "prices['m'].input is -1; allowed: US dollars for a million"),
        ({"input": 0.1 + 0.2}, "prices['m'].input is 0.30000000000000004"),
        ({"input": 1, "context": "many"}, "prices['m'].context is 'many'"),
        ({"input": 1, "inputs": 2}, "prices['m'] has 'inputs'"),
        ({"input": 1, "tiers": {"flex": {"context": 1, "input": 1}}}, "prices['m'].tiers.flex.context is 1"),
        ({"input": 1, "tiers": {"flex": {}}}, "prices['m'].tiers.flex has no price"),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused(entry: dict[str, Any], says: str) -> None:
    lines = refusals(prices={"m": entry})
    assert any(says in line for line in lines), lines


def test_prices_arrive_as_they_were_meant() -> None:
    text = encoded_prices({"m": {"input": "0.25", "output": 2, "context": 9, "tiers": {"flex": {"input": 1}}}})
    price = prices.parse(text).of("m")
    assert price is not None
    assert price.cost(Usage(input=4_000_000, output=1_000_000), "") == 3 * PICO
    assert price.cost(Usage(input=1_000_000), "flex") == PICO
    assert price.context == 9
    assert encoded_prices({}) == ""


def test_variables_that_lambda_would_not_take_are_refused_readably() -> None:
    rules = {f"123456789012:role/team-{number}": CallerPolicy(usd_per_day=number) for number in range(100)}
    text = encoded(CallerPolicies(rules=rules))
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Environment": {"Variables": {"CALLER_POLICIES": text}}},
    }
    lines = [line for line in guards.problems({"Resources": {"Function": function}}, GOOD) if "4096" in line]
    (line,) = lines
    assert "Lambda allows 4096 together" in line
    assert f"{len(text) + len('CALLER_POLICIES')} of them CALLER_POLICIES" in line
