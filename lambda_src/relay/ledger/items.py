"""Where each item lies in the table: its key, and how refusals are named in theirs. Pure.

KEY is a caller's "123456789012/AROAEXAMPLE":

    pk             sk                    attributes
    caller#KEY     state                 the account, as accounts.account has it
    group#NAME     state                 the account of a group
    groups         NAME                  `subject`: the name; written before the group's first admission
    callers        KEY                   `subject`: as whom policies know the caller; written before its first admission
    switch         all                   `halt`: why everything is stopped; absent when it is not
    keys           ID                    a key that the authorizer knows: see authorizer.api_key
    usage#KEY      MILLISECONDS#ID       one request's record, letters below, and `expires`
    usage#KEY      refused#DATE#REASON   how often, by listed model: "m:gpt-5", "m:other"; and `expires`
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.accounts.account import UsageRecord, record_of
from relay.accounts.limit_kinds import Windows
from relay.aws.update_expression import Body, Item, decode, encode

Key = Mapping[str, str]

SWITCH: Key = {"pk": "switch", "sk": "all"}
"""The item that stops callers who were never here."""

DIRECTORY, GROUP_DIRECTORY = "callers", "groups"
"""The partitions in which callers and groups are written down: read consistently by the operator."""

_REFUSED, _MODEL = "refused#", "m:"


def account_key(caller: str) -> dict[str, str]:
    """Where a caller's account lies. A partition of its own: 1,000 write units a second are for this caller alone."""
    return {"pk": f"caller#{caller}", "sk": "state"}


def directory_key(caller: str) -> dict[str, str]:
    """Where it is written down that this caller exists."""
    return {"pk": DIRECTORY, "sk": caller}


def group_account_key(group: str) -> dict[str, str]:
    """Where a group's account lies: a partition of its own, and 1,000 write units a second for all its members together."""
    return {"pk": f"group#{group}", "sk": "state"}


def group_directory_key(group: str) -> dict[str, str]:
    """Where it is written down that this group exists."""
    return {"pk": GROUP_DIRECTORY, "sk": group}


def usage_partition(caller: str) -> str:
    """The partition of a caller's records and refusals: apart from its account, which they must not slow down."""
    return f"usage#{caller}"


def record_key(caller: str, id: str, at: int) -> dict[str, str]:
    """Where the record of a request lies: by caller, in the order of admission (milliseconds, 13 digits until 2286)."""
    return {"pk": usage_partition(caller), "sk": f"{at:013d}#{id}"}


def refusals_key(caller: str, windows: Windows, reason: str) -> dict[str, str]:
    """Where a caller's refusals of one day and reason are counted. `reason` is from a fixed set: "usd_per_day"."""
    return {"pk": usage_partition(caller), "sk": f"{refusals_prefix(windows)}#{reason}"}


def refusals_prefix(windows: Windows) -> str:
    """How the sort keys of one day's refusals begin: "refused#2026-11-23"."""
    return f"{_REFUSED}{windows.day[2:]}"


def refusals_attribute(model: str) -> str:
    """The attribute under which refusals of `model`, from the operator's lists or "other", are counted."""
    return f"{_MODEL}{model}"


def refusals_of(item: Item) -> dict[tuple[str, str], int]:
    """Counts by (reason, model) in an item of refusals. Also reads items that held all reasons of a day, with
    attributes named "REASON MODEL"."""
    fields = {name: decode(value) for name, value in item.items()}
    reason = fields["sk"].removeprefix(_REFUSED).partition("#")[2]
    counts = {name: value for name, value in fields.items() if name not in ("pk", "sk", "expires")}
    if reason:
        return {(reason, name.removeprefix(_MODEL)): value for name, value in counts.items()}
    return {(name.partition(" ")[0], name.partition(" ")[2]): value for name, value in counts.items()}


def record_in(id: str, item: Item) -> UsageRecord:
    """The record in an item of its own."""
    return record_of(id, {name: decode(value) for name, value in item.items()})


def in_json(key: Item) -> Body:
    """A key or a whole item as the wire has it."""
    item: Body = encode(key)["M"]
    return item
