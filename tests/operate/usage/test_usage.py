"""What the operator sees of usage: billed, bound and reserved apart, exact, by whatever is asked for."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from relay.pricing.money import PICO

from tests.support.operator_desk import ANN, CI, Desk

ATLAS: dict[str, Any] = {"group": "atlas", "labels": "cost_center=42,project=search"}


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.replace("│", " ").splitlines()]


def rows(desk: Desk, *options: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows that `usage --format json` gives, by what they are added up by."""
    shown = json.loads(desk.run("usage", "--format", "json", *options))
    return {tuple(row.pop("by").values()): row for row in shown["rows"]}


def test_billed_bound_and_reserved_stand_apart(desk: Desk) -> None:
    desk.serve()
    desk.serve(usd=PICO, counts={})
    desk.serve(ANN, usd=2 * PICO)
    desk.reserve(ANN)
    desk.ledger.refused(CI.key, "usd_per_day", "gpt-5-mini")
    desk.ledger.refused(CI.key, "model", "other")
    shown = lines(desk.run("usage"))
    assert "123456789012:role/ci-deploy gpt-5-mini 2 10 2 24 0.250000 1.000000 0.000000 1 1" in shown
    assert "123456789012:role/ci-deploy other 0 0 0 0 0.000000 0.000000 0.000000 0 1" in shown
    assert "123456789012:user/ann gpt-5-mini 1 10 2 12 2.000000 0.000000 1.000000 0 0" in shown
    assert "all 3 20 4 36 2.250000 1.000000 1.000000 1 2" in shown
    assert "user/ann" not in desk.run("usage", "*:role/*", "--month")


def test_groups_and_labels_are_added_up_across_callers(desk: Desk) -> None:
    desk.serve(**ATLAS)
    desk.serve(ANN, **ATLAS)
    desk.serve(ANN, labels="project=chat")
    desk.reserve(CI, **ATLAS)
    by_group = rows(desk, "--by", "group")
    assert {key: (row["requests"], row["billed_usd"], row["reserved_usd"]) for key, row in by_group.items()} == {
        ("-",): (1, "0.25", "0"),
        ("atlas",): (2, "0.5", "1"),
    }
    by_label = rows(desk, "--by", "label.project,caller")
    assert {key: row["requests"] for key, row in by_label.items()} == {
        ("chat", ANN.subject): 1,
        ("search", ANN.subject): 1,
        ("search", CI.subject): 1,
    }
    assert rows(desk, "--by", "label.cost_center", "group:atlas").keys() == {("42",)}
    assert "refused" not in desk.run("usage", "--by", "group"), "refusals are known by caller and model alone"


def test_groups_are_chosen_by_patterns_as_callers_are(desk: Desk) -> None:
    desk.serve(group="atlas")
    desk.serve(ANN, group="apollo")
    desk.serve(ANN)
    desk.reserve(ANN, group="apollo")
    chosen = {pattern: rows(desk, "--by", "group", pattern) for pattern in ("group:a*", "group:*", "group:ap*", "*")}
    assert {pattern: [name for (name,) in found] for pattern, found in chosen.items()} == {
        "group:a*": ["apollo", "atlas"],
        "group:*": ["apollo", "atlas"],
        "group:ap*": ["apollo"],
        "*": ["-", "apollo", "atlas"],
    }
    assert chosen["group:ap*"]["apollo",]["reserved_usd"] == "1"
    assert len(desk.run("export", "group:*").splitlines()) == 1 + 2


def test_what_was_taken_back_is_no_request(desk: Desk) -> None:
    desk.serve()
    desk.serve(outcome="voided", usd=0, tokens=0, counts={})
    assert [row["requests"] for row in rows(desk).values()] == [1]
    assert len(desk.run("export").splitlines()) == 1 + 1


def test_where_refusals_are_not_known_none_are_told(desk: Desk) -> None:
    """They are counted by caller and model: 0 of a group whose members were refused would not be true."""
    desk.serve(group="atlas")
    desk.ledger.refused(CI.key, "group.usd_per_day", "gpt-5-mini")
    for options in (["--by", "group"], ["group:atlas"]):
        assert [row["refused"] for row in rows(desk, *options).values()] == [None]
        (row,) = csv.DictReader(io.StringIO(desk.run("usage", "--format", "csv", *options)))
        assert row["refused"] == ""
        assert "refused" not in desk.run("usage", *options)
    assert [row["refused"] for row in rows(desk).values()] == [1]


def test_every_format_has_the_same_figures_and_the_exact_ones_are_exact(desk: Desk) -> None:
    desk.serve(usd=12_500_001)
    desk.serve(usd=1, counts={})
    shown = json.loads(desk.run("usage", "--format", "json"))
    assert (shown["total"]["billed_usd"], shown["total"]["at_bound_usd"]) == ("0.000012500001", "0.000000000001")
    assert shown["period"] == f"{datetime.fromtimestamp(desk.now / 1000, UTC):%Y-%m-%d}"
    (row,) = csv.DictReader(io.StringIO(desk.run("usage", "--format", "csv")))
    assert (row["caller"], row["model"]) == (CI.subject, "gpt-5-mini")
    assert row["billed_usd"] == shown["rows"][0]["billed_usd"]
    assert (row["requests"], row["requests_at_bound"]) == ("2", "1")


def test_a_month_is_drawn_with_a_bar_for_each_day(desk: Desk) -> None:
    desk.serve(usd=8 * PICO)
    drawn = desk.run("usage", "--month", "--plot").splitlines()
    today = f"{datetime.fromtimestamp(desk.now / 1000, UTC):%Y-%m-%d}"
    assert 28 <= len(drawn) <= 31
    (bar,) = [line for line in drawn if "█" in line]
    assert bar.startswith(f"{today} 8.000000 █")
    assert all(line.endswith(" 0.000000") for line in drawn if line != bar)
    assert max(map(len, drawn)) <= 200
    hours = desk.run("usage", "--plot").splitlines()
    assert len(hours) == 24
    assert sum("█" in line for line in hours) == 1


def test_an_amount_too_small_for_its_bar_is_still_seen(desk: Desk) -> None:
    desk.serve(usd=8_000_000 * PICO)
    desk.now -= 3_600_000
    desk.serve(usd=1)
    desk.now += 3_600_000
    assert sum("▏" in line for line in desk.run("usage", "--plot", "--month").splitlines()) <= 1
    assert (
        "▏" in "".join(desk.run("usage", "--plot").splitlines())
        or datetime.fromtimestamp(desk.now / 1000, UTC).hour == 0
    )


@pytest.mark.parametrize("by", ["team", "label.", "caller,,model"])
def test_what_cannot_be_added_up_by_is_refused(desk: Desk, by: str) -> None:
    assert f"--by is {by}; allowed: caller, model, group," in desk.run("usage", "--by", by, ok=False)


def test_export_is_exact_and_says_whose_it_is(desk: Desk) -> None:
    desk.serve(usd=12_500_000, **ATLAS)
    desk.serve(ANN)
    first, second = csv.DictReader(io.StringIO(desk.run("export")))
    row = first if first["key"] == CI.key else second
    assert (row["usd"], row["bound_usd"], row["input"], row["outcome"]) == ("0.0000125", "1", "10", "ok")
    assert (row["caller"], row["key"], row["model"]) == (CI.subject, CI.key, "gpt-5-mini")
    assert (row["group"], row["labels"]) == ("atlas", "cost_center=42,project=search")
    (only,) = csv.DictReader(io.StringIO(desk.run("export", "group:atlas")))
    assert only == row
