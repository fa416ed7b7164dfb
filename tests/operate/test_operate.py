"""The operator's command against a table that the relay's own ledger has filled."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from relay.accounts.account import UsageRecord
from relay.ledger.ledger import Admitted
from relay.pricing.money import PICO

from operate.__main__ import main
from operate.limits_table import Caller, Period
from tests.support import dynamo
from tests.support.operator_desk import ANN, CI, Desk, environment


def test_runs_as_a_command(desk: Desk) -> None:
    command = [sys.executable, "-m", "operate", "--table", desk.table, "usage"]
    env = {**os.environ, **environment(desk.url)}
    done = subprocess.run(command, cwd=dynamo.ROOT, env=env, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


@pytest.mark.parametrize("columns", ["80", None])
def test_no_figure_is_cut_on_a_narrow_terminal_or_in_a_pipe(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    else:
        monkeypatch.delenv("COLUMNS")
    desk.serve(usd=1234 * PICO, counts={"input": 123_456_789, "output": 1_234_567})
    shown = desk.run("usage")
    assert "…" not in shown
    assert all(figure in shown for figure in ("123,456,789", "1,234,567", "1,234.000000"))
    if not columns:
        assert "123456789012:role/ci-deploy" in shown


def test_periods_are_whole_days_and_months() -> None:
    noon = 1_796_040_000_000  # 2026-11-30T12:00:00Z
    day, month = Period.day(noon), Period.month(noon)
    assert (day.name, day.end - day.start) == ("2026-11-30", 86_400_000)
    assert (month.name, month.end) == ("2026-11", day.end)
    assert month.end - month.start == 30 * 86_400_000


def test_open_reservations_and_what_dead_processes_left(desk: Desk) -> None:
    desk.reserve()
    assert "id-1" in desk.run("open")
    desk.now -= 600_000
    desk.reserve()
    desk.now += 600_000
    assert "over" in desk.run("open")
    assert "1 reservations settled" in desk.run("sweep")
    assert list(desk.limits_table.account(CI).open) == ["id-1"]
    (record,) = desk.limits_table.records(CI, Period.day(desk.now))
    assert (record.id, record.outcome) == ("id-2", "expired")


def test_stop_and_start_hold_at_the_next_request(desk: Desk) -> None:
    desk.reserve()
    desk.run("stop", CI.subject, "--reason", "too dear")
    assert desk.refused() == "stopped"
    assert desk.refused(ledger=desk.relay()) == "stopped"
    assert "stopped: too dear" in desk.run("callers")
    desk.run("start", CI.key)
    desk.reserve()


def test_a_caller_that_never_came_can_be_stopped(desk: Desk) -> None:
    desk.run("stop", ANN.key)
    assert desk.refused(ANN) == "stopped"


def test_halt_stops_everybody_and_resume_takes_it_back(desk: Desk) -> None:
    desk.reserve(CI)
    assert "1 callers, and all that are new" in desk.run("halt", "--reason", "maintenance")
    assert desk.refused(CI) == "halted"
    assert desk.refused(ANN) == "halted"
    desk.run("stop", ANN.key)
    assert "Everything is stopped. maintenance" in desk.run("callers")
    assert "2 callers" in desk.run("resume")
    desk.reserve(CI)
    assert desk.refused(ANN) == "stopped"


def test_a_raised_budget_holds_at_once_and_for_today(desk: Desk) -> None:
    desk.reserve(usd_per_day=PICO)
    assert desk.refused(usd_per_day=PICO) == "usd_per_day"
    desk.run("override", CI.subject, "--usd-day", "2.5")
    desk.reserve(usd_per_day=PICO)
    assert desk.refused(usd_per_day=PICO) == "usd_per_day"
    assert "usd_per_day 2.500000 today" in desk.run("callers")
    desk.run("override", CI.subject, "--rpm", "1")
    assert desk.limits_table.account(CI).overrides.limits == {"requests_per_minute": 1}
    desk.run("lift", CI.subject)
    assert desk.limits_table.account(CI).overrides.limits == {}


def test_what_is_meant_has_to_be_clear(desk: Desk) -> None:
    desk.reserve(CI)
    desk.reserve(ANN)
    assert "is 2 callers" in desk.run("stop", "*", ok=False)
    assert "no caller is, or matches" in desk.run("stop", "1:role/nobody", ok=False)
    assert "say which limit" in desk.run("override", CI.key, ok=False)
    assert "--usd-day: must be an amount" in desk.run("override", CI.key, "--usd-day", "much", ok=False)
    desk.table = "no-such-table"
    assert "ResourceNotFoundException" in desk.run("usage", ok=False)


def failed(record: UsageRecord, caller: Caller = CI) -> str:
    return json.dumps({"event": "settle_failed", "caller": caller.key, "record": {**record.fields(), "id": record.id}})


def as_record(admitted: Admitted) -> UsageRecord:
    entry = admitted.entry
    return UsageRecord(
        id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome="ok", usd=7, tokens=3,
        bound_usd=entry.usd, bound_tokens=entry.tokens, counts={"input": 2, "output": 1},
    )  # fmt: skip


def test_a_failed_settlement_is_booked_from_the_log_once(desk: Desk) -> None:
    record = as_record(desk.reserve())
    text = f"START RequestId: x\nnot json\n{failed(record)}\n"
    assert "id-1: settled" in desk.run("replay", given=text)
    assert "id-1: booked already" in desk.run("replay", given=text)
    day = f"d:{Period.day(desk.now).name}"
    account = desk.limits_table.account(CI)
    assert (account.count(day, "usd"), account.count(day, "tok"), dict(account.open)) == (7, 3, {})


def test_a_failed_settlement_whose_lease_is_over_is_corrected_once(desk: Desk) -> None:
    desk.now -= 120_000
    record = as_record(desk.reserve())
    desk.now += 120_000
    desk.run("sweep")
    assert "id-1: corrected" in desk.run("replay", given=failed(record))
    assert "id-1: booked already" in desk.run("replay", given=failed(record))
    (kept,) = desk.limits_table.records(CI, Period.day(record.at))
    assert (kept.outcome, kept.usd, kept.tokens, dict(kept.counts)) == ("ok", 7, 3, {"input": 2, "output": 1})
    day = f"d:{Period.day(record.at).name}"
    account = desk.limits_table.account(CI)
    assert (account.count(day, "usd"), account.count(day, "tok"), account.count(day, "req")) == (7, 3, 1)
    other = record.changed(id="id-99")
    assert "id-99: not found" in desk.run("replay", given=failed(other))


def test_an_environment_without_a_stack_is_named(desk: Desk) -> None:
    desk.table = ""
    error = desk.run("--env", "prod", "usage", ok=False)
    assert "the stack openai-lambda-relay-prod is not deployed in eu-central-1" in error
    assert "--env, --region and --profile" in error
    assert "not deployed in eu-west-1" in desk.run("--env", "prod", "--region", "eu-west-1", "usage", ok=False)


def test_an_unknown_environment_is_refused(desk: Desk) -> None:
    desk.table = ""
    assert "--env nowhere: no such environment; known: dev, " in desk.run("--env", "nowhere", "usage", ok=False)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rpm", "-1"),
        ("--rpm", "many"),
        ("--concurrent", "100000"),
        ("--tokens-day", "1.5"),
        ("--tokens-day", "9" * 40),
    ],
)
def test_an_override_that_cannot_hold_is_refused(desk: Desk, option: str, value: str) -> None:
    desk.reserve()
    error = desk.run("override", CI.key, f"{option}={value}", ok=False)
    assert f"{option} is {value}; allowed: a whole number from 0 to " in error
    assert desk.limits_table.account(CI).overrides.limits == {}


def test_what_was_settled_a_moment_ago_is_booked_already(desk: Desk) -> None:
    record = desk.serve()
    desk.now += 1_000
    assert f"{record.id}: booked already" in desk.run("replay", given=failed(record))


def test_lines_that_cannot_be_booked_are_named_and_the_others_are_booked(desk: Desk) -> None:
    record = as_record(desk.reserve())
    good = failed(record)
    odd = json.loads(good)
    odd["record"]["u"] = "much"
    bare = json.dumps({"event": "settle_failed"})
    given = ["START RequestId: x", good[:60], json.dumps(odd), bare, "[" * 100_000, "[]", "7", good]
    desk.output.readouterr()
    assert main(["--table", desk.table, "replay"], io.StringIO("\n".join(given))) == 1
    out, err = desk.output.readouterr()
    assert out == "id-1: settled\n"
    assert err.splitlines() == [
        "error: line 2 is not booked: the line is cut or is no JSON",
        "error: line 3 is not booked: `record.u` has to be a whole number",
        "error: line 4 is not booked: `caller` has to be a caller's key, and `record` an object",
    ]
