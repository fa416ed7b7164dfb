"""The conditional writes of one account, a caller's or a group's: each a whole request body for DynamoDB. Pure.

Why one item and no transaction: docs/decisions/0030. Conditions compare what is stored with a figure computed here,
because DynamoDB's grammar has no arithmetic in conditions. Each write can be repeated: its condition recognises what
it has already done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from relay.accounts.account import (
    DONE,
    EXPIRED,
    OPEN,
    REASON_LENGTH,
    SUBJECT_LENGTH,
    WARNED,
    Reservation,
    UsageRecord,
    stored_text,
)
from relay.accounts.limit_kinds import Limits, Windows
from relay.accounts.overrides import HALTED, STOPPED, VERSION
from relay.aws.update_expression import Body, Update
from relay.ledger.counters import Corrections, book, require_room
from relay.ledger.items import Key, in_json

AT_ONCE = 25
"""Entries that one write moves or removes: as many as fit into one expression of 4 KB.
Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""


class Writes:
    """The request bodies for one account in one table, whoever's it is: `account` and `directory` are its items' keys."""

    def __init__(self, table: str, account: Key, directory: Key) -> None:
        self._table = table
        self._account = account
        self._directory = directory

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
        require_absent(update, entry.id)
        book(update, entry, windows)
        update.set(update.path(OPEN, entry.id), entry.fields())
        for record in expired:
            settle_open(update, record)
        for id in written:
            update.remove(update.path(DONE, id))
        return update.request()

    def create(self, entry: Reservation) -> Body:
        """Books the first request in an account that is not there yet, once `counters.fits` has judged it."""
        update = self._update()
        update.require(f"attribute_not_exists({update.path('pk')})")
        book(update, entry, Windows.at(entry.at))
        update.set(update.path(OPEN), {entry.id: entry.fields()})
        update.set(update.path(DONE), {})
        return update.request()

    def withdraw(self, entry: Reservation) -> Body:
        """Takes back a reservation of which no copy is on its way."""
        update = self._update()
        remove_open(update, entry.id)
        corrections = Corrections()
        corrections.take_back(entry)
        corrections.apply(update)
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
            remove_open(update, entry.id)
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
                require_absent(update, tombstone.id)
            update.set(update.path(DONE, tombstone.id), tombstone.fields())
        for id in past:
            update.remove(update.path(DONE, id))
        return update.request()

    def expire(self, expired: Sequence[UsageRecord]) -> Body:
        """Settles reservations whose process is gone at their upper bounds, and frees their slots."""
        update = self._update()
        for record in expired:
            settle_open(update, record)
        return update.request()

    def refund(self, expired: UsageRecord, right: UsageRecord | None = None) -> Body:
        """Takes back an expired reservation that was a late copy of a request that has a record already, or, in a group's
        account, books what the record of its caller says it came to (`right`)."""
        update = self._update()
        update.require(f"{update.path(DONE, expired.id, 'o')} = {update.value(EXPIRED)}")
        corrections = Corrections()
        if right is None:
            corrections.take_back(expired.reservation)
        else:
            corrections.replace(expired.reservation, usd=right.usd, tokens=right.tokens)
        corrections.apply(update)
        update.remove(update.path(DONE, expired.id))
        return update.request()

    def forget(self, ids: Iterable[str]) -> Body:
        """Removes from `done` what has a record of its own."""
        update = self._update()
        update.require(f"attribute_exists({update.path(DONE)})")
        for id in ids:
            update.remove(update.path(DONE, id))
        return update.request()

    def listing(self, subject: str) -> Body:
        """Writes down that the account exists, and as whom policies know it."""
        item = {**self._directory, "subject": stored_text(subject, SUBJECT_LENGTH)}
        return {"TableName": self._table, "Item": in_json(item)}

    def warn(self, limit: str, window: str, token: str) -> Body:
        """Notes who warns of a limit in a window, as `token` ("d:2026-11-23 ID"): one does, the others fail the condition."""
        update = self._update()
        path = update.path(f"{WARNED}{limit}")
        update.require(f"attribute_not_exists({path}) OR {path} < {update.value(window)}")
        update.set(path, token)
        return update.request()

    def set_overrides(self, fields: Mapping[str, str | int], lifted: Iterable[str] = ()) -> Body:
        """Puts an operator's `fields` ("stop", "halt", "over:...") into the account, existing or not, and takes `lifted`
        out. The version changes, so that every process has to take notice at its next admission."""
        update = self._update()
        update.add({VERSION: 1})
        update.ensure(update.path(OPEN), {})
        update.ensure(update.path(DONE), {})
        for name, value in fields.items():
            update.set(update.path(name), stored_text(value, REASON_LENGTH) if isinstance(value, str) else value)
        for name in lifted:
            update.remove(update.path(name))
        return update.request()

    def _update(self) -> Update:
        return Update(self._table, self._account)


def require_absent(update: Update, id: str) -> None:
    for place in (OPEN, DONE):
        update.require(f"attribute_not_exists({update.path(place, id)})")


def remove_open(update: Update, id: str) -> None:
    path = update.path(OPEN, id)
    update.require(f"attribute_exists({path})")
    update.remove(path)


def settle_open(update: Update, record: UsageRecord) -> None:
    """Moves an open reservation to `done`, as `record`."""
    remove_open(update, record.id)
    update.set(update.path(DONE, record.id), record.fields())
