"""The conditional writes of one caller's account: each a whole request body for DynamoDB. Pure.

Why one item and no transaction: docs/decisions/0030. Conditions compare what is stored with a figure computed here,
because DynamoDB's grammar has no arithmetic in conditions. Each write can be repeated: its condition recognises what
it has already done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from relay.accounts.account import (
    DONE,
    EXPIRED,
    HALTED,
    OPEN,
    REASON_LENGTH,
    STOPPED,
    SUBJECT_LENGTH,
    VERSION,
    Account,
    Reservation,
    UsageRecord,
    stored_text,
)
from relay.accounts.limit_kinds import Limits, Windows
from relay.aws.update_expression import Body, Update, encode
from relay.ledger.counters import Corrections, book, require_room
from relay.ledger.items import account_key, directory_key, in_json, record_key, refusals_attribute, refusals_key

AT_ONCE = 25
"""Entries that one write moves or removes: as many as fit into one expression of 4 KB.
Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""


class Writes:
    """The request bodies for one caller's items in one table."""

    def __init__(self, table: str, caller: str) -> None:
        self._table = table
        self._caller = caller

    def reserve(
        self,
        entry: Reservation,
        limits: Limits,
        version: int | None,
        expired: Sequence[UsageRecord],
        written: Iterable[str],
    ) -> Body:
        """Judges and books `entry` in one write, in an account that exists.

        `version` is that of the overrides under which `limits` hold; another one fails the condition. `expired` are
        reservations that nobody settled: they are moved out of the way in the same write. `written` are ids in `done`
        that have a record of their own.
        """
        update = self._update()
        windows = Windows.at(entry.at)
        require_room(update, entry, limits, windows, len(expired))
        path = update.path(VERSION)
        update.require(f"attribute_not_exists({path})" if version is None else f"{path} = {update.value(version)}")
        for name in (STOPPED, HALTED):
            update.require(f"attribute_not_exists({update.path(name)})")
        _require_absent(update, entry.id)
        book(update, entry, windows)
        update.set(update.path(OPEN, entry.id), entry.fields())
        for record in expired:
            _settle_open(update, record)
        for id in written:
            update.remove(update.path(DONE, id))
        return update.request()

    def create(self, entry: Reservation) -> Body:
        """Books the first request of a caller that has no account yet, once `counters.fits` has judged it."""
        update = self._update()
        update.require(f"attribute_not_exists({update.path('pk')})")
        book(update, entry, Windows.at(entry.at))
        update.set(update.path(OPEN), {entry.id: entry.fields()})
        update.set(update.path(DONE), {})
        return update.request()

    def settle(self, entry: Reservation, record: UsageRecord, known: Account, now: int) -> Body:
        """Replaces the bound by what the request came to, and its reservation by its record; clears stale counters."""
        update = self._update()
        _settle_open(update, record)
        booked = Corrections()
        booked.replace(entry, usd=record.usd, tokens=record.tokens)
        booked.apply(update)
        for name in known.stale(now):
            if name not in booked.names:
                update.remove(update.path(name))
        return update.request()

    def void(
        self,
        booked: Sequence[Reservation],
        expired: Sequence[UsageRecord],
        tombstones: Sequence[UsageRecord],
        past: Iterable[str] = (),
    ) -> Body:
        """Takes back reservations that were never sent, and keeps late copies of their writes out.

        `booked` are in `open`, `expired` in `done` at their bounds, of the other `tombstones` there is no trace. A
        tombstone stays in `done` for a while; `past` are ids of those that may go.
        """
        update = self._update()
        corrections, present = Corrections(), {entry.id for entry in booked} | {record.id for record in expired}
        for entry in booked:
            update.require(f"attribute_exists({update.path(OPEN, entry.id)})")
            update.remove(update.path(OPEN, entry.id))
            corrections.take_back(entry)
        kept = {tombstone.id for tombstone in tombstones}
        for record in expired:
            update.require(f"{update.path(DONE, record.id, 'o')} = {update.value(EXPIRED)}")
            corrections.take_back(record.reservation)
            if record.id not in kept:
                update.remove(update.path(DONE, record.id))
        corrections.apply(update)
        update.require(f"attribute_exists({update.path(DONE)})")
        for tombstone in tombstones:
            if tombstone.id not in present:
                _require_absent(update, tombstone.id)
            update.set(update.path(DONE, tombstone.id), tombstone.fields())
        for id in past:
            update.remove(update.path(DONE, id))
        return update.request()

    def expire(self, expired: Sequence[UsageRecord]) -> Body:
        """Settles reservations whose process is gone at their upper bounds, and frees their slots."""
        update = self._update()
        for record in expired:
            _settle_open(update, record)
        return update.request()

    def refund(self, duplicate: UsageRecord) -> Body:
        """Takes back an expired reservation that was a late copy of a request that has a record already."""
        update = self._update()
        update.require(f"{update.path(DONE, duplicate.id, 'o')} = {update.value(EXPIRED)}")
        corrections = Corrections()
        corrections.take_back(duplicate.reservation)
        corrections.apply(update)
        update.remove(update.path(DONE, duplicate.id))
        return update.request()

    def correct(self, booked: UsageRecord, right: UsageRecord, expires: int) -> Body:
        """Replaces the record of a request that was settled at its bound, and what was booked for it, in one
        transaction. For an operator who has the true figures; nothing that a request waits for uses transactions."""
        update = self._update()
        corrections = Corrections()
        corrections.replace(booked.reservation, usd=right.usd, tokens=right.tokens)
        corrections.apply(update)
        update.ensure(update.path(OPEN), {})
        put = self.record(right, expires)
        put |= {
            "ConditionExpression": "#0 = :0",
            "ExpressionAttributeNames": {"#0": "o"},
            "ExpressionAttributeValues": {":0": encode(EXPIRED)},
        }
        changed = {name: value for name, value in update.request().items() if not name.startswith("ReturnValues")}
        del put["ReturnValuesOnConditionCheckFailure"]
        return {"TransactItems": [{"Put": put}, {"Update": changed}]}

    def forget(self, ids: Iterable[str]) -> Body:
        """Removes from `done` what has a record of its own."""
        update = self._update()
        update.require(f"attribute_exists({update.path(DONE)})")
        for id in ids:
            update.remove(update.path(DONE, id))
        return update.request()

    def record(self, record: UsageRecord, expires: int) -> Body:
        """Writes a request's record, unless it is there. `expires` (epoch seconds) is for the table's time to live."""
        item = {**record_key(self._caller, record.id, record.at), **record.fields(), "expires": expires}
        return {
            "TableName": self._table,
            "Item": in_json(item),
            "ConditionExpression": "attribute_not_exists(#0)",
            "ExpressionAttributeNames": {"#0": "pk"},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def refusal(self, windows: Windows, reason: str, model: str, expires: int) -> Body:
        """Counts a refusal. `reason` is from a fixed set, `model` from the operator's lists; see items.refusals_key."""
        update = Update(self._table, refusals_key(self._caller, windows, reason))
        update.add(update.path(refusals_attribute(model)), 1)
        update.set(update.path("expires"), expires)
        return update.request()

    def listing(self, subject: str) -> Body:
        """Writes down that the caller exists, and as whom policies know it."""
        item = {**directory_key(self._caller), "subject": stored_text(subject, SUBJECT_LENGTH)}
        return {"TableName": self._table, "Item": in_json(item)}

    def set_overrides(self, fields: Mapping[str, str | int], lifted: Iterable[str] = ()) -> Body:
        """Puts an operator's `fields` ("stop", "halt", "over:...") into the account, existing or not, and takes `lifted`
        out. The version changes, so that every process has to take notice at its next admission."""
        update = self._update()
        update.add(update.path(VERSION), 1)
        update.ensure(update.path(OPEN), {})
        update.ensure(update.path(DONE), {})
        for name, value in fields.items():
            update.set(update.path(name), stored_text(value, REASON_LENGTH) if isinstance(value, str) else value)
        for name in lifted:
            update.remove(update.path(name))
        return update.request()

    def _update(self) -> Update:
        return Update(self._table, account_key(self._caller))


def _require_absent(update: Update, id: str) -> None:
    for place in (OPEN, DONE):
        update.require(f"attribute_not_exists({update.path(place, id)})")


def _settle_open(update: Update, record: UsageRecord) -> None:
    """Moves an open reservation to `done`, as `record`."""
    path = update.path(OPEN, record.id)
    update.require(f"attribute_exists({path})")
    update.remove(path)
    update.set(update.path(DONE, record.id), record.fields())
