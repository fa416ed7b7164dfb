"""The operator's commands on a group: the same as on a caller, by the name group:NAME."""

from __future__ import annotations

import json

import pytest
from relay.pricing.money import PICO

from operate.limits_table import Caller, Period
from tests.operate.test_operate import as_record, failed
from tests.support.operator_desk import ANN, CI, Desk

ATLAS = Caller.of_group("atlas")


def booked(desk: Desk, owner: Caller) -> tuple[int, int, int]:
    day = f"d:{Period.day(desk.now).name}"
    account = desk.limits_table.account(owner)
    return account.count(day, "req"), account.count(day, "tok"), account.count(day, "usd")


def test_a_group_is_stopped_and_started_with_all_its_members(desk: Desk) -> None:
    desk.reserve(CI, group="atlas")
    desk.run("stop", "group:atlas", "--reason", "too dear")
    assert [desk.refused(caller, group="atlas") for caller in (CI, ANN)] == ["group.stopped", "group.stopped"]
    desk.reserve(CI)
    assert "group:atlas" in desk.run("callers")
    assert "stopped: too dear" in desk.run("callers", "group:*")
    desk.run("start", "group:atlas")
    desk.reserve(ANN, group="atlas")


def test_a_groups_budget_is_raised_for_today(desk: Desk) -> None:
    desk.reserve(group="atlas", usd_per_day=PICO)
    assert desk.refused(ANN, group="atlas", usd_per_day=PICO) == "group.usd_per_day"
    desk.run("override", "group:atlas", "--usd-day", "2")
    desk.reserve(ANN, group="atlas", usd_per_day=PICO)
    assert "usd_per_day 2.000000 today" in desk.run("callers", "group:atlas")
    desk.run("lift", "group:atlas")
    assert desk.refused(ANN, group="atlas", usd_per_day=PICO) == "group.usd_per_day"


def test_a_group_may_be_stopped_before_its_first_request_and_has_to_be_one(desk: Desk) -> None:
    desk.run("stop", "group:new")
    assert desk.refused(group="new") == "group.stopped"
    assert "no group is, or matches, 'group:No Group'" in desk.run("stop", "group:No Group", ok=False)
    desk.reserve(group="atlas")
    assert "is 2 groups" in desk.run("stop", "group:*", ok=False)


def test_a_halt_reaches_members_and_needs_nothing_of_their_group(desk: Desk) -> None:
    desk.reserve(group="atlas")
    desk.run("halt")
    assert desk.refused(group="atlas") == "halted"
    desk.run("resume")
    desk.reserve(group="atlas")


def test_open_and_sweep_know_what_a_group_holds(desk: Desk) -> None:
    desk.now -= 600_000
    desk.reserve(group="atlas")
    desk.now += 600_000
    assert desk.run("open").count("id-1") == 2, "in its caller's account and in its group's"
    assert "1 reservations settled" in desk.run("sweep")
    assert not desk.limits_table.account(ATLAS).open
    assert booked(desk, ATLAS) == booked(desk, CI)


def test_a_group_alone_is_swept_and_says_how_many(desk: Desk) -> None:
    desk.now -= 600_000
    desk.reserve(group="atlas")
    desk.reserve(ANN, group="atlas")
    desk.now += 600_000
    assert "2 reservations settled" in desk.run("sweep", "group:atlas")
    assert not desk.limits_table.account(ATLAS).open
    assert "2 reservations settled" in desk.run("sweep"), "in the accounts of their callers"


def test_a_failed_settlement_of_a_member_is_booked_in_both_accounts(desk: Desk) -> None:
    record = as_record(desk.reserve(group="atlas"))
    assert "id-1: settled" in desk.run("replay", given=failed(record.changed(group="atlas")))
    assert booked(desk, ATLAS) == booked(desk, CI) == (1, 3, 7)
    assert not desk.limits_table.account(ATLAS).open


@pytest.mark.parametrize("group_is_swept", [True, False])
def test_a_failed_settlement_whose_lease_is_over_is_corrected_in_both_accounts(
    desk: Desk, group_is_swept: bool
) -> None:
    desk.now -= 120_000
    record = as_record(desk.reserve(group="atlas", labels="project=x"))
    desk.now += 120_000
    desk.run("sweep", *([] if group_is_swept else [CI.key]))
    line = failed(record.changed(group="atlas"))
    assert "id-1: corrected" in desk.run("replay", given=line)
    assert "id-1: booked already" in desk.run("replay", given=line)
    desk.run("sweep")
    assert booked(desk, ATLAS) == booked(desk, CI) == (1, 3, 7)
    (kept,) = desk.limits_table.records(CI, Period.day(record.at))
    assert (kept.group, kept.labels) == ("atlas", "project=x")


@pytest.mark.parametrize(
    ("field", "value"), [("g", 7), ("g", ""), ("g", "x" * 300), ("lb", {"a": "b"}), ("lb", "\x1b[2J")]
)
def test_a_line_with_a_group_or_labels_that_are_none_is_named(desk: Desk, field: str, value: object) -> None:
    line = json.loads(failed(as_record(desk.reserve(group="atlas")).changed(group="atlas")))
    line["record"][field] = value
    assert f"`record.{field}` has to be a name" in desk.run("replay", given=json.dumps(line), ok=False)


def test_whose_a_request_is_says_the_table_and_not_a_line_that_was_edited(desk: Desk) -> None:
    line = json.loads(failed(as_record(desk.reserve(group="atlas", labels="project=x")).changed(group="atlas")))
    line["record"] |= {"g": "other", "lb": "edited by hand"}
    assert "id-1: settled" in desk.run("replay", given=json.dumps(line))
    (kept,) = desk.limits_table.records(CI, Period.day(desk.now))
    assert (kept.group, kept.labels) == ("atlas", "project=x")
    assert "atlas" in desk.run("usage", "--by", "group,label.project")


def test_a_failed_settlement_of_the_longest_caller_is_booked(desk: Desk) -> None:
    """A token's holder: an alias of 32 characters and a subject of 255."""
    holder = Caller(key=f"oidc/{'a' * 32}/{'s' * 255}", subject=f"oidc:{'a' * 32}:{'s' * 255}")
    line = json.loads(failed(as_record(desk.reserve(holder, group="atlas")).changed(group="atlas")))
    assert "id-1: settled" in desk.run("replay", given=json.dumps({**line, "caller": holder.key}))
    assert booked(desk, ATLAS) == booked(desk, holder) == (1, 3, 7)


def test_a_caller_is_found_by_its_name_whatever_an_issuer_calls_it(desk: Desk) -> None:
    holder = Caller(key="oidc/corp/ann[1]", subject="oidc:corp:ann[1]")
    desk.reserve(holder)
    assert "is stopped" in desk.run("stop", holder.subject)
    assert desk.refused(holder) == "stopped"


def test_a_line_from_before_there_were_groups_is_booked(desk: Desk) -> None:
    record = as_record(desk.reserve())
    line = json.loads(failed(record))
    assert not {"g", "lb", "w"} & line["record"].keys()
    assert "id-1: settled" in desk.run("replay", given=json.dumps(line))
