"""`python -m operate ...`: the operator's command. `--help` lists what it does; so does docs/limits.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "authorizer_src"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda_src"))

import argparse
import contextlib
import io
import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from relay.aws.errors import StoreError
from relay.pricing.money import AmountError
from rich.console import Console

from operate import arguments
from operate.aws import Account, OperatorError, region_of
from operate.commands import COMMANDS, Terminal
from operate.dynamodb import Boto3Store
from operate.foreign_text import prose
from operate.limits_table import LimitsTable

_PIPE_COLUMNS = 200
_LONGEST_ERROR = 1_000
# What a shell reports for a program that SIGPIPE or SIGINT ended: 128 and the signal's number.
PIPE_CLOSED, INTERRUPTED = 141, 130


class _Console(Console):
    """Prints plain text; leaves it to `main` what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def main(
    argv: Sequence[str],
    given: TextIO | None = None,
    table_of: Callable[[argparse.Namespace], LimitsTable] | None = None,
) -> int:
    """Run one command. Returns 0, or 1 after one line on standard error that says what to change.

    `given` is read instead of standard input; `table_of` opens the table that the options name.
    """
    options = arguments.parser().parse_args(argv)
    try:
        _tolerate_odd_characters()
        table = (table_of or _table_of)(options)
        status = COMMANDS[options.command](table, options, Terminal(_console(), given or sys.stdin or io.StringIO()))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OperatorError, AmountError, StoreError) as error:
        text = str(error)
    except OSError as error:
        _discard_output()
        text = f"input or output failed ({error.strerror or error}): check the disk, --file and the log that is read"
    print(f"error: {prose(text, _LONGEST_ERROR)}", file=sys.stderr)
    return 1


def _table_of(options: argparse.Namespace) -> LimitsTable:
    region = options.region or (None if options.table else region_of(options.env))
    account = Account(profile=options.profile, region=region)
    name = options.table or account.table_of(options.env)
    return LimitsTable(Boto3Store(account.client("dynamodb")), table=name, clock=lambda: int(time.time() * 1000))


def _console() -> Console:
    """A console as wide as the terminal; a file or a pipe has no width, and must not get one that cuts."""
    size = shutil.get_terminal_size()
    width = size.columns if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_COLUMNS
    return _Console(width=width, height=size.lines, markup=False, emoji=False, highlight=False)


def _tolerate_odd_characters() -> None:
    """Write what the terminal's encoding lacks as escapes, and read logs whatever bytes they hold."""
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not fail, too (docs: signal, SIGPIPE)."""
    with contextlib.suppress(OSError):  # a standard output without a descriptor has nothing to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
