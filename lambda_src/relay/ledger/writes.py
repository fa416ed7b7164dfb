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
        if version is None:
            update.require_absent(VERSION)
        else:
            update.require_equal(VERSION, version)
        update.require_absent(STOPPED, HALTED, (OPEN, entry.id), (DONE, entry.id))
        book(update, entry, windows)
        update.set((OPEN, entry.id), entry.fields())
        for record in expired:
            settle_open(update, record)
        update.remove(*((DONE, id) for id in written))
        return update.request()

    def create(self, entry: Reservation) -> Body:
        """Books the first request in an account that is not there yet, once `counters.fits` has judged it."""
        update = self._update()
        update.require_absent("pk")
        book(update, entry, Windows.at(entry.at))
        update.set(OPEN, {entry.id: entry.fields()})
        update.set(DONE, {})
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
            update.require_equal((DONE, record.id, "o"), EXPIRED)
            corrections.take_back(record.reservation)
            if record.id not in kept:
                update.remove((DONE, record.id))
        corrections.apply(update)
        update.require_present(DONE)
        for tombstone in tombstones:
            if tombstone.id not in present:
                update.require_absent((OPEN, tombstone.id), (DONE, tombstone.id))
            update.set((DONE, tombstone.id), tombstone.fields())
        update.remove(*((DONE, id) for id in past))
        return update.request()

    def expire(self, expired: Sequence[UsageRecord]) -> Body:
        """Settles reservations whose process is gone at their upper bounds, and frees their slots."""
        update = self._update()
        for record in expired:
            settle_open(update, record)
        return update.request()

    def refund(self, expired: UsageRecord, right: UsageRecord | None = None) -> Body:
        """Takes back an expired reservation: a late copy of a request that has a record already, or, in a group's account,
        one that its caller took back. Or books there what its caller's record says it came to (`right`)."""
        update = self._update()
        update.require_equal((DONE, expired.id, "o"), EXPIRED)
        corrections = Corrections()
        if right is None:
            corrections.take_back(expired.reservation)
        else:
            corrections.replace(expired.reservation, usd=right.usd, tokens=right.tokens)
        corrections.apply(update)
        update.remove((DONE, expired.id))
        return update.request()

    def forget(self, ids: Iterable[str]) -> Body:
        """Removes from `done` what has a record of its own."""
        update = self._update()
        update.require_present(DONE)
        update.remove(*((DONE, id) for id in ids))
        return update.request()

    def listing(self, subject: str) -> Body:
        """Writes down that the account exists, and as whom policies know it."""
        item = {**self._directory, "subject": stored_text(subject, SUBJECT_LENGTH)}
        return {"TableName": self._table, "Item": in_json(item)}

    def warn(self, limit: str, window: str, token: str) -> Body:
        """Notes who warns of a limit in a window, as `token` ("d:2026-11-23 ID"): one does, the others fail the condition."""
        update = self._update()
        update.require_before(f"{WARNED}{limit}", window)
        update.set(f"{WARNED}{limit}", token)
        return update.request()

    def set_overrides(self, fields: Mapping[str, str | int], lifted: Iterable[str] = ()) -> Body:
        """Puts an operator's `fields` ("stop", "halt", "over:...") into the account, existing or not, and takes `lifted`
        out. The version changes, so that every process has to take notice at its next admission."""
        update = self._update()
        update.add({VERSION: 1})
        update.ensure(OPEN, {})
        update.ensure(DONE, {})
        for name, value in fields.items():
            update.set(name, stored_text(value, REASON_LENGTH) if isinstance(value, str) else value)
        update.remove(*lifted)
        return update.request()

    def _update(self) -> Update:
        return Update(self._table, self._account)


def remove_open(update: Update, id: str) -> None:
    update.require_present((OPEN, id))
    update.remove((OPEN, id))


def settle_open(update: Update, record: UsageRecord) -> None:
    """Moves an open reservation to `done`, as `record`."""
    remove_open(update, record.id)
    update.set((DONE, record.id), record.fields())
