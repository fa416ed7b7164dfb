"""`python -m operate ...`: the operator's command. `--help` tells the rest; so does docs/limits.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda_src"))

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from relay.aws.errors import StoreError
from relay.limits.policy import PolicyError, amount
from rich.console import Console
from rich.progress import track

from operate import tables
from operate.dynamodb import Boto3Store, OperatorError, table_of
from operate.limits_table import Book, Known, Period

T = TypeVar("T")

_PIPE_COLUMNS = 200


def main(arguments: Sequence[str], given: TextIO = sys.stdin) -> int:
    """Does one command; 1 when it cannot be done, with one line on stderr that says why."""
    options = _parser().parse_args(arguments)
    options.given = given
    try:
        table = options.table or table_of(options.env)
        book = Book(Boto3Store(), table=table, clock=lambda: int(time.time() * 1000))
        options.command(book, options, _console())
    except (OperatorError, PolicyError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _console() -> Console:
    """As wide as the terminal; a file or a pipe has no width, and is not to get one that cuts."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_COLUMNS
    return Console(width=wide)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m operate", description="Looks after callers, limits and budgets.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--env", default="dev", help="the environment whose stack names the table (default: dev)")
    where.add_argument("--table", help="the table's name; AWS_ENDPOINT_URL points at a local one")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, text: str, caller: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function)
        if caller:
            sub.add_argument("caller", help=caller) if caller == _ONE else sub.add_argument(
                "caller", nargs="?", default="*", help=caller
            )
        return sub

    command("callers", _callers, "who is there, what they spent, what was said of them", _SOME)
    usage = command("usage", _usage, "requests, tokens, dollars and refusals by caller and model", _SOME)
    export = command("export", _export, "every record as CSV", _SOME)
    for sub in (usage, export):
        sub.add_argument("--month", action="store_true", help="this month instead of today")
    export.add_argument("--file", type=Path, help="where to write (default: standard output)")
    command("open", _open, "what is admitted and not settled", _SOME)
    command("sweep", _sweep, "settle at its bound what processes left behind when they died", _SOME)
    for name, function, text in (("stop", _stop, "refuse a caller's requests"), ("halt", _halt, "refuse everybody's")):
        sub = command(name, function, text, _ONE if name == "stop" else None)
        sub.add_argument("--reason", default="", help="what callers are told")
    command("start", _start, "take `stop` back", _ONE)
    command("resume", _resume, "take `halt` back")
    sub = command("override", _override, "other limits for a caller, until the UTC day is over", _ONE)
    sub.add_argument("--usd-day", help="US dollars today")
    sub.add_argument("--usd-month", help="US dollars this month, as seen today")
    sub.add_argument("--tokens-day", type=int)
    sub.add_argument("--rpm", type=int, help="requests per minute")
    sub.add_argument("--concurrent", type=int, help="requests at once")
    command("lift", _lift, "take `override` back", _ONE)
    command("replay", _replay, "book the `settle_failed` lines of a log on standard input")
    return parser


_ONE = "a caller's name (123456789012:role/ci) or key (123456789012/AROAEXAMPLE)"
_SOME = "a name, a pattern (*:role/ci-*) or a key; everybody when left out"


def _rows(book: Book, options: argparse.Namespace, doing: str) -> Iterator[Known]:
    """The chosen callers, with a display of progress on a terminal's standard error."""
    return _tracked(book.callers(options.caller), doing)


def _tracked(values: Sequence[T] | Iterable[T], doing: str) -> Iterator[T]:
    console = Console(stderr=True)
    yield from track(values, description=doing, console=console, transient=True, disable=not console.is_terminal)


def _period(book: Book, options: argparse.Namespace) -> Period:
    return Period.month(book.clock()) if options.month else Period.day(book.clock())


def _callers(book: Book, options: argparse.Namespace, console: Console) -> None:
    halted = book.halted()
    if halted is not None:
        console.print(f"[bold red]Everything is stopped.[/] {halted}")
    rows = [(caller, book.account(caller)) for caller in _rows(book, options, "reading")]
    console.print(tables.callers(rows, book.clock()))


def _usage(book: Book, options: argparse.Namespace, console: Console) -> None:
    period = _period(book, options)
    rows = [
        (caller, tables.sums(book.records(caller, period), book.refusals(caller, period)))
        for caller in _rows(book, options, f"reading {period.name}")
    ]
    console.print(tables.usage(period, rows))


def _export(book: Book, options: argparse.Namespace, console: Console) -> None:
    period = _period(book, options)
    rows = (
        (caller, record)
        for caller in _rows(book, options, f"reading {period.name}")
        for record in book.records(caller, period)
    )
    if options.file is None:
        tables.export(rows, sys.stdout)
        return
    with options.file.open("w", newline="", encoding="utf-8") as file:
        console.print(f"{tables.export(rows, file)} records in {options.file}")


def _open(book: Book, options: argparse.Namespace, console: Console) -> None:
    rows = [(caller, book.account(caller)) for caller in _rows(book, options, "reading")]
    console.print(tables.reservations(rows, book.clock()))


def _sweep(book: Book, options: argparse.Namespace, console: Console) -> None:
    settled = 0
    for caller in _rows(book, options, "sweeping"):
        while over := len(book.account(caller).expired(book.clock())):
            book.ledger.sweep(caller.key)
            settled += over - len(book.account(caller).expired(book.clock()))
        book.ledger.sweep(caller.key)
    console.print(f"{settled} reservations settled at their upper bounds")


def _stop(book: Book, options: argparse.Namespace, console: Console) -> None:
    caller = book.one(options.caller)
    book.stop(caller, options.reason)
    console.print(f"{caller.subject} is stopped")


def _start(book: Book, options: argparse.Namespace, console: Console) -> None:
    caller = book.one(options.caller)
    book.start(caller)
    console.print(f"{caller.subject} is no longer stopped")


def _halt(book: Book, options: argparse.Namespace, console: Console) -> None:
    count = sum(1 for _ in _tracked(book.halt(options.reason), "stopping"))
    console.print(f"everything is stopped: {count} callers, and all that are new")


def _resume(book: Book, options: argparse.Namespace, console: Console) -> None:
    count = sum(1 for _ in _tracked(book.resume(), "resuming"))
    console.print(f"{count} callers are no longer stopped by `halt`")


def _override(book: Book, options: argparse.Namespace, console: Console) -> None:
    given = {
        "usd_per_day": amount(options.usd_day, "--usd-day") if options.usd_day else None,
        "usd_per_month": amount(options.usd_month, "--usd-month") if options.usd_month else None,
        "tokens_per_day": options.tokens_day,
        "requests_per_minute": options.rpm,
        "concurrent": options.concurrent,
    }
    limits = {name: value for name, value in given.items() if value is not None}
    if not limits or any(value < 0 for value in limits.values()):
        raise OperatorError("say which limit: --usd-day, --usd-month, --tokens-day, --rpm or --concurrent")
    caller = book.one(options.caller)
    book.override(caller, limits)
    console.print(f"{caller.subject}: other limits until 00:00 UTC")


def _lift(book: Book, options: argparse.Namespace, console: Console) -> None:
    caller = book.one(options.caller)
    book.lift(caller)
    console.print(f"{caller.subject}: the configured limits hold again")


def _replay(book: Book, options: argparse.Namespace, console: Console) -> None:
    for text in options.given:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("event") == "settle_failed":
            console.print(f"{line['record']['id']}: {book.replay(line)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
