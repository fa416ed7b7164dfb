"""The writes of a caller's account, which keeps a record of each request, and of a group's, which keeps none. Pure.

Each is a whole request body for DynamoDB, and can be repeated as those in `writes` can.
"""

from __future__ import annotations

from relay.accounts.account import DONE, EXPIRED, OPEN, Account, Reservation, UsageRecord
from relay.accounts.limit_kinds import Windows
from relay.aws.update_expression import Body, Update, encode
from relay.ledger.counters import Corrections
from relay.ledger.items import (
    account_key,
    directory_key,
    group_account_key,
    group_directory_key,
    in_json,
    record_key,
    refusals_attribute,
    refusals_key,
)
from relay.ledger.writes import Writes, remove_open, settle_open


class CallerWrites(Writes):
    """The request bodies for one caller's items in one table."""

    def __init__(self, table: str, caller: str) -> None:
        super().__init__(table, account_key(caller), directory_key(caller))
        self._caller = caller

    def settle(self, entry: Reservation, record: UsageRecord, known: Account, now: int) -> Body:
        """Replaces the bound by what the request came to, and its reservation by its record; clears stale counters."""
        update = self._update()
        settle_open(update, record)
        _rebook(update, entry, record, known, now)
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
        update.add({refusals_attribute(model): 1})
        update.set("expires", expires)
        return update.request()

    def replace(self, right: UsageRecord, expires: int) -> Body:
        """Writes `right` in place of the record of a request that was settled at its bound."""
        put = self.record(right, expires)
        put |= {
            "ConditionExpression": "#0 = :0",
            "ExpressionAttributeNames": {"#0": "o"},
            "ExpressionAttributeValues": {":0": encode(EXPIRED)},
        }
        del put["ReturnValuesOnConditionCheckFailure"]
        return put

    def correct(self, booked: UsageRecord, right: UsageRecord, expires: int) -> Body:
        """Replaces the record of a request that was settled at its bound, and what was booked for it, in one
        transaction. For an operator who has the true figures; nothing that a request waits for uses transactions."""
        put = self.replace(right, expires)
        updates = [_corrected(self._update(), booked, right)]
        if booked.group:
            update = Update(self._table, group_account_key(booked.group))
            # What the group's account still holds of it is settled by this record.
            update.require_absent((OPEN, booked.id), (DONE, booked.id))
            updates.append(_corrected(update, booked, right))
        return {"TransactItems": [{"Put": put}, *({"Update": changed} for changed in updates)]}


class GroupWrites(Writes):
    """The request bodies for one group's account in one table."""

    def __init__(self, table: str, group: str) -> None:
        super().__init__(table, group_account_key(group), group_directory_key(group))

    def release(self, entry: Reservation, record: UsageRecord, known: Account, now: int) -> Body:
        """Settles without a record: replaces the bound in the counters and removes the reservation. Where a late copy of
        its write may still come, `record.keep` is set, and it stays in `done` for as long."""
        update = self._update()
        remove_open(update, entry.id)
        if record.keep:
            update.set((DONE, entry.id), record.fields())
        _rebook(update, entry, record, known, now)
        return update.request()


def _rebook(update: Update, entry: Reservation, record: UsageRecord, known: Account, now: int) -> None:
    """Books what the request came to in place of its bound, and clears stale counters."""
    booked = Corrections()
    booked.replace(entry, usd=record.usd, tokens=record.tokens)
    booked.apply(update)
    update.remove(*(name for name in known.stale(now) if name not in booked.names))


def _corrected(update: Update, booked: UsageRecord, right: UsageRecord) -> Body:
    corrections = Corrections()
    corrections.replace(booked.reservation, usd=right.usd, tokens=right.tokens)
    corrections.apply(update)
    update.ensure(OPEN, {})
    return {name: value for name, value in update.request().items() if not name.startswith("ReturnValues")}
