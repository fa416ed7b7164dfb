"""The commands `usage` and `export`: read records and open requests, and show, write or draw them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from relay.accounts.account import Reservation, UsageRecord
from rich.console import Console

from operate.aws import OperatorError
from operate.foreign_text import prose
from operate.limits_table import Caller, LimitsTable, Period
from operate.usage import output
from operate.usage.sums import Used, dimensions, has_refusals, in_period, sums

T = TypeVar("T")
Tracked = Callable[[Sequence[T] | Iterable[T], str], Iterator[T]]
"""Yields what it is given, and shows how far it has come."""


def add_arguments(usage: argparse.ArgumentParser, export: argparse.ArgumentParser) -> None:
    """Add the options of both commands."""
    for command in (usage, export):
        command.add_argument("--month", action="store_true", help="this month instead of today")
    usage.add_argument(
        "--by", help="what to add up by: caller, model, group, label.NAME, day ... (default: caller,model)"
    )
    usage.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    usage.add_argument("--plot", action="store_true", help="draw dollars by day, or by hour of today, instead")
    export.add_argument("--file", type=Path, help="where to write (default: standard output)")


def show(table: LimitsTable, options: argparse.Namespace, console: Console, tracked: Tracked[Caller]) -> int:
    """Run `usage`."""
    period = _period(table, options)
    by = dimensions(options.by)
    if options.plot:
        by = ("day",) if options.month else ("hour",)
    callers, group = _chosen(table, options.caller)
    with_refusals = not group and has_refusals(by)
    used = (_used(table, caller, period, group) for caller in tracked(callers, f"reading {period.name}"))
    rows = sums(used, by)
    if options.plot:
        console.print(output.plot(period, rows, console.width), soft_wrap=True)
    elif options.format == "json":
        print(output.as_json(period, by, rows, with_refusals=with_refusals))
    elif options.format == "csv":
        output.as_csv(by, rows, sys.stdout, with_refusals=with_refusals)
    else:
        console.print(output.table(period, by, rows, with_refusals=with_refusals))
    return 0


def write(table: LimitsTable, options: argparse.Namespace, console: Console, tracked: Tracked[Caller]) -> int:
    """Run `export`."""
    period = _period(table, options)
    callers, group = _chosen(table, options.caller)
    rows = (
        (caller, record)
        for caller in tracked(callers, f"reading {period.name}")
        for record in _of_group(table.records(caller, period), group)
    )
    if options.file is None:
        output.export(rows, sys.stdout)
        return 0
    try:
        file = options.file.open("w", newline="", encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OperatorError(f"--file {options.file} cannot be written ({reason}): choose another") from None
    with file:
        written = output.export(rows, file)
    console.print(f"{written} records in {prose(options.file)}", soft_wrap=True)
    return 0


def _chosen(table: LimitsTable, pattern: str) -> tuple[list[Caller], str]:
    """The callers whose records are read, and the group, or a pattern of groups, whose requests count; "" for all requests."""
    group = pattern.removeprefix("group:") if pattern.startswith("group:") else ""
    return table.callers("*" if group else pattern), group


def _used(table: LimitsTable, caller: Caller, period: Period, group: str) -> Used:
    entries = [entry for entry in table.account(caller).open.values() if _belongs(entry, group)]
    return Used(
        caller=caller,
        records=_of_group(table.records(caller, period), group),
        open=in_period(entries, period),
        refusals={} if group else table.refusals(caller, period),
    )


def _of_group(records: Iterable[UsageRecord], group: str) -> Iterator[UsageRecord]:
    return (record for record in records if _belongs(record, group))


def _belongs(held: UsageRecord | Reservation, group: str) -> bool:
    return not group or (bool(held.group) and fnmatchcase(held.group, group))


def _period(table: LimitsTable, options: argparse.Namespace) -> Period:
    return Period.month(table.clock()) if options.month else Period.day(table.clock())
