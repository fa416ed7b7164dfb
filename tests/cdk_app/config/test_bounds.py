"""One set of rules: what the configuration allows is exactly what the relay starts with, for each field that both read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from relay.pricing import prices, rates
from relay.settings import Settings, SettingsError

from cdk_app.config.caller_policies import CallerGroup, CallerPolicies, CallerPolicy, encoded, encoded_prices
from cdk_app.config.check import check
from cdk_app.config.environment import ConfigurationError, Environment, RequestPolicy
from cdk_app.relay import settings as relay_settings
from tests.support.synthesis import ROOT

GOOD = Environment(name="dev", reserved_concurrency=500, log_retention_days=7, timeout_seconds=900)
LAMBDAS = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "OPENAI_SECRET_ARN": "x", "EDGE_SECRET_ARN": "y"}


def configured(environment: Environment) -> bool:
    try:
        check(environment)
    except ConfigurationError:
        return False
    return True


def started(environment: Environment) -> bool:
    return starts(relay_settings.of(environment))


def starts(variables: dict[str, str]) -> bool:
    try:
        Settings.from_environ({**LAMBDAS, **variables})
    except SettingsError:
        return False
    return True


# field -> the values at its bounds and whether each is allowed. Written out, so that moving a bound on both sides shows.
NUMBERS: dict[str, dict[float, bool]] = {
    "max_body_bytes": {1023: False, 1024: True, 6_291_456: True, 6_291_457: False},
    "heartbeat_seconds": {-0.1: False, 0: True, 0.5: True, 14: True, 14.1: False, 60: False},
    "deadline_reserve_seconds": {0: False, 0.09: False, 0.1: True, 60: True, 60.1: False, 600: False},
    "usage_days": {0: False, 1: True, 3653: True, 3654: False},
}
REQUEST_NUMBERS: dict[str, dict[int, bool]] = {
    "max_output_tokens": {0: False, 15: False, 16: True, 1_000_000: True, 1_000_001: False},
    "max_choices": {0: False, 1: True, 128: True, 129: False},
}
CALLER_NUMBERS: dict[str, dict[int, bool]] = {
    "requests_per_minute": {-1: False, 0: False, 1: True, 10**9: True},
    "concurrent": {0: False, 1: True, 500: True, 501: False},
    "tokens_per_day": {0: False, 1_000_001: True, 10**12: True},
    "output_cap": {0: False, 15: False, 16: True, 1_000_000: True},
}
CHOICES = {
    "edge": {"off": True, "optional": True, "required": True, "on": False, "Off": False},
    "settle_failure": {"keep": True, "retry": True, "drop": False, "Keep": False},
}


def _cases(table: dict[str, dict[Any, bool]]) -> list[Any]:
    return [pytest.param(f, v, ok, id=f"{f}={v}") for f, values in table.items() for v, ok in values.items()]


@pytest.mark.parametrize(("field", "value", "allowed"), _cases(NUMBERS))
def test_numbers_have_one_bound(field: str, value: float, allowed: bool) -> None:
    environment = replace(GOOD, **{field: value})  # type: ignore[arg-type]
    assert configured(environment) == allowed
    assert started(environment) == allowed


@pytest.mark.parametrize(("field", "value", "allowed"), _cases(REQUEST_NUMBERS))
def test_numbers_of_requests_have_one_bound(field: str, value: int, allowed: bool) -> None:
    requests: Any = {"max_output_tokens": 1_000_000, field: value}
    environment = replace(GOOD, requests=RequestPolicy(**requests))
    assert configured(environment) == allowed
    assert started(environment) == allowed


@pytest.mark.parametrize("place", ["default", "rule"])
@pytest.mark.parametrize(("field", "value", "allowed"), _cases(CALLER_NUMBERS))
def test_numbers_of_callers_have_one_bound(field: str, value: int, allowed: bool, place: str) -> None:
    changes: Any = {field: value}
    policy = CallerPolicy(**changes)
    callers = CallerPolicies(default=policy) if place == "default" else CallerPolicies(rules={"*:role/x": policy})
    environment = replace(GOOD, callers=callers, requests=RequestPolicy(max_output_tokens=1_000_000))
    assert configured(environment) == allowed
    assert started(environment) == allowed


LABELS: list[tuple[Any, bool]] = [
    ({}, True),
    ({"project": "atlas", "cost_center": "42/7:a@b+c.d-e_f"}, True),
    ({"a" * 24: "x" * 48}, True),
    ({"a" * 25: "x"}, False),
    ({"a": "x" * 49}, False),
    ({"Project": "x"}, False),
    ({"1a": "x"}, False),
    ({"a": ""}, False),
    ({"a": "two words"}, False),
    ({"a": "x,b=y"}, False),
    ({"a": "\x1b[2J"}, False),
    ({"a": "é"}, False),
    ({"a": "x\n"}, False),
    ({"a\n": "x"}, False),
    ({"a": 7}, False),
    (dict.fromkeys("abcde", "x"), True),
    (dict.fromkeys("abcdef", "x"), False),
    ({"a": "x" * 46, "b": "x" * 45}, True),
    ({"a": "x" * 46, "b": "x" * 46}, False),
]
TERMS: list[tuple[dict[str, Any], bool]] = [
    *(({"labels": labels}, allowed) for labels, allowed in LABELS),
    *(({"warn_at": share}, 0 < share <= 1) for share in (-1, 0, 0.000001, 0.8, 1, 1.0, 1.01, 80)),
    ({"warn_at": True}, False),
    ({"warn_at": "0.8"}, True),
    ({"observe": ("usd_per_day",), "usd_per_day": 5}, True),
    ({"observe": ("usd_per_day",)}, False),
    ({"observe": ("usd_day",), "usd_per_day": 5}, False),
    ({"observe": ("concurrent", "requests_per_minute"), "concurrent": 1, "requests_per_minute": 1}, True),
    ({"observe": ["usd_per_day"], "usd_per_day": 5}, False),
]


@pytest.mark.parametrize("place", ["default", "rule", "group"])
@pytest.mark.parametrize(("given", "allowed"), TERMS, ids=[str(given)[:60] for given, _ in TERMS])
def test_what_callers_and_groups_have_alike_is_judged_alike(given: Any, allowed: bool, place: str) -> None:
    callers = {
        "default": lambda: CallerPolicies(default=CallerPolicy(**given)),
        "rule": lambda: CallerPolicies(rules={"*:role/x": CallerPolicy(**given)}),
        "group": lambda: CallerPolicies(default=CallerPolicy(group="atlas"), groups={"atlas": CallerGroup(**given)}),
    }[place]()
    environment = replace(GOOD, callers=callers, requests=RequestPolicy(max_output_tokens=1_000_000))
    assert configured(environment) == allowed
    if not (isinstance(given.get("observe"), list) or "usd_day" in given.get("observe", ())):  # these have no text
        assert started(environment) == allowed


@pytest.mark.parametrize(
    "name", ["atlas", "a", "0-a_b", "a" * 24, "a" * 25, "", "Atlas", "a/b", "-a", "a b", "a\n", "é"]
)
def test_names_of_groups_are_judged_alike(name: str) -> None:
    callers = CallerPolicies(default=CallerPolicy(group=name), groups={name: CallerGroup()})
    environment = replace(GOOD, callers=callers)
    assert configured(environment) == started(environment) == bool(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,23}", name))


@pytest.mark.parametrize(("field", "value", "allowed"), _cases(CHOICES))
def test_choices_are_the_same(field: str, value: Any, allowed: bool) -> None:
    environment = replace(GOOD, region="eu-central-1", **{field: value})
    assert configured(environment) == allowed
    assert started(environment) == allowed


def test_every_variable_and_every_field_that_both_sides_read_is_held_here() -> None:
    """A new field has to come here before it can be deployed."""
    single = {field.upper() for field in (*NUMBERS, *CHOICES)}
    structured = {"OPENAI_BASE_URL", "REQUEST_POLICY", "CALLER_POLICIES", "PRICES"}
    assert set(relay_settings.of(GOOD)) == single | structured
    assert {f.name for f in fields(RequestPolicy)} == {
        *REQUEST_NUMBERS,
        *("models", "tools", "service_tiers", "stateful"),
    }
    shared = {*CALLER_NUMBERS, "usd_per_day", "usd_per_month", "observe", "warn_at", "labels"} - {"output_cap"}
    assert {f.name for f in fields(CallerPolicy)} == {*shared, "output_cap", "models", "group"}
    assert {f.name for f in fields(CallerGroup)} == shared


def test_what_is_not_set_has_one_default() -> None:
    bare = Settings.from_environ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "OPENAI_SECRET_ARN": "x"})
    environment = Environment(name="dev", reserved_concurrency=1, log_retention_days=7)
    for field in (*NUMBERS, *CHOICES, "openai_base_url"):
        assert getattr(bare, field) == getattr(environment, field), field
    assert vars(bare.request_policy) == asdict(environment.requests)


NAMES = [
    "gpt-5",
    "ft:gpt-5:org::id",
    "a" * 128,
    "a" * 129,
    "",
    "two words",
    "a\nb",
    "x\x1b[0m",
    "modèle",
    "a;b",
    "openai/gpt-5@1+x",
    "-a",
]


@pytest.mark.parametrize("field", ["models", "tools", "service_tiers"])
@pytest.mark.parametrize("name", NAMES)
def test_names_are_judged_alike(field: str, name: str) -> None:
    policy: Any = {field: (name,)}
    environment = replace(GOOD, requests=RequestPolicy(**policy))
    assert configured(environment) == started(environment)


URLS = [
    "https://api.openai.com/v1",
    "https://eu.api.openai.com/v1",
    "https://x:8443",
    "http://127.0.0.1:4010/v1",
    "http://localhost/v1",
    "http://[::1]:80/v1",
    "http://api.openai.com/v1",
    "http://localhostx/v1",
    "https://under_score.example/v1",
    "https://bücher.example",
    "https://x\\y",
    "https://user@x/v1",
    "https://x/v1?a",
    "https://x/v1#a",
    "https://x/v 1",
    "HTTPS://x",
    "ftp://x",
    "https://",
]


@pytest.mark.parametrize("url", URLS)
def test_urls_are_judged_alike(url: str) -> None:
    environment = replace(GOOD, openai_base_url=url)
    assert configured(environment) == started(environment)


AMOUNTS = [0, 5, 2.5, 0.1, "0.25", "12.500000000001", "1e-7", 1e-7, ".5", "0.0000000000001", 0.1 + 0.2, -1, "-0.1"]
NOT_AMOUNTS: list[Any] = ["ten", "", "NaN", "Infinity", float("nan"), float("inf"), True, None, [1], "1,5", "5 USD"]


@pytest.mark.parametrize("field", ["usd_per_day", "usd_per_month"])
@pytest.mark.parametrize("amount", [*AMOUNTS, *NOT_AMOUNTS])
def test_amounts_are_judged_alike(field: str, amount: Any) -> None:
    changes: Any = {field: amount}
    environment = replace(GOOD, callers=CallerPolicies(default=CallerPolicy(**changes)))
    assert configured(environment) == (started(environment) if _is_json(amount) else False)


def _is_json(amount: Any) -> bool:
    """Floats that JSON has no number for are the configuration's alone to refuse."""
    return not isinstance(amount, float) or (amount == amount and abs(amount) != float("inf"))


PRICES: list[dict[str, Any]] = [
    {"input": 1, "output": 8},
    {"input": 0.5},
    {"input": "0.25", "tiers": {"flex": {"input": 1}}},
    {"request": 3},
    {"input": -1},
    {"input": "x"},
    {"input": 1, "inputs": 2},
    {"input": 1, "context": "many"},
    {"input": 1, "context": -1},
    {"input": 1, "tiers": {"flex": {}}},
    {"input": 1, "tiers": {"flex": {"context": 1, "input": 1}}},
    {"input": 1, "tiers": {"flex": {"input": 1, "price": 2}}},
    {"input": 1, "tiers": {"flex": {"input": 1, "shutdown": "2027-01-14"}}},
    {"input": 1, "shutdown": "2027-01-14"},
    {"input": 1, "shutdown": "soon"},
    {"input": 1, "shutdown": 20270114},
    {"input": 1, "snapshots": ["2025-08-07"]},
    {"input": 1, "snapshots": ["x"]},
    {"input": 1, "snapshots": "2025-08-07"},
    {"input": True},
    {},
]


@pytest.mark.parametrize("entry", PRICES, ids=json.dumps)
def test_prices_are_judged_alike(entry: dict[str, Any]) -> None:
    environment = replace(GOOD, prices={"m": entry})
    assert configured(environment) == starts({"PRICES": encoded_prices({"m": entry})})


@pytest.mark.parametrize("name", [*rates.RATES, *rates.WHOLE, "character", *prices._FIGURES])
@pytest.mark.parametrize("value", [0, 1, "0.25", 0.5, -1, "x", None])
def test_every_field_of_the_relays_price_list_is_judged_alike(name: str, value: Any) -> None:
    entry = {"input": 1, name: value}
    environment = replace(GOOD, prices={"m": entry})
    assert configured(environment) == starts({"PRICES": encoded_prices({"m": entry})})


def test_the_relays_own_list_would_be_taken() -> None:
    own = json.loads(ROOT.joinpath("lambda_src", "relay", "pricing", "prices.json").read_text())["models"]
    assert configured(replace(GOOD, prices=own))


def test_a_policy_that_differs_in_nothing_takes_no_room() -> None:
    policy = CallerPolicy(usd_per_day=2.5)
    read: Callable[[str], Any] = json.loads
    assert read(encoded(CallerPolicies(default=policy, rules={"*:role/x": policy}))) == {
        "default": {"usd_day": 2.5},
        "rules": {"*:role/x": {}},
    }
