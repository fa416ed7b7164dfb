"""`key create`, `key list`, `key rotate` and `key revoke`: their options, and what each does and prints."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from authorizer import api_key
from rich.console import Console

from operate.aws import OperatorError
from operate.foreign_text import name, prose
from operate.keys.table import Key, KeysTable, without_key
from operate.limits_table import LimitsTable
from operate.sheet import FIGURE, WORDS, Sheet

_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST = 3653 * _UNITS["d"]
_LABEL = re.compile(r"([\w.-]{1,63})=([^\x00-\x1f\x7f]{0,128})")
_MOST_LABELS = 20


class Output(Protocol):
    """Where a command writes."""

    console: Console

    def line(self, text: str) -> None: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options; `action` holds the action's name."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    create = actions.add_parser("create", help="print a new key, once; only its hash is kept")
    create.add_argument("--name", required=True, help="whom it lets in: policies and usage call it key:NAME")
    create.add_argument("--owner", default="", help="who answers for it")
    create.add_argument("--label", action="append", default=[], metavar="NAME=TEXT", help="more than once for several")
    listing = actions.add_parser("list", help="show keys, when they expire and when they were last used")
    listing.add_argument("key", nargs="?", help="only those of that name")
    rotate = actions.add_parser("rotate", help="print a second key for a name and let the others expire soon")
    rotate.add_argument("key", metavar="NAME", help="the name that the keys let in")
    rotate.add_argument("--overlap", default="24h", help="how long the older keys stay valid (default: 24h)")
    revoke = actions.add_parser("revoke", help="let nobody in with a key from the next request on")
    revoke.add_argument("key", metavar="NAME|ID", help="an id, a name for all of its keys, or a key itself")
    for each in (create, rotate):
        each.add_argument(
            "--expires", metavar="90d", help="for how long it is valid: 30m, 12h, 90d (default: for ever)"
        )


def run(limits: LimitsTable, options: argparse.Namespace, output: Output) -> int:
    """Do what `options` say. Raises OperatorError."""
    _ACTIONS[options.action](KeysTable(limits), limits.clock(), options, output)
    return 0


def _create(keys: KeysTable, now: int, options: argparse.Namespace, output: Output) -> None:
    if not api_key.NAME.fullmatch(options.name) or options.name.startswith(api_key.PREFIX):
        allowed = "up to 63 small letters, digits, '.', '_' and '-', such as ci-bot"
        raise OperatorError(f"--name is '{without_key(options.name)}'; allowed: {allowed}")
    until, labels = _until(options.expires, now), _labels(options.label)
    if valid := keys.valid(options.name):
        raise OperatorError(
            f"{options.name} has a valid key already ({valid[0].id}): use `key rotate {options.name}`, or revoke that one"
        )
    _print(
        keys.create(options.name, until=until, owner=prose(options.owner), labels=labels), options.name, until, output
    )


def _rotate(keys: KeysTable, now: int, options: argparse.Namespace, output: Output) -> None:
    overlap, until = _milliseconds("--overlap", options.overlap), _until(options.expires, now)
    older = [key for key in keys.find(options.key) if key.name == options.key]
    if not older:
        raise OperatorError(f"'{without_key(options.key)}' is no name: `key rotate` takes the name of the key")
    newest = older[-1].stored
    key = keys.create(options.key, until=until, owner=str(newest.get("owner", "")), labels=newest.get("labels", {}))
    for each in older:
        keys.end(each, now + overlap)
    _print(key, options.key, until, output)
    _note(f"{len(older)} older: valid until {_time(now + overlap)} at most")


def _list(keys: KeysTable, now: int, options: argparse.Namespace, output: Output) -> None:
    rows = [_row(key, now) for key in keys.all() if options.key in (None, key.name)]
    columns = ("name", "id", "state", "created", "expires", "used", "owner", "labels")
    kinds = {each: WORDS if each in ("owner", "labels", "name") else FIGURE for each in columns}
    output.console.print(Sheet(title="Keys (UTC)", columns=kinds, rows=rows, caption="used: the last day, at midnight"))


def _revoke(keys: KeysTable, now: int, options: argparse.Namespace, output: Output) -> None:
    for key in keys.find(options.key):
        keys.revoke(key)
        output.line(f"{key.name} ({key.id}) is revoked")


_ACTIONS: dict[str, Callable[[KeysTable, int, argparse.Namespace, Output], None]] = {
    "create": _create,
    "list": _list,
    "rotate": _rotate,
    "revoke": _revoke,
}


def _print(key: str, caller: str, until: int, output: Output) -> None:
    """Print the key alone on standard output, so that it can be piped into where it is kept."""
    output.line(key)
    expires = f"until {_time(until)}" if until else "for ever"
    _note(f"key {api_key.id_of(key)} lets key:{caller} in {expires}; it is not kept and cannot be shown again")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _row(key: Key, now: int) -> tuple[str, ...]:
    stored = key.stored
    labels = " ".join(f"{name(label)}={prose(text)}" for label, text in sorted(dict(stored.get("labels", {})).items()))
    expires = _time(key.until) if key.until else "never"
    return (
        name(key.name), name(key.id), api_key.state(stored, now), _time(int(stored.get("at", 0))), expires,
        name(stored.get("used", "never")), prose(stored.get("owner", "")), labels,
    )  # fmt: skip


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}"


def _until(text: str | None, now: int) -> int:
    return api_key.FOREVER if text is None else now + _milliseconds("--expires", text)


def _milliseconds(option: str, text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    length = int(found[1]) * _UNITS[found[2]] if found else -1
    if not (0 if option == "--overlap" else 1) <= length <= _LONGEST:
        raise OperatorError(
            f"{option} is '{name(text)}'; allowed: minutes, hours or days up to 3653d, such as 30m, 12h, 90d"
        )
    return length


def _labels(texts: list[str]) -> dict[str, str]:
    found = [_LABEL.fullmatch(text) for text in texts]
    if not all(found) or len(texts) > _MOST_LABELS:
        raise OperatorError(f"--label takes NAME=TEXT, up to 128 characters of text and {_MOST_LABELS} labels")
    return {each[1]: each[2] for each in found if each}
