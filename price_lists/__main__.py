"""`make prices`: prints what two public lists say otherwise than the relay's list. Changes nothing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from price_lists import comparison, genai_prices, litellm, own_list, wheels
from price_lists.figures import ListError, Models
from price_lists.own_list import OwnList
from price_lists.wheels import Wheel

Fetch = Callable[[str, Path], Wheel]


def main(argv: Sequence[str], today: date, fetch: Fetch = wheels.download) -> int:
    """Compare and print. Returns 1 after one line on standard error, and with --check for a list that is out of date.

    `fetch` gives the newest wheel of a package, in a folder.
    """
    parser = argparse.ArgumentParser(prog="python -m price_lists", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a listed model has ended or the list is old")
    parser.add_argument("--list", type=Path, default=own_list.PATH, help="default: the relay's prices.json")
    options = parser.parse_args(argv)
    try:
        own = own_list.read(options.list)
        out_of_date = list(_out_of_date(own, today))
        for line in _own(own, today):
            print(line)
        sys.stdout.flush()
        for line in _compared(own, today, fetch):
            print(line)
    except ListError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not options.check:
        return 0
    for line in out_of_date:
        print(f"error: {line}", file=sys.stderr)
    return 1 if out_of_date else 0


def _own(own: OwnList, today: date) -> Iterator[str]:
    yield f"{len(own.models)} models, held against their sources on {own.checked}, {(today - own.checked).days} days ago"
    for name, days in comparison.ending(own, today).items():
        when = own.models[name].shutdown
        yield f"  ends: {name} on {when}, in {days} days" if days > 0 else f"  ended: {name} on {when}"


def _out_of_date(own: OwnList, today: date) -> Iterator[str]:
    for name, days in comparison.ending(own, today).items():
        if days <= 0:
            yield f"{name} ended on {own.models[name].shutdown}: take it off prices.json"
    if comparison.is_stale(own, today):
        yield (
            f"prices.json was last checked on {own.checked}, more than {comparison.STALE.days} days ago: compare it with "
            "its sources and set as_of"
        )


def _compared(own: OwnList, today: date, fetch: Fetch) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        theirs = fetch("litellm", Path(folder)), fetch("genai-prices", Path(folder))
        lists: dict[str, Models] = {
            str(theirs[0]): litellm.models(wheels.text_in(theirs[0], litellm.MEMBER)),
            str(theirs[1]): genai_prices.models(
                wheels.text_in(theirs[1], genai_prices.MEMBER), today, [*own.models, *own.snapshots]
            ),
        }
    known = {name for models in lists.values() for name in models}
    for source, models in lists.items():
        found = list(comparison.differences(own, models))
        yield f"{source}: {len(models)} names, {len(found)} figures differ"
        yield from (f"  cheaper here: {each}" for each in found if each.cheaper)
        yield from (f"  differs: {each}" for each in found if not each.cheaper)
        unread = sorted({(name, each) for name in own.models.keys() & models for each in models[name].unread})
        yield from (f"  not compared: {name}: {each}" for name, each in unread)
        yield from (f"  missing here: {name}" for name in comparison.missing(own, models, today))
    yield from (f"in neither list: {name}" for name in own.models if name not in known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], datetime.now(UTC).date()))
