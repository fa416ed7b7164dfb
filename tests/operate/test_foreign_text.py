"""Whatever callers and operators write is shown as text by every command, and steers nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from relay.accounts.account import Account, Reservation, UsageRecord, stored_name
from relay.accounts.overrides import STOPPED, Overrides
from relay.pricing.money import PICO

from operate.__main__ import main
from operate.failed_settlement import settlement_of
from operate.foreign_text import MOST_CHARACTERS, cell, name, prose
from operate.limits_table import Caller, LimitsTable, Period
from tests.support import hostile_texts
from tests.support.hostile_texts import ALL, commands_in
from tests.support.operator_desk import Desk

NOW = 1_796_040_000_000  # 2026-11-30T12:00:00Z


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_a_text_becomes_one_printable_line_of_bounded_length(text: str) -> None:
    for shown in (name(text), prose(text), cell(text)):
        assert shown.isprintable()
        assert len(shown) <= MOST_CHARACTERS + len("'")
    assert name(text).isascii()
    assert not cell(text) or cell(text)[0].isalnum() or cell(text)[0] == "'"


def test_ordinary_names_and_sentences_stay_as_they_are() -> None:
    for text in ("gpt-5-mini", "ft:gpt-4o-mini-2024-07-18:org::AbC", "123456789012:user/a+b=c,d.e@f_g", "-", "[x]"):
        assert name(text) == text
    for text in ("Kontingent für heute erschöpft", "предел", "上限に達しました", "ขีดจำกัด", "हिन्दी", "see [/runbook]"):
        assert prose(text) == text


def test_different_texts_do_not_look_the_same() -> None:
    shown = [name(text) for text in ALL]
    assert len(set(shown)) == len(set(ALL))
    assert name("\\x1b") != name("\x1b")
    assert name("g\u0440t-5") == "g\\u0440t-5"


def test_a_long_text_shows_its_ends_and_its_length() -> None:
    assert re.fullmatch(r"(ab){60} \.\.\.\[9840 characters\]\.\.\. (ab){20}", name("ab" * 5000))


class Crowd(LimitsTable):
    """A table that nobody has to store: one caller per text, which is its name and the model of its requests."""

    def __init__(self) -> None:
        self.clock = lambda: NOW
        self.halt_reason: str | None = None
        self.stop_reason: str | None = None
        self.all = [Caller(key=f"123456789012/A{number}", subject=text) for number, text in enumerate(ALL)]

    def callers(self, pattern: str = "*") -> list[Caller]:
        return [caller for caller in self.all if pattern in ("*", caller.key)]

    def groups(self, pattern: str = "*") -> list[Caller]:
        return []

    def account(self, caller: Caller) -> Account:
        entry = Reservation(
            id=caller.subject, at=NOW, lease=NOW + 60_000, usd=PICO, tokens=5, model=caller.subject, endpoint="/v1/x"
        )
        overrides = Overrides(stopped=self.stop_reason, halted=self.halt_reason)
        return Account(exists=True, open={entry.id: entry}, overrides=overrides)

    def records(self, caller: Caller, period: Period) -> Iterator[UsageRecord]:
        text = caller.subject
        yield UsageRecord(id=text, at=NOW, model=text, endpoint=text, outcome=text, tier=text, usd=1, tokens=1)

    def refusals(self, caller: Caller, period: Period) -> dict[tuple[str, str], int]:
        return {("model", caller.subject): 1}

    def halted(self) -> str | None:
        return self.halt_reason

    def set_override(self, caller: Caller, fields: Mapping[str, str | int], lifted: tuple[str, ...] = ()) -> None:
        self.stop_reason = str(fields[STOPPED]) if STOPPED in fields else None

    def halt(self, reason: str) -> Iterator[Caller]:
        self.halt_reason = reason
        yield self.all[0]

    def replay(self, line: Mapping[str, Any]) -> str:
        settlement_of(line)
        return "not found"


class Screen:
    """Runs commands on the crowd and keeps what they print."""

    def __init__(self, output: pytest.CaptureFixture[str]) -> None:
        self.crowd = Crowd()
        self.output = output

    def run(self, *arguments: str, given: str = "", status: int = 0) -> str:
        self.output.readouterr()
        assert main(arguments, io.StringIO(given), lambda _: self.crowd) == status
        out, err = self.output.readouterr()
        shown = err if status else out
        assert commands_in(shown.replace("\r\n", "\n")) == []
        return shown


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Screen:
    """A terminal so wide that nothing is folded."""
    monkeypatch.setenv("COLUMNS", "4000")
    return Screen(capsys)


@pytest.mark.parametrize("colour", ["", "1"], ids=["plain", "styled"])
@pytest.mark.parametrize("command", ["usage", "usage --month", "open", "callers"])
def test_every_table_shows_every_text(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, command: str, colour: str
) -> None:
    if colour:
        monkeypatch.setenv("FORCE_COLOR", colour)
    output = screen.run(*command.split())
    assert [text for text in ALL if name(text) not in output] == []


@pytest.mark.parametrize("columns", ["1", "20", "60"])
@pytest.mark.parametrize("command", ["usage", "open", "callers"])
def test_every_table_shows_every_text_on_narrow_terminals(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    output = "".join(screen.run(command).split())
    assert [text for text in ALL if "".join(name(text).split()) not in output] == []


def test_the_export_holds_every_text_and_no_formula(screen: Screen) -> None:
    rows = list(csv.DictReader(io.StringIO(screen.run("export"), newline="")))
    assert [row["model"] for row in rows] == list(map(cell, ALL))
    assert [text for row in rows for text in row.values() if text and not (text[0].isalnum() or text[0] == "'")] == []


def test_files_of_any_name_are_written_and_named(screen: Screen, tmp_path: Path) -> None:
    for number, text in enumerate(ALL):
        file = tmp_path / f"{number}{text[:40].translate({0: '_', ord('/'): '_', 0xD800: '_'})}"
        assert screen.run("export", "123456789012/A0", "--file", str(file)) == f"1 records in {prose(file)}\n"
        assert file.exists()


def test_reasons_are_shown_as_written(screen: Screen) -> None:
    for text in ALL:
        screen.run("stop", "123456789012/A0", f"--reason={text}")
        screen.run("halt", f"--reason={text}")
        output = screen.run("callers", "123456789012/A0")
        assert f"Everything is stopped. {prose(text)}".strip() in output
        assert f"stopped: {prose(text)}".strip() in output


def test_a_sentence_that_was_made_safe_once_stays_as_it_is() -> None:
    assert [text for text in ALL if prose(prose(text)) != prose(text)] == []


def test_messages_name_callers_safely(screen: Screen) -> None:
    for caller in screen.crowd.all:
        for command in (["stop"], ["start"], ["override", "--rpm=5"], ["lift"]):
            assert screen.run(command[0], caller.key, *command[1:]).startswith(name(caller.subject))


def test_errors_quote_safely_and_take_one_line(screen: Screen) -> None:
    for text in ALL:
        for arguments in (
            ["stop", f"x{text}:"],
            ["override", "123456789012/A0", f"--usd-day=x{text}"],
            ["override", "123456789012/A0", f"--rpm=x{text}"],
            ["export", f"--file=/nowhere/{text}"],
        ):
            error = screen.run(*arguments, status=1)
            assert error.startswith("error: ")
            assert error.count("\n") == 1


def test_replay_shows_ids_safely(screen: Screen) -> None:
    record = {**UsageRecord(id="x", at=NOW, outcome="ok", usd=1, tokens=1).fields(), "c": {}}
    for text in ALL:
        line = {"event": "settle_failed", "caller": "123456789012/A0", "record": {**record, "id": text}}
        if text.isascii() and text.isprintable() and len(text) <= 256:
            assert screen.run("replay", given=json.dumps(line)) == f"{name(text)}: not found\n"
        else:
            error = screen.run("replay", given=json.dumps(line), status=1)
            assert error == "error: line 1 is not booked: `record.id` has to be a request's id\n"


def test_what_is_stored_comes_back_as_text(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "4000")
    for text in hostile_texts.STORABLE[::6]:
        desk.serve(model=text)
    output = desk.run("usage")
    assert commands_in(output) == []
    shown = [name(stored_name(text)) for text in hostile_texts.STORABLE[::6]]
    assert [text for text in shown if text not in output] == []
