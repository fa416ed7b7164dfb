"""Configuration: what is refused, and whether a person can mend it from the one line that is printed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.config.check import check
from cdk_app.config.environment import ConfigurationError, Environment, Waiver

GOOD = Environment(name="dev", reserved_concurrency=5, log_retention_days=7)
ROLE = "arn:aws:iam::123456789012:role/service"
NO_CAP = Waiver(rule="no-concurrency-cap", reason="a new account has ten in all")


def refusals(environment: Environment) -> list[str]:
    try:
        check(environment)
    except ConfigurationError as refusal:
        return str(refusal).splitlines()
    return []


@pytest.mark.parametrize("environment", environments.ENVIRONMENTS, ids=lambda e: str(e.name))
def test_the_repositorys_own_environments_are_allowed(environment: Environment) -> None:
    assert environments.find(environment.name) is environment


def test_an_unknown_environment_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        environments.find("foo")
    assert str(refusal.value) == 'unknown environment "foo"; known: dev, staging, prod'


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "edge"),
        ("name", "prod-edges"),
        ("account", "123456789012"),
        ("region", "eu-central-1"),
        ("region", "us-gov-west-1"),
        ("memory_mb", 128),
        ("memory_mb", 10_240),
        ("timeout_seconds", 10),
        ("timeout_seconds", 900),
        ("reserved_concurrency", 0),
        ("log_retention_days", 3653),
        ("openai_base_url", "https://eu.api.openai.com/v1"),
        ("openai_base_url", "http://127.0.0.1:4010/v1"),
        ("openai_secret", "team/openai-key"),
        ("openai_secret", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:team/openai-key-AbCdEf"),
        ("invokers", (ROLE, "arn:aws-cn:iam::123456789012:user/path/somebody", "210987654321")),
        ("invokers", ("arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev_0123456789",)),
        ("on_destroy", "keep"),
    ],
)
def test_allowed(field: str, value: object) -> None:
    assert refusals(changed(field, value)) == []


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("name", "Prod", "lower-case"),
        ("name", "a" * 21, "1-20"),
        ("name", "pipelines", "not the name of another stack"),
        ("name", "prod-edge", "no '-edge' or '-monitoring' at the end"),
        ("name", "prod-monitoring", "no '-edge' or '-monitoring' at the end"),
        ("account", 123456789012, "12 digits in quotes"),
        ("account", "1234", "12 digits"),
        ("region", "Frankfurt", "eu-central-1"),
        ("memory_mb", 127, "128 to 10240"),
        ("memory_mb", 10_241, "128 to 10240"),
        ("memory_mb", "512", "whole number"),
        ("memory_mb", True, "whole number"),
        ("timeout_seconds", 9, "10 to 900"),
        ("timeout_seconds", 901, "10 to 900"),
        ("timeout_seconds", 30.0, "whole number"),
        ("reserved_concurrency", -1, "0 (nobody is served) to 1000"),
        ("reserved_concurrency", 1001, "to 1000"),
        ("log_level", "info", "DEBUG, INFO, WARN or ERROR"),
        ("log_retention_days", 8, "7, 14"),
        ("log_retention_days", True, "1, 3"),
        ("openai_base_url", "http://api.openai.com/v1", "https://"),
        ("openai_base_url", "https://api.openai.com/v1/", "without a slash at its end"),
        ("openai_base_url", "https://user:password@example.com", "https://"),
        ("openai_base_url", "https://api.openai.com/v1?key=1", "without query"),
        ("openai_base_url", "https://", "https://"),
        ("openai_secret", "two words", "name or ARN"),
        ("openai_secret", "", "name or ARN"),
        ("openai_secret", "arn:aws:kms:eu-central-1:123456789012:key/1", "name or ARN"),
        ("on_destroy", "retain", "'delete' or 'keep'"),
    ],
)
def test_a_value_that_is_not_allowed_is_one_line_with_environment_field_value_and_what_is_allowed(
    field: str, value: object, allowed: str
) -> None:
    (line,) = refusals(changed(field, value))
    shown = changed(field, value)
    assert line.startswith(f"{shown.name}: {field} is {value!r}; allowed: ")
    assert allowed in line


@pytest.mark.parametrize("field", ["invokers", "direct_invokers"])
@pytest.mark.parametrize(
    "principal",
    [
        "*",
        "arn:aws:iam::123456789012:role/*",
        "arn:aws:iam::*:role/service",
        "arn:aws:sts::123456789012:assumed-role/service/session",
        "arn:aws:iam::123456789012:group/everybody",
        "service",
        "1234",
        None,
        "",
    ],
)
def test_a_principal_that_is_not_one_identity_or_account_is_refused(field: str, principal: object) -> None:
    (line,) = refusals(changed(field, (ROLE, principal)))
    assert line.startswith(f"dev: {field}[1] is {principal!r}; allowed: ")
    assert "no wildcard" in line


def test_a_string_of_principals_without_its_tuple_is_refused() -> None:
    (line,) = refusals(changed("invokers", ROLE))
    assert "allowed: a tuple" in line


def test_a_principal_twice_is_refused() -> None:
    assert refusals(changed("invokers", (ROLE, ROLE))) == [
        f"dev: invokers[1] is {ROLE!r}; allowed: each principal once"
    ]


def test_all_problems_are_told_at_once() -> None:
    lines = refusals(replace(GOOD, memory_mb=1, timeout_seconds=1))
    assert [line.split()[1] for line in lines] == ["memory_mb", "timeout_seconds"]


def test_a_key_pasted_where_its_secrets_name_belongs_is_refused_and_not_repeated() -> None:
    (line,) = refusals(replace(GOOD, openai_secret="sk-proj-abcdefghijklmnop"))
    assert "openai_secret is an OpenAI key; allowed: None, or the name or ARN" in line
    assert "abcdef" not in line


def test_a_kms_key_without_the_secret_that_it_encrypts_is_refused() -> None:
    kms_key = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    (line,) = refusals(replace(GOOD, openai_secret_kms_key=kms_key))
    assert "only beside openai_secret" in line
    assert refusals(replace(GOOD, openai_secret="name", openai_secret_kms_key=kms_key)) == []


def test_no_concurrency_cap_needs_a_waiver_that_gives_a_reason() -> None:
    uncapped = replace(GOOD, reserved_concurrency=None)
    assert "Waiver(rule='no-concurrency-cap', reason=...)" in refusals(uncapped)[0]
    assert refusals(replace(uncapped, waivers=(NO_CAP,))) == []
    (line,) = refusals(replace(uncapped, waivers=(replace(NO_CAP, reason="todo"),)))
    assert "a reason in a sentence" in line


def test_a_waiver_that_nothing_needs_or_knows_is_refused() -> None:
    assert "nothing needs" in refusals(replace(GOOD, waivers=(NO_CAP,)))[0]
    unknown: Any = "no-signatures"
    (line,) = refusals(replace(GOOD, waivers=(replace(NO_CAP, rule=unknown),)))
    assert "allowed: no-concurrency-cap" in line


def changed(field: str, value: object) -> Environment:
    return replace(GOOD, **{field: value})  # type: ignore[arg-type]
