"""Policies as they are written: what cannot be meant is refused with a text that helps, and the rest means what it says."""

from __future__ import annotations

import pytest
from relay.accounts.limit_kinds import MOST_CONCURRENT, Limits
from relay.models import Caller
from relay.policies.policy import Policy
from relay.policies.policy_json import PolicyError, parse
from relay.pricing.money import PICO


def policy_of(text: str, role: str = "app") -> Policy:
    arn = f"arn:aws:sts::123456789012:assumed-role/{role}/session"
    found = parse(text).of(Caller(account="123456789012", principal="AROAEXAMPLE", arn=arn))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"defaults": {}}', "'defaults' is not known here"),
        ('{"default": {"rmp": 5}}', "'rmp' is not known here; known are concurrent, group, labels, models"),
        ('{"default": {"rpm": 0}}', "policies['default'].rpm: must be a whole number of at least 1"),
        ('{"default": {"rpm": true}}', "rpm: must be a whole number"),
        ('{"default": {"rpm": 1.5}}', "rpm: must be a whole number"),
        ('{"default": {"usd_day": -1}}', "usd_day: must be an amount in US dollars"),
        ('{"default": {"usd_day": "ten"}}', "usd_day: must be an amount"),
        ('{"default": {"usd_day": true}}', "usd_day: must be an amount"),
        ('{"default": {"usd_day": "NaN"}}', "usd_day: must be an amount"),
        ('{"default": {"usd_day": 0.0000000000001}}', "usd_day: must be an amount"),
        ('{"default": {"concurrent": 501}}', "concurrent: at most 500"),
        ('{"default": {"models": []}}', "models: must be a list of model names"),
        ('{"default": {"models": [1.5]}}', "models: must be a list of model names"),
        ('{"default": {"models": "gpt-5"}}', "models: must be a list"),
        ('{"default": {"output_cap": 0}}', "output_cap: must be a whole number"),
        ('{"default": 5}', 'must be an object or "refuse"'),
        ('{"rules": []}', "rules: must be an object"),
        ('{"rules": {"role/ci": {}}}', "must be ACCOUNT:role/NAME"),
        ('{"rules": {"1:group/x": {}}}', "must be ACCOUNT:role/NAME"),
        ('{"rules": {"*:role/[a-z]": {}}}', "must be ACCOUNT:role/NAME"),
        ('{"rules": {"*:*": {"rpm": "5"}}}', "policies['*:*'].rpm"),
        ('{"groups": []}', "policies.groups: must be an object"),
        ('{"groups": {"Atlas": {}}}', "policies.groups: 'Atlas': must be 1 to 24 lower-case letters"),
        ('{"groups": {"a/b": {}}}', "policies.groups: 'a/b'"),
        ('{"groups": {"aaaaabbbbbcccccdddddeeeee": {}}}', "must be 1 to 24"),
        ('{"groups": {"atlas": "refuse"}}', "policies.groups['atlas']: must be an object"),
        ('{"groups": {"atlas": {"models": ["gpt-5"]}}}', "policies.groups['atlas']: 'models' is not known here"),
        ('{"groups": {"atlas": {"usd_day": -1}}}', "policies.groups['atlas'].usd_day: must be an amount"),
        ('{"default": {"group": "atlas"}}', "policies['default'].group: must be the name of a group, or null"),
        ('{"groups": {"atlas": {}}, "default": {"group": "Atlas"}}', "there are: atlas"),
        ('{"default": {"observe": ["usd_day"]}}', "observe: names 'usd_day', which has no figure here"),
        ('{"default": {"observe": ["usd_per_day"]}}', "observe: must be a list of limits: usd_month, usd_day"),
        ('{"default": {"observe": "rpm"}}', "observe: must be a list"),
        ('{"default": {"observe": [["rpm"]]}}', "observe: must be a list"),
        ('{"default": {"warn_at": 0}}', "warn_at: must be a share such as 0.8"),
        ('{"default": {"warn_at": 1.01}}', "warn_at: must be a share"),
        ('{"default": {"warn_at": "much"}}', "warn_at: must be a share"),
        ('{"default": {"warn_at": true}}', "warn_at: must be a share"),
        ('{"default": {"labels": ["a"]}}', "labels: must be an object of name: text"),
        ('{"default": {"labels": {"Team": "a"}}}', "labels: 'Team': must be 1 to 24 lower-case letters"),
        ('{"default": {"labels": {"team": ""}}}', "labels.team: must be 1 to 48 letters"),
        ('{"default": {"labels": {"team": "a,b=c"}}}', "labels.team: must be"),
        ('{"default": {"labels": {"team": "\\u001b[2J"}}}', "labels.team: must be"),
        ('{"default": {"labels": {"team": 7}}}', "labels.team: must be"),
        ('{"default": {"labels": {"a":"1","b":"1","c":"1","d":"1","e":"1","f":"1"}}}', "labels: at most 5"),
        (
            f'{{"default": {{"labels": {{"a": "{"x" * 48}", "b": "{"y" * 48}"}}}}}}',
            "labels: at most 5 with 96 characters together",
        ),
        (
            '{"groups": {"g": {"labels": {"a":"1","b":"1","c":"1"}}},'
            ' "rules": {"*:*": {"group": "g", "labels": {"d":"1","e":"1","f":"1"}}}}',
            "policies['*:*'].labels: at most 5",
        ),
    ],
)
def test_what_cannot_be_meant_is_named(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(text)
    assert says in str(caught.value)


GROUPS = """{"default": {"usd_day": 5}, "groups": {
    "atlas": {"usd_month": 100, "rpm": 600, "labels": {"cost_center": "42", "project": "atlas"}, "warn_at": 0.8},
    "all": {"tokens_day": 7}},
    "rules": {
        "*:role/atlas-*": {"group": "atlas", "labels": {"project": "atlas-ci"}},
        "*:role/alone": {"usd_day": 1}}}"""


def test_a_caller_has_the_group_of_its_rule_and_limits_of_its_own_beside_it() -> None:
    policy = policy_of(GROUPS, "atlas-ci")
    assert policy.group is not None
    assert (policy.group.name, policy.group.warn_at) == ("atlas", 8 * PICO // 10)
    assert policy.group.limits == Limits(usd_per_month=100 * PICO, requests_per_minute=600)
    assert policy.limits == Limits(usd_per_day=5 * PICO)
    assert policy_of(GROUPS, "alone").group is None


def test_a_rule_may_leave_the_defaults_group_or_have_another() -> None:
    text = """{"groups": {"a": {"labels": {"team": "a"}}, "b": {}}, "default": {"group": "a"},
               "rules": {"*:role/b": {"group": "b"}, "*:role/none": {"group": null}}}"""
    groups = [policy_of(text, role).group for role in ("app", "b", "none")]
    assert [group and group.name for group in groups] == ["a", "b", None]
    assert policy_of(text).label_text == "team=a"


def test_labels_are_the_groups_unless_the_rule_says_others_in_the_order_of_their_names() -> None:
    policy = policy_of(GROUPS, "atlas-ci")
    assert policy.labels == {"cost_center": "42", "project": "atlas-ci"}
    assert policy.label_text == "cost_center=42,project=atlas-ci"
    assert policy_of(GROUPS, "alone").label_text == ""


def test_labels_of_the_defaults_group_stay_with_its_members() -> None:
    """The default's own labels are inherited; a team's requests are never booked under another team's."""
    text = """{"groups": {"a": {"labels": {"team": "a", "cost_center": "1"}}, "b": {"labels": {"team": "b"}}},
               "default": {"group": "a", "labels": {"stage": "prod"}},
               "rules": {"*:role/b": {"group": "b"}, "*:role/none": {"group": null}, "*:role/a": {"rpm": 5}}}"""
    assert [policy_of(text, role).label_text for role in ("app", "a", "b", "none")] == [
        "cost_center=1,stage=prod,team=a",
        "cost_center=1,stage=prod,team=a",
        "stage=prod,team=b",
        "stage=prod",
    ]


def test_a_bound_is_needed_where_the_group_alone_has_a_budget() -> None:
    text = """{"groups": {"g": {"tokens_day": 5}, "h": {"usd_day": 5}},
               "rules": {"*:role/g": {"group": "g"}, "*:*": {"group": "h"}}}"""
    assert [(policy.in_tokens, policy.in_usd) for policy in (policy_of(text, "g"), policy_of(text, "x"))] == [
        (True, False),
        (True, True),
    ]


def test_what_is_observed_never_refuses_and_keeps_its_figure() -> None:
    text = """{"default": {"usd_day": 5, "rpm": 9, "concurrent": 3, "observe": ["usd_day", "concurrent"]},
               "rules": {"*:role/dearer": {"usd_day": 50}, "*:role/strict": {"observe": []},
                         "*:role/free": {"usd_day": null}}}"""
    policy = policy_of(text)
    assert policy.limits == Limits(requests_per_minute=9)
    assert policy.observed == {"usd_per_day": 5 * PICO, "concurrent": 3}
    assert not policy.in_usd
    assert policy_of(text, "dearer").observed["usd_per_day"] == 50 * PICO
    strict = policy_of(text, "strict")
    assert (strict.observed, strict.limits.usd_per_day, strict.limits.concurrent) == ({}, 5 * PICO, 3)
    free = policy_of(text, "free")
    assert (dict(free.observed), free.limits.concurrent) == ({"concurrent": 3}, MOST_CONCURRENT)


def test_a_share_is_inherited_and_may_be_taken_away() -> None:
    text = """{"default": {"warn_at": 0.75, "usd_day": 1},
               "rules": {"*:role/none": {"warn_at": null}, "*:role/all": {"warn_at": 1}}}"""
    assert [policy_of(text, role).warn_at for role in ("app", "none", "all")] == [3 * PICO // 4, 0, PICO]
