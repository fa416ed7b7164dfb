"""What remains to be done once a request is over: records, expired reservations, writes whose fate is unknown.

All of it can be done by any process, any number of times; none of it is on a caller's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.aws.errors import ConditionFailedError
from relay.aws.update_expression import decode
from relay.ledger import writes
from relay.ledger.account import EXPIRED, WITHDRAWN, Account, Reservation, UsageRecord, account_of, record_of
from relay.ledger.table import RetryBudget, Table

ABANDONED = 5_000
"""Milliseconds after which a record that is only in `done` was left there by a process that is gone: the process that
settles writes the record within some 10. To be wrong costs a write, because the record is the same."""

KEPT = 60_000
"""How long a withdrawn reservation, and one whose write was in doubt, stay in `done` to keep a late copy of that write
out. A copy that comes even later is found out by its record."""


def current(table: Table, caller: str, failure: ConditionFailedError | None, budget: RetryBudget) -> Account:
    """The account as the store judged it, or, where the store did not say, as it is now."""
    item = failure.item if failure and failure.item else table.read(writes.account_key(caller), budget)
    return account_of(item)


def expire(table: Table, caller: str, account: Account, now: int, budget: RetryBudget) -> Account:
    """Settle what nobody settled, at its upper bound."""
    gone = writes.expiries(account, now)
    if not gone:
        return account
    try:
        return table.update(writes.expire(table.name, caller, gone), budget)
    except ConditionFailedError as failure:
        return current(table, caller, failure, budget)


def due(account: Account, own: str, now: int) -> list[UsageRecord]:
    """Records in `done` that are to be written down now: one's own, expired ones, and what others left behind."""
    records = [
        record
        for record in account.done.values()
        if record.id == own or record.outcome == EXPIRED or record.settled + ABANDONED < now
    ]
    return records[: writes.AT_ONCE]


def write_down(table: Table, caller: str, record: UsageRecord, retention: int, budget: RetryBudget) -> None:
    """Give `record` an item of its own. An expired one that has such an item already was a late copy: it is refunded."""
    if record.outcome == WITHDRAWN:
        return
    try:
        table.put(writes.record(table.name, caller, record, record.at // 1000 + retention), budget)
    except ConditionFailedError as failure:
        if record.outcome != EXPIRED:
            return  # it is there: an answer was lost, or another process was quicker
        item = failure.item or table.read(writes.record_key(caller, record.id, record.at), budget)
        if stored(record.id, item).outcome != EXPIRED:
            _refund(table, caller, record, budget)


def withdraw(table: Table, caller: str, entry: Reservation, now: int, budget: RetryBudget) -> None:
    """Undo a reservation that may or may not have been made, or may still be made by a write that is on its way."""
    stone = UsageRecord(id=entry.id, at=entry.at, outcome=WITHDRAWN, usd=0, tokens=0, settled=now, keep=now + KEPT)
    made = writes.withdraw(table.name, caller, entry, stone)
    for body in (made, writes.bar(table.name, caller, stone), made):
        # The third attempt is for a write that arrived between the first two.
        try:
            table.update(body, budget)
        except ConditionFailedError:
            continue
        return


def stored(id: str, item: Mapping[str, Any] | None) -> UsageRecord:
    """The record in an item of its own."""
    return record_of(id, {name: decode(value) for name, value in (item or {}).items()})


def _refund(table: Table, caller: str, ghost: UsageRecord, budget: RetryBudget) -> None:
    try:
        table.update(writes.refund(table.name, caller, ghost), budget)
    except ConditionFailedError:
        return  # another process was quicker
