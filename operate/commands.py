"""What each command of `python -m operate` does: reads or changes the limits' table and prints what came of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO, TypeVar

from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Unit
from relay.pricing.money import amount
from rich.console import Console
from rich.progress import track

from operate import failed_settlement, tables
from operate.arguments import option_of
from operate.aws import OperatorError
from operate.failed_settlement import UnusableLineError
from operate.foreign_text import name, prose
from operate.keys import commands as keys
from operate.limits_table import LimitsTable, Period
from operate.prices import deployed
from operate.prices import tables as price_tables
from operate.usage import commands as usage
from operate.usage.sums import by_model

T = TypeVar("T")

_HIGHEST = 10**15
"""Of a limit that has no highest figure of its own."""


class Terminal:
    """Where a command reads and writes: lines of a log in, tables and messages out, and progress beside them.

    Every message is plain text here: Rich's markup, emoji codes and highlighting are off in `console`.
    """

    def __init__(self, console: Console, given: TextIO) -> None:
        self.console = console
        self.given = given

    def line(self, text: str) -> None:
        """Print one line, however wide."""
        self.console.print(text, soft_wrap=True)

    def tracked(self, values: Sequence[T] | Iterable[T], doing: str) -> Iterator[T]:
        """Yield `values`, with a display of progress where standard error is a terminal."""
        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        yield from track(values, description=doing, console=console, transient=True, disable=not console.is_terminal)


def _callers(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    halted = table.halted()
    if halted is not None:
        terminal.console.print(f"Everything is stopped. {prose(halted)}", style="bold red", soft_wrap=True)
    chosen = terminal.tracked(table.owners(options.caller), "reading")
    terminal.console.print(tables.callers([(caller, table.account(caller)) for caller in chosen], table.clock()))
    return 0


def _usage(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    return usage.show(table, options, terminal.console, terminal.tracked)


def _prices(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    listed, where = deployed.of(options)
    period, today = Period.month(table.clock()), datetime.fromtimestamp(table.clock() / 1000, UTC).date()
    terminal.console.print(price_tables.models(listed, where, today))
    rows = [
        (caller, by_model(table.records(caller, period)))
        for caller in terminal.tracked(table.callers(), f"reading {period.name}")
    ]
    terminal.console.print(price_tables.ending(listed, period, rows, today))
    return 0


def _export(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    return usage.write(table, options, terminal.console, terminal.tracked)


def _open(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    chosen = terminal.tracked(table.owners(options.caller), "reading")
    terminal.console.print(tables.reservations([(caller, table.account(caller)) for caller in chosen], table.clock()))
    return 0


def _sweep(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    settled, owners = 0, table.owners(options.caller)
    # A member's request is one, in its caller's account and in its group's.
    counted = [owner for owner in owners if not owner.group] or owners
    for owner in terminal.tracked(owners, "sweeping"):
        while over := len(table.account(owner).expired(table.clock())):
            table.sweep(owner)
            settled += over - len(table.account(owner).expired(table.clock())) if owner in counted else 0
        table.sweep(owner)
    terminal.line(f"{settled} reservations settled at their upper bounds")
    return 0


def _stop(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    caller = table.find(options.caller)
    table.stop(caller, prose(options.reason))
    terminal.line(f"{name(caller.subject)} is stopped")
    return 0


def _start(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    caller = table.find(options.caller)
    table.start(caller)
    terminal.line(f"{name(caller.subject)} is no longer stopped")
    return 0


def _halt(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    count = sum(1 for _ in terminal.tracked(table.halt(prose(options.reason)), "stopping"))
    terminal.line(f"everything is stopped: {count} callers, and all that are new")
    return 0


def _resume(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    count = sum(1 for _ in terminal.tracked(table.resume(), "resuming"))
    terminal.line(f"{count} callers are no longer stopped by `halt`")
    return 0


def _override(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    limits = _limits(options)
    caller = table.find(options.caller)
    table.override(caller, limits)
    terminal.line(f"{name(caller.subject)}: other limits until 00:00 UTC")
    return 0


def _lift(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    caller = table.find(options.caller)
    table.lift(caller)
    terminal.line(f"{name(caller.subject)}: the configured limits apply again")
    return 0


def _replay(table: LimitsTable, options: argparse.Namespace, terminal: Terminal) -> int:
    """Book every usable line; 1 when there was one that could not be used."""
    unusable = 0
    for number, text in enumerate(terminal.given, start=1):
        try:
            line = failed_settlement.parse(text)
            if line is not None:
                outcome = table.replay(line)
                terminal.line(f"{name(line['record']['id'])}: {outcome}")
        except UnusableLineError as error:
            unusable += 1
            print(f"error: line {number} is not booked: {prose(error)}", file=sys.stderr)
    return 1 if unusable else 0


COMMANDS: Mapping[str, Callable[[LimitsTable, argparse.Namespace, Terminal], int]] = {
    "callers": _callers,
    "usage": _usage,
    "prices": _prices,
    "key": keys.run,
    "export": _export,
    "open": _open,
    "sweep": _sweep,
    "stop": _stop,
    "start": _start,
    "halt": _halt,
    "resume": _resume,
    "override": _override,
    "lift": _lift,
    "replay": _replay,
}


def _limits(options: argparse.Namespace) -> dict[str, int]:
    """The limits that `override` was given, by name. Raises OperatorError and AmountError."""
    given = {kind: getattr(options, kind.name) for kind in LIMIT_KINDS}
    limits = {kind.name: _figure(kind, text) for kind, text in given.items() if text is not None}
    if not limits:
        raise OperatorError(f"say which limit: {', '.join(option_of(kind) for kind in LIMIT_KINDS)}")
    return limits


def _figure(kind: LimitKind, text: str) -> int:
    option, most = option_of(kind), kind.most or _HIGHEST
    if kind.unit is Unit.USD:
        return amount(text, option)
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise OperatorError(f"{option} is {prose(text)}; allowed: a whole number from 0 to {most:,}")
    return int(text)
