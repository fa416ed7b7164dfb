"""The command line of `python -m operate`: its commands and options. Knows no table."""

from __future__ import annotations

import argparse

from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Unit, Window

from operate.keys import commands as keys
from operate.usage import commands as usage

_ONE = "a caller's name (123456789012:role/ci) or key (123456789012/AROAEXAMPLE), or a group (group:atlas)"
_SOME = "a name, a pattern (*:role/ci-*), a key or a group (group:atlas); all when left out"

COMMANDS = {
    "callers": ("show callers, what they spent and what overrides their limits", _SOME),
    "usage": ("show requests, tokens, dollars and refusals by caller, model, group or label", _SOME),
    "export": ("write every record as CSV", _SOME),
    "key": ("create, list, rotate and revoke keys for clients that cannot sign", None),
    "prices": ("show the deployed price list, what ends when, and who used models this month that end", None),
    "open": ("show what is admitted and not settled", _SOME),
    "sweep": ("settle at its bound what processes left behind when they died", _SOME),
    "stop": ("refuse the requests of a caller or of a whole group", _ONE),
    "start": ("undo `stop`", _ONE),
    "halt": ("refuse everybody's requests", None),
    "resume": ("undo `halt`", None),
    "override": ("replace limits of a caller or a group until the UTC day is over", _ONE),
    "lift": ("undo `override`", _ONE),
    "replay": ("book the `settle_failed` lines of a log on standard input", None),
}


def parser() -> argparse.ArgumentParser:
    """Build the parser; `command` holds the command's name."""
    parser = argparse.ArgumentParser(prog="python -m operate", description="Looks after callers, limits and budgets.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--env", default="dev", help="the environment whose stack names the table (default: dev)")
    where.add_argument("--table", help="the table's name; AWS_ENDPOINT_URL points at a local one")
    parser.add_argument("--region", help="default: the one in environments.py, else AWS_REGION, else the profile's")
    parser.add_argument("--profile", help="the AWS profile to work with (default: AWS_PROFILE)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    subs = {}
    for name, (text, caller) in COMMANDS.items():
        subs[name] = commands.add_parser(name, help=text, description=text)
        if caller == _ONE:
            subs[name].add_argument("caller", help=caller)
        elif caller == _SOME:
            subs[name].add_argument("caller", nargs="?", default="*", help=caller)
    usage.add_arguments(subs["usage"], subs["export"])
    for name in ("stop", "halt"):
        subs[name].add_argument("--reason", default="", help="what callers are told")
    _add_limits(subs["override"])
    keys.add_arguments(subs["key"])
    return parser


def _add_limits(override: argparse.ArgumentParser) -> None:
    for kind in LIMIT_KINDS:
        unit = "US dollars" if kind.unit is Unit.USD else kind.unit.name.lower()
        override.add_argument(option_of(kind), dest=kind.name, metavar="FIGURE", help=f"{unit} {_WINDOWS[kind.window]}")


def option_of(kind: LimitKind) -> str:
    """Return a limit's option of `override`: "--usd-day"."""
    return "--" + kind.setting.replace("_", "-")


_WINDOWS = {
    Window.MONTH: "this month, as seen today",
    Window.DAY: "today",
    Window.MINUTE: "per minute",
    Window.NOW: "at once",
}
