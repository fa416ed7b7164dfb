"""Which policy is whose, and that a policy that cannot be meant is refused with a text that helps."""

from __future__ import annotations

import pytest
from relay.accounts.limit_kinds import MOST_CONCURRENT, Limits
from relay.models import Caller
from relay.policies.policy import Policies, Policy, subject
from relay.policies.policy_json import PolicyError, parse
from relay.pricing.money import PICO

ACCOUNT = "123456789012"


def caller(arn: str) -> Caller:
    return Caller(account=ACCOUNT, principal="AROAEXAMPLE", arn=arn)


def role(name: str, session: str = "session") -> Caller:
    return caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}")


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/ci-deploy/build-7", "role/ci-deploy"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/ci-deploy/../admin", "role/ci-deploy"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/ci-deploy/x:role/admin", "role/ci-deploy"),
        (f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/ci/s", "role/ci"),
        (f"arn:aws:iam::{ACCOUNT}:user/team/ann", "user/team/ann"),
        (f"arn:aws:iam::{ACCOUNT}:root", "root"),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/role", "federated-user"),
        ("", "other"),
        ("arn:aws:sts::999999999999:assumed-role/ci/s", "role/ci"),
    ],
)
def test_subject_leaves_out_what_the_caller_can_choose(arn: str, expected: str) -> None:
    assert subject(caller(arn)) == f"{ACCOUNT}:{expected}"


KEY_CALLER = Caller(account="key", principal="ci-bot", arn="key:ci-bot", key_id="1")


def token(sub: str) -> Caller:
    return Caller(account="oidc/corp", principal=sub, arn=f"oidc:corp:{sub}")


def test_holders_of_keys_and_tokens_have_names_of_their_own() -> None:
    assert subject(KEY_CALLER) == "key:ci-bot"
    assert subject(token("auth0|7:x")) == "oidc:corp:auth0|7:x"
    assert {KEY_CALLER.key, token("auth0|7").key} == {"key/ci-bot", "oidc/corp/auth0|7"}
    policies = parse('{"default": "refuse", "rules": {"key:ci-*": {"rpm": 1}, "oidc:corp:auth0|*": {"rpm": 2}}}')
    found = [policies.of(each) for each in (KEY_CALLER, token("auth0|7"), token("other"), role("ci"))]
    assert [policy and policy.limits.requests_per_minute for policy in found] == [1, 2, None, None]
    assert found[2:] == [None, None]


@pytest.mark.parametrize("pattern", ["*:role/ci-deploy", "*:*", "*", "*:*:*"])
def test_no_pattern_for_iam_principals_lets_a_token_in(pattern: str) -> None:
    policies = Policies(rules=((pattern, Policy(name="rich")),), default=None)
    assert policies.of(token("role/ci-deploy")) is None
    assert policies.of(KEY_CALLER) is None


@pytest.mark.parametrize("pattern", ["key:", "oidc:", "oidc:corp", "oidc:corp:", "oidc::sub", "key:[a]"])
def test_refuses_patterns_of_keys_and_tokens_that_name_nobody(pattern: str) -> None:
    with pytest.raises(PolicyError, match=r"oidc:ALIAS:SUBJECT"):
        parse(f'{{"rules": {{"{pattern}": {{}}}}}}')


def test_no_text_is_one_default_without_limits() -> None:
    policy = parse("").of(role("any"))
    assert policy is not None
    assert policy.limits == Limits()
    assert policy.allows("any-model")


def test_the_first_rule_that_matches_counts_and_says_what_differs() -> None:
    policies = parse(
        '{"default": {"rpm": 60, "usd_day": 5, "models": ["gpt-5-mini"]}, "rules": {'
        '"123456789012:role/ci-*": {"usd_day": "12.5"}, "*:role/ci-deploy": {"usd_day": 99},'
        '"*:user/*": "refuse", "123456789012:*": {"rpm": null, "models": null, "output_cap": 100}}}'
    )
    ci = policies.of(role("ci-deploy"))
    assert ci is not None
    assert (ci.limits.usd_per_day, ci.limits.requests_per_minute) == (12 * PICO + PICO // 2, 60)
    assert not ci.allows("gpt-5")
    assert policies.of(caller(f"arn:aws:iam::{ACCOUNT}:user/ann")) is None
    other = policies.of(role("app"))
    assert other is not None
    assert (other.limits.requests_per_minute, other.output_cap, other.allows("gpt-5")) == (None, 100, True)


def test_the_default_may_be_to_refuse() -> None:
    policies = parse('{"default": "refuse", "rules": {"*:role/app": {"rpm": 5}}}')
    assert policies.of(role("stranger")) is None
    app = policies.of(role("app"))
    assert app is not None
    assert (app.limits.requests_per_minute, app.limits.usd_per_day) == (5, None)


def test_models_are_spelt_exactly() -> None:
    policy = parse('{"default": {"models": ["gpt-5-mini"]}}').of(role("app"))
    assert policy is not None
    assert [name for name in ("gpt-5-mini", "GPT-5-mini", "gpt-5-mini ", "gpt-5") if policy.allows(name)] == [
        "gpt-5-mini"
    ]


def test_null_lifts_the_limit_on_requests_at_once_up_to_what_an_item_holds() -> None:
    policy = parse('{"default": {"concurrent": null}}').of(role("app"))
    assert policy is not None
    assert policy.limits.concurrent == MOST_CONCURRENT
