"""Models that end are a warning: which of them an environment allows, on which day, in one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.checks import endings
from cdk_app.config import caller_policies
from cdk_app.config.caller_policies import CallerPolicies, CallerPolicy
from cdk_app.config.environment import Environment, RequestPolicy

DEV = environments.ENVIRONMENTS[0]
TODAY = date(2026, 11, 27)
# Of its own models, so that the list that is shipped may change.
PRICES: dict[str, Any] = {
    "m-soon": {"input": 1, "shutdown": "2026-12-11", "snapshots": ["2026-01-31"]},
    "m-later": {"input": 1, "shutdown": "2027-03-01"},
    "m-stays": {"input": 1},
}


def allowing(*models: str, callers: CallerPolicies | None = None, **more: Any) -> Environment:
    policies = callers or CallerPolicies(default=CallerPolicy())
    return replace(DEV, requests=RequestPolicy(models=models), callers=policies, prices=PRICES, **more)


def told(environment: Environment, today: date = TODAY) -> str:
    return endings.warning(environment, today)


@pytest.mark.parametrize(
    ("today", "says"),
    [
        (date(2026, 11, 10), ""),
        (date(2026, 11, 11), "m-soon (ends 2026-12-11)"),
        (date(2026, 12, 10), "m-soon (ends 2026-12-11)"),
        (date(2026, 12, 11), "m-soon (ended 2026-12-11)"),
    ],
)
def test_a_model_that_ends_within_thirty_days_is_named(today: date, says: str) -> None:
    line = told(allowing("m-soon", "m-later", "m-stays"), today)
    tail = ": name their successors (requests.models, callers)"
    assert line == (f"dev: models that end are allowed: {says}{tail}" if says else "")


def test_a_dated_snapshot_ends_with_its_family() -> None:
    assert "m-soon-2026-01-31 (ends 2026-12-11)" in told(allowing("m-soon-2026-01-31"))


def test_what_only_callers_name_counts_and_what_the_environment_forbids_does_not() -> None:
    soon = CallerPolicies(
        default=CallerPolicy(models=("m-stays",)), rules={"*:role/a": CallerPolicy(models=("m-soon",))}
    )
    assert "m-soon" in told(allowing(callers=soon))
    assert told(allowing("m-stays", callers=soon)) == ""
    assert told(allowing("m-soon", callers=CallerPolicies(default="refuse"))) == ""


def test_where_every_model_is_allowed_the_first_to_end_are_named() -> None:
    line = told(allowing(), date(2026, 12, 1))
    assert line.startswith("dev: every model is allowed, also ")
    assert "\n" not in line
    assert len(line) < 400


def test_an_environments_own_price_keeps_the_end_of_the_list() -> None:
    listed = caller_policies.endings(None, {})
    assert listed
    name = next(iter(listed))
    assert caller_policies.endings([name], {name: {"input": 1}})[name] == listed[name]
    assert caller_policies.endings([name], {name: {"input": 1, "shutdown": "2030-01-01"}})[name] == date(2030, 1, 1)


def test_only_who_runs_the_cdk_cli_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import app  # and with it the CDK, which the other tests do not need

    def told(text: str) -> list[str]:
        app.warn(text)
        # Of ours: the CDK says on its own what it thinks of this machine's Node.
        return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("b'!!")]

    monkeypatch.delenv("CDK_CLI_VERSION", raising=False)
    assert told("dev: models that end") == []
    monkeypatch.setenv("CDK_CLI_VERSION", "2.1148.1")
    assert told("") == []
    assert told("dev: models that end") == ["warning: dev: models that end"]
