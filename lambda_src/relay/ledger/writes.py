"""The conditional writes that the ledger makes: each a whole request body for DynamoDB. Pure.

Why one item and no transaction: docs/decisions/0030. Conditions compare what is stored with a figure computed here,
because DynamoDB's grammar has no arithmetic in conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from relay.aws.update_expression import Update, encode
from relay.ledger.account import (
    DONE,
    EXPIRED,
    HALTED,
    OPEN,
    STOPPED,
    VERSION,
    Account,
    Reservation,
    UsageRecord,
    Windows,
)
from relay.limits.policy import Limits

AT_ONCE = 25
"""Entries that one write moves or removes."""

SWITCH = {"pk": "switch", "sk": "all"}


def account_key(caller: str) -> dict[str, str]:
    """Where a caller's account lies. A partition of its own: 1,000 write units a second are for this caller alone."""
    return {"pk": f"caller#{caller}", "sk": "state"}


def directory_entry(caller: str) -> dict[str, str]:
    """Where it is written down that this caller exists: one partition, read consistently by the operator."""
    return {"pk": "callers", "sk": caller}


def record_key(caller: str, id: str, at: int) -> dict[str, str]:
    """Where the record of a request lies: by caller, in the order of admission (milliseconds, 13 digits until 2286)."""
    return {"pk": f"usage#{caller}", "sk": f"{at:013d}#{id}"}


def refusals_key(caller: str, windows: Windows) -> dict[str, str]:
    """Where a caller's refusals of one day are counted."""
    return {"pk": f"usage#{caller}", "sk": f"refused#{windows.day[2:]}"}


def in_json(key: Mapping[str, str]) -> dict[str, Any]:
    """A key as the wire has it."""
    return {name: encode(part) for name, part in key.items()}


def reserve(
    table: str,
    caller: str,
    entry: Reservation,
    limits: Limits,
    said: int | None,
    gone: Sequence[UsageRecord],
    purge: Iterable[str],
) -> dict[str, Any] | None:
    """Judge and book `entry` in one write. None: it cannot fit, whatever is stored.

    `said` is the version of the operator's word under which `limits` hold; another one fails the condition. `gone` are
    reservations that nobody settled: they are moved out of the way in the same write.
    """
    if not fits(entry, limits):
        return None
    update = Update(table, account_key(caller))
    windows = Windows.at(entry.at)
    _require_room(update, entry, limits, windows, len(gone))
    version = update.path(VERSION)
    update.require(f"attribute_not_exists({version})" if said is None else f"{version} = {update.value(said)}")
    for word in (STOPPED, HALTED):
        update.require(f"attribute_not_exists({update.path(word)})")
    for place in (OPEN, DONE):
        update.require(f"attribute_not_exists({update.path(place, entry.id)})")
    _book(update, windows, usd=entry.usd, tokens=entry.tokens, requests=1)
    update.add(update.path(windows.minute), 1)
    update.set(update.path(OPEN, entry.id), entry.fields())
    for expired in gone:
        update.require(f"attribute_exists({update.path(OPEN, expired.id)})")
        _move(update, expired.id, expired)
    _forget(update, purge)
    return update.request()


def create(table: str, caller: str, entry: Reservation, limits: Limits) -> dict[str, Any] | None:
    """Book the first request of a caller that has no account yet. None: it cannot fit."""
    if not fits(entry, limits):
        return None
    update = Update(table, account_key(caller))
    update.require(f"attribute_not_exists({update.path('pk')})")
    windows = Windows.at(entry.at)
    _book(update, windows, usd=entry.usd, tokens=entry.tokens, requests=1)
    update.add(update.path(windows.minute), 1)
    update.set(update.path(OPEN), {entry.id: entry.fields()})
    update.set(update.path(DONE), {})
    return update.request()


def settle(
    table: str, caller: str, entry: Reservation, record: UsageRecord, known: Account, now: int
) -> dict[str, Any]:
    """Replace the bound by what the request came to, and its reservation by its record; clear what is out of date."""
    update = Update(table, account_key(caller))
    update.require(f"attribute_exists({update.path(OPEN, entry.id)})")
    windows = Windows.at(entry.at)
    _book(update, windows, usd=record.usd - entry.usd, tokens=record.tokens - entry.tokens, was=entry)
    _move(update, entry.id, record)
    current = set(_names(windows))
    for name in known.stale(now):
        if name not in current:
            update.remove(update.path(name))
    return update.request()


def withdraw(table: str, caller: str, entry: Reservation, stone: UsageRecord) -> dict[str, Any]:
    """Undo a reservation whose admission gave up. `stone` stays in `done` for a while and keeps a late copy out."""
    update = Update(table, account_key(caller))
    update.require(f"attribute_exists({update.path(OPEN, entry.id)})")
    _book(update, Windows.at(entry.at), usd=-entry.usd, tokens=-entry.tokens, requests=-1, was=entry)
    _move(update, entry.id, stone)
    return update.request()


def bar(table: str, caller: str, stone: UsageRecord) -> dict[str, Any]:
    """Keep a reservation out that may still be on its way."""
    update = Update(table, account_key(caller))
    update.require(f"attribute_exists({update.path(DONE)})")
    for place in (OPEN, DONE):
        update.require(f"attribute_not_exists({update.path(place, stone.id)})")
    update.set(update.path(DONE, stone.id), stone.fields())
    return update.request()


def expire(table: str, caller: str, gone: Sequence[UsageRecord]) -> dict[str, Any]:
    """Settle reservations whose process is gone at their upper bounds, and free their slots."""
    update = Update(table, account_key(caller))
    for expired in gone:
        update.require(f"attribute_exists({update.path(OPEN, expired.id)})")
        _move(update, expired.id, expired)
    return update.request()


def refund(table: str, caller: str, ghost: UsageRecord) -> dict[str, Any]:
    """Take back an expired reservation that turned out to be a late copy of a request that has a record already."""
    update = Update(table, account_key(caller))
    update.require(f"{update.path(DONE, ghost.id, 'o')} = {update.value(EXPIRED)}")
    entry = Reservation(id=ghost.id, at=ghost.at, lease=0, usd=ghost.usd, tokens=ghost.tokens)
    _book(update, Windows.at(ghost.at), usd=-ghost.usd, tokens=-ghost.tokens, requests=-1, was=entry)
    update.remove(update.path(DONE, ghost.id))
    return update.request()


def correct(table: str, caller: str, booked: UsageRecord, right: UsageRecord, expires: int) -> dict[str, Any]:
    """Replace the record of a request that was settled at its bound, and what was booked for it, in one transaction.

    For an operator who has the true figures from the log; nothing that a request waits for uses transactions.
    """
    update = Update(table, account_key(caller))
    entry = Reservation(id=booked.id, at=booked.at, lease=0, usd=booked.usd, tokens=booked.tokens)
    delta = {"usd": right.usd - booked.usd, "tokens": right.tokens - booked.tokens}
    _book(update, Windows.at(booked.at), **delta, was=entry)
    update.ensure(update.path(OPEN), {})
    put = record(table, caller, right, expires)
    put |= {
        "ConditionExpression": "#0 = :0",
        "ExpressionAttributeNames": {"#0": "o"},
        "ExpressionAttributeValues": {":0": encode(EXPIRED)},
    }
    changed = {name: value for name, value in update.request().items() if not name.startswith("ReturnValues")}
    del put["ReturnValuesOnConditionCheckFailure"]
    return {"TransactItems": [{"Put": put}, {"Update": changed}]}


def forget(table: str, caller: str, ids: Iterable[str]) -> dict[str, Any]:
    """Remove from `done` what has a record of its own."""
    update = Update(table, account_key(caller))
    update.require(f"attribute_exists({update.path(DONE)})")
    _forget(update, ids)
    return update.request()


def record(table: str, caller: str, entry: UsageRecord, expires: int) -> dict[str, Any]:
    """Write the record of a request, unless it is there. `expires` (epoch seconds) is for the table's time to live."""
    item = {**record_key(caller, entry.id, entry.at), **entry.fields(), "expires": expires}
    return {
        "TableName": table,
        "Item": in_json(item),
        "ConditionExpression": "attribute_not_exists(#0)",
        "ExpressionAttributeNames": {"#0": "pk"},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def refused(table: str, caller: str, windows: Windows, reason: str, expires: int) -> dict[str, Any]:
    """Count a refusal."""
    update = Update(table, refusals_key(caller, windows))
    update.add(update.path(reason), 1)
    update.set(update.path("expires"), expires)
    return update.request()


def listed(table: str, caller: str, subject: str) -> dict[str, Any]:
    """Write down that a caller exists, and as whom policies know it."""
    return {"TableName": table, "Item": in_json({**directory_entry(caller), "subject": subject})}


def expiries(account: Account, now: int) -> list[UsageRecord]:
    """Records of what nobody settled: the upper bound, because it may have cost that much. At most as many as fit
    into one expression of 4 KB (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html)."""
    return [
        UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=EXPIRED, usd=entry.usd,
            tokens=entry.tokens, bound_usd=entry.usd, bound_tokens=entry.tokens, settled=now,
        )
        for entry in account.expired(now)[:AT_ONCE]
    ]  # fmt: skip


def fits(entry: Reservation, limits: Limits) -> bool:
    """Whether there is room for `entry` in an account that is empty."""
    return all(limit is None or need <= limit for limit, need in _budgets(entry, limits))


def _budgets(entry: Reservation, limits: Limits) -> tuple[tuple[int | None, int], ...]:
    return ((limits.tokens_per_day, entry.tokens), (limits.usd_per_day, entry.usd), (limits.usd_per_month, entry.usd))


def _require_room(update: Update, entry: Reservation, limits: Limits, windows: Windows, expired: int) -> None:
    """The limits as conditions: a counter may be at most the limit less what is to be booked."""
    update.require(f"size({update.path(OPEN)}) < {update.value(limits.concurrent + expired)}")
    if limits.requests_per_minute is not None:
        update.require_at_most(update.path(windows.minute), limits.requests_per_minute - 1)
    names = (f"{windows.day}:tok", f"{windows.day}:usd", f"{windows.month}:usd")
    for name, (limit, need) in zip(names, _budgets(entry, limits), strict=True):
        if limit is not None:
            update.require_at_most(update.path(name), limit - need)


_UNITS = ("req", "tok", "usd")


def _names(windows: Windows) -> tuple[str, ...]:
    return tuple([f"{window}:{unit}" for window in (windows.day, windows.month) for unit in _UNITS])


def _book(
    update: Update, windows: Windows, *, usd: int, tokens: int, requests: int = 0, was: Reservation | None = None
) -> None:
    """Add to the day's and the month's counters. `was` is what they hold if they were cleared since: its own part."""
    amounts = (requests, tokens, usd)
    starts = (1, was.tokens, was.usd) if was else (0, 0, 0)
    for name, amount, start in zip(_names(windows), amounts * 2, starts * 2, strict=True):
        if amount:
            update.add(update.path(name), amount, start=start)


def _move(update: Update, id: str, record: UsageRecord) -> None:
    update.remove(update.path(OPEN, id))
    update.set(update.path(DONE, id), record.fields())


def _forget(update: Update, ids: Iterable[str]) -> None:
    for id in ids:
        update.remove(update.path(DONE, id))


# What the operator says. Each word changes `ver`, so that every process has to take notice at its next admission.


def say(table: str, caller: str, fields: Mapping[str, Any], lifted: Iterable[str] = ()) -> dict[str, Any]:
    """Put `fields` into a caller's account, existing or not, and take `lifted` out of it."""
    update = Update(table, account_key(caller))
    update.add(update.path(VERSION), 1)
    update.ensure(update.path(OPEN), {})
    update.ensure(update.path(DONE), {})
    for name, value in fields.items():
        update.set(update.path(name), value)
    for name in lifted:
        update.remove(update.path(name))
    return update.request()
