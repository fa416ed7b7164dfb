"""environments.py as people write it: what is misspelt, forgotten or of the wrong kind is a line and no traceback."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.config import check as configuration
from cdk_app.config.environment import ConfigurationError

# As environments.py sees them, with mistakes that a type checker would find.
NAMES: dict[str, Any] = vars(environments)
GOOD = 'Environment(name="dev", reserved_concurrency=5, log_retention_days=7)'


def written(text: str) -> Any:
    """The value of an expression of environments.py."""
    return eval(text, dict(NAMES))


def refusal(text: str, name: str = "dev") -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        configuration.find(name, written(text))
    return str(refused.value).splitlines()


def environment(fields: str) -> str:
    return f"({GOOD[:-1]}, {fields}),)"


MISSPELT = {
    "memory=512": "dev: memory is not a field of Environment; did you mean memory_mb?",
    "timeout=60": "dev: timeout is not a field of Environment; did you mean timeout_seconds?",
    "callrs=CallerPolicies()": "dev: callrs is not a field of Environment; did you mean callers?",
    "alarms=AlarmOptions(email=())": "dev: alarms.email is not a field of AlarmOptions; did you mean emails?",
    "edge_options=EdgeOptions(request_per_ip=1)": (
        "dev: edge_options.request_per_ip is not a field of EdgeOptions; did you mean requests_per_ip?"
    ),
    "requests=RequestPolicy(model=())": "dev: requests.model is not a field of RequestPolicy; did you mean models?",
    "callers=CallerPolicies(rule={})": "dev: callers.rule is not a field of CallerPolicies; did you mean rules?",
    "callers=CallerPolicies(default=CallerPolicy(usd_day=5))": (
        "dev: callers.default.usd_day is not a field of CallerPolicy; did you mean usd_per_day?"
    ),
    "callers=CallerPolicies(rules={'*:*': CallerPolicy(rpm=5)})": (
        "dev: callers.rules['*:*'].rpm is not a field of CallerPolicy; allowed: requests_per_minute, concurrent, "
        "tokens_per_day, usd_per_day, usd_per_month, observe, warn_at, labels, models, output_cap, group"
    ),
    "waivers=(Waiver(rule='slow-heartbeat', why='x'),)": "dev: waivers: why is not a field of Waiver; allowed: rule, reason",
    "alarms=None": "dev: alarms is None; allowed: AlarmOptions(...)",
    "requests={'models': ()}": "dev: requests is {'models': ()}; allowed: RequestPolicy(...)",
    "callers=CallerPolicy()": "allowed: CallerPolicies(...)",
    "callers=CallerPolicies(default=5)": "dev: callers.default is 5; allowed: CallerPolicy(...) or 'refuse'",
    "callers=CallerPolicies(rules=['x'])": "dev: callers.rules is ['x']; allowed: a mapping of patterns to policies",
    "prices=[]": "dev: prices is []; allowed: a mapping of models to prices",
    "prices={'m': 5}": "dev: prices['m'] is 5; allowed: a mapping such as {'input': 1, 'output': 8}",
    "edge_options=EdgeOptions(networks='203.0.113.0/24')": "edge_options.networks is '203.0.113.0/24'; allowed: a tuple",
    "edge_options=EdgeOptions(countries='DE')": "edge_options.countries is 'DE'; allowed: a tuple",
    "edge_options=EdgeOptions(domain=5, certificate=6)": "edge_options.domain is 5; allowed: a name",
    "alarms=AlarmOptions(emails=(5,))": "alarms.emails has 5; allowed: addresses",
    "waivers=Waiver(rule='slow-heartbeat', reason='x y z')": "allowed: a tuple, such as (Waiver(",
    "heartbeat_seconds='10', edge='required', region='eu-central-1'": "heartbeat_seconds is '10'; allowed: a number",
    "5": "dev: 5 has no name; allowed: Environment(FIELD=value, ...)",
}


@pytest.mark.parametrize("fields", MISSPELT)
def test_a_mistake_is_one_line(fields: str) -> None:
    text = environment(fields) if fields != "5" else f"(Environment(5, {GOOD[12:]},)"
    lines = refusal(text)
    assert any(MISSPELT[fields] in line for line in lines), lines
    assert all(line.startswith("dev: ") for line in lines)


def test_a_forgotten_field_is_one_line() -> None:
    (line,) = refusal('(Environment(name="dev", log_retention_days=7),)')
    assert line.startswith("dev: reserved_concurrency is missing; allowed: a whole number from 0")


def test_all_mistakes_are_told_at_once() -> None:
    lines = refusal('(Environment(name="dev", memory=512, timeout=9),)')
    assert [line.split()[1] for line in lines] == ["memory", "timeout", "reserved_concurrency", "log_retention_days"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"({GOOD})", "ENVIRONMENTS is no tuple of Environment(...); put a comma after each"),
        (f"[{GOOD}]", "ENVIRONMENTS is no tuple"),
        (f"({GOOD}, {GOOD})", "ENVIRONMENTS[1]: name is 'dev'; allowed: each name once"),
        ("(Environment(reserved_concurrency=5, log_retention_days=7),)", "ENVIRONMENTS[0]: name is missing; allowed:"),
        (f"({GOOD}, None)", "ENVIRONMENTS is no tuple"),
    ],
)
def test_a_list_of_environments_that_cannot_be_meant_is_one_line(text: str, says: str) -> None:
    (line,) = refusal(text)
    assert line.startswith(says)


def test_everything_that_the_documents_name_can_be_written_in_environments() -> None:
    for name in ("AlarmOptions", "CallerPolicies", "CallerPolicy", "EdgeOptions", "RequestPolicy", "Waiver"):
        assert name in NAMES


def test_a_value_that_was_noted_is_a_value_like_others() -> None:
    value = written(GOOD)
    assert value == written(GOOD)
    assert "mistakes" not in asdict(value)
    assert replace(value, memory_mb=256).memory_mb == 256
    assert copy.deepcopy(value) == value
    assert "mistakes" not in repr(value)
