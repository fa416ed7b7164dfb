"""Groups, labels, observed limits and warnings through the real relay process: what is refused, booked, logged and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relay.pricing.money import amount

from emulator.signing.identities import local_user
from tests.support import relay_with_limits
from tests.support.relay_with_limits import Answer, Counter, Setup

ROLES = relay_with_limits.roles("ann", "bob", "watched", "warned", "alone", "stopped")
POLICIES: dict[str, Any] = {
    "default": {"usd_day": 1, "output_cap": 100},
    "rules": {
        "*:role/ann": {"group": "atlas", "labels": {"project": "search"}},
        "*:role/bob": {"group": "atlas"},
        "*:role/watched": {"usd_day": "0.0000001", "rpm": 1, "observe": ["usd_day", "rpm"]},
        "*:role/warned": {"usd_day": "0.001", "warn_at": 0.02},
        "*:role/stopped": {"group": "poor"},
    },
    "groups": {
        "atlas": {"usd_day": "0.5", "concurrent": 3, "rpm": 1000, "labels": {"cost_center": "42", "project": "atlas"}},
        "poor": {"usd_day": "0.0000001"},
    },
}


@pytest.fixture(scope="module")
def setup(bundle: Path) -> Iterator[Setup]:
    with relay_with_limits.running(bundle, POLICIES, identities=[local_user(), *ROLES.values()]) as running:
        running.upstream.answer_with(Counter())
        yield running


def line(setup: Setup, response: Answer, event: str = "request") -> dict[str, Any]:
    """The line of the log about a request."""
    id = response.headers["x-request-id"]
    setup.over(response)
    every = [json.loads(line.text) for line in setup.local.logs.lines() if f'"requestId":"{id}"' in line.text]
    found: dict[str, Any]
    (found,) = [line for line in every if line["event"] == event]
    return found


def test_a_request_is_booked_for_its_caller_and_its_group(setup: Setup) -> None:
    before = setup.group_account("atlas")
    for name in ("ann", "bob"):
        assert setup.over(setup.send(identity=ROLES[name])).status_code == 200
    after = setup.group_account("atlas")
    spent = [
        sum(v for n, v in account.counters.items() if n[:2] == "d:" and n.endswith("usd"))
        for account in (before, after)
    ]
    callers = [setup.account(ROLES[name]) for name in ("ann", "bob")]
    own = sum(v for account in callers for n, v in account.counters.items() if n[:2] == "d:" and n.endswith("usd"))
    assert spent[1] - spent[0] == own > 0
    assert not after.open


def test_records_and_log_have_group_and_labels(setup: Setup) -> None:
    response = setup.send(identity=ROLES["ann"], headers={"x-project": "forged", "x-group": "forged"})
    record = setup.record(setup.over(response))
    assert (record.group, record.labels) == ("atlas", "cost_center=42,project=search")
    logged = line(setup, response)
    assert (logged["group"], logged["labels"]) == ("atlas", {"cost_center": "42", "project": "search"})
    dimensions = [each["Dimensions"] for each in logged["_aws"]["CloudWatchMetrics"]]
    assert dimensions == [[["function"]], [["function", "group"]]]
    grouped = {metric["Name"] for metric in logged["_aws"]["CloudWatchMetrics"][1]["Metrics"]}
    assert grouped == {"Requests", "Spend"}
    alone = line(setup, setup.send(identity=ROLES["alone"]))
    assert not {"group", "labels"} & alone.keys()
    assert len(alone["_aws"]["CloudWatchMetrics"]) == 1


def test_what_the_group_leaves_is_told(setup: Setup) -> None:
    response = setup.over(setup.send(identity=ROLES["ann"]))
    left = amount(response.headers["x-relay-budget-remaining-usd"], "header")
    assert 0 < left < amount("0.5", "group"), "the group's budget is the smaller one"
    assert response.headers["x-ratelimit-limit-requests"] == "1000"
    usage = setup.get("/v1/usage", ROLES["ann"]).json()
    assert usage["group"]["name"] == "atlas"
    assert usage["group"]["day"]["usd"]["limit"] == "0.5"
    assert usage["day"]["usd"]["limit"] == "1"
    assert usage["group"]["concurrent"]["limit"] == 3
    assert "group" not in setup.get("/v1/usage", ROLES["alone"]).json()


def test_a_group_that_is_spent_refuses_by_name_and_holds_nothing_of_its_member(setup: Setup) -> None:
    sent = len(setup.upstream.requests)
    response = setup.over(setup.send(identity=ROLES["stopped"]))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (429, "insufficient_quota", "group.usd_per_day")
    assert error["message"].startswith("Group 'poor': Daily limit ")
    assert response.headers["x-relay-budget-remaining-usd"] == "0.0000001"
    assert len(setup.upstream.requests) == sent
    assert not setup.account(ROLES["stopped"]).open
    assert line(setup, response)["group"] == "poor"


def test_an_observed_limit_refuses_nothing_and_is_seen(setup: Setup) -> None:
    responses = [setup.over(setup.send(identity=ROLES["watched"])) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 200]
    logged = line(setup, responses[-1])
    assert "usd_per_day" in logged["overObserved"]
    assert logged["OverObserved"] == 1
    assert "x-relay-budget-remaining-usd" not in responses[-1].headers
    usage = setup.get("/v1/usage", ROLES["watched"]).json()
    assert usage["day"]["usd"]["observed"] is True
    assert usage["day"]["usd"]["remaining"] == "0"


def test_a_share_is_warned_of_once_a_day(setup: Setup) -> None:
    content = [{"role": "user", "content": "x" * 40}]
    responses = [setup.over(setup.send(identity=ROLES["warned"], messages=content)) for _ in range(3)]
    served = [response for response in responses if response.status_code == 200]
    assert len(served) >= 2, "of 0.001 USD each takes 0.000024 once it is settled"
    warned = [json.loads(each.text) for each in setup.local.logs.lines() if '"event":"limit_warning"' in each.text]
    (warning,) = [each for each in warned if each["caller"] == setup.caller(ROLES["warned"])]
    assert (warning["limit"], warning["group"], warning["of"]) == ("usd_per_day", "", "0.001 USD")
    assert warning["requestId"] == served[0].headers["x-request-id"]
    counts = [line(setup, response).get("LimitWarnings") for response in served]
    assert counts == [1, *[None] * (len(served) - 1)]
