"""The table as an operator sees it: callers, what they used, what is open, and what overrides their limits.

Reads are consistent. An override holds at that caller's next admission, because it lies in the very item that each
admission writes (docs/decisions/0031).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from relay.accounts.account import EXPIRED, VOIDED, Account, UsageRecord, account_of
from relay.accounts.limit_kinds import Limits, Windows
from relay.accounts.overrides import HALTED, OVERRIDE, STOPPED
from relay.aws.update_expression import decode
from relay.ledger import items
from relay.ledger.ledger import Admitted, Ledger
from relay.ledger.owner_writes import CallerWrites
from relay.ledger.table import Table

from operate.aws import OperatorError
from operate.dynamodb import Boto3Store
from operate.failed_settlement import settlement_of
from operate.foreign_text import name as shown_name

FIRST, LAST = "0", "\uffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A caller in the table: its key ("123456789012/AROAEXAMPLE") and its subject ("123456789012:role/ci")."""

    key: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole UTC days, in epoch milliseconds; `end` is not part of it."""

    name: str
    start: int
    end: int

    @classmethod
    def day(cls, now: int) -> Period:
        """Return the UTC day in which `now` (epoch milliseconds) lies."""
        first = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(name=f"{first:%Y-%m-%d}", start=_milliseconds(first), end=_milliseconds(first + timedelta(days=1)))

    @classmethod
    def month(cls, now: int) -> Period:
        """Return the UTC month in which `now` (epoch milliseconds) lies."""
        today = datetime.fromtimestamp(now / 1000, UTC)
        first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return cls(name=f"{first:%Y-%m}", start=_milliseconds(first), end=_milliseconds(following))


def _milliseconds(date: datetime) -> int:
    return int(date.timestamp()) * 1000


class LimitsTable:
    """One environment's table. `clock` gives epoch milliseconds."""

    def __init__(self, store: Boto3Store, *, table: str, clock: Callable[[], int]) -> None:
        self.store = store
        self.name = table
        self._table = Table(store, name=table, monotonic=time.monotonic, sleep=time.sleep)
        self.clock = clock
        self.ledger = Ledger(self._table, clock=clock)

    def callers(self, pattern: str = "*") -> list[Caller]:
        """Return the callers in the table whose key is `pattern` or whose subject matches it."""
        entries = (_plain(item) for item in self.store.query(self.name, items.DIRECTORY, FIRST, LAST))
        callers = (Caller(key=item["sk"], subject=item["subject"]) for item in entries)
        return [caller for caller in callers if pattern == caller.key or fnmatchcase(caller.subject, pattern)]

    def account(self, caller: Caller) -> Account:
        """Return what is booked and held now."""
        return account_of(self._read(items.account_key(caller.key)))

    def records(self, caller: Caller, period: Period) -> Iterator[UsageRecord]:
        """Yield the records of requests admitted in `period`, oldest first, then those not yet moved out of the account."""
        seen = set()
        low, high = f"{period.start:013d}", f"{period.end:013d}"
        for item in self.store.query(self.name, items.usage_partition(caller.key), low, high):
            record = items.record_in(item["sk"]["S"].partition("#")[2], item)
            seen.add(record.id)
            yield record
        for record in self.account(caller).done.values():
            if record.id not in seen and period.start <= record.at < period.end and record.outcome != VOIDED:
                yield record

    def refusals(self, caller: Caller, period: Period) -> dict[tuple[str, str], int]:
        """Return how often requests were refused in `period`, by reason and model."""
        low, high = (items.refusals_prefix(Windows.at(at)) for at in (period.start, period.end))
        counts: Counter[tuple[str, str]] = Counter()
        for item in self.store.query(self.name, items.usage_partition(caller.key), low, high):
            if item["sk"]["S"] < high:
                counts.update(items.refusals_of(item))
        return counts

    def set_override(self, caller: Caller, fields: Mapping[str, str | int], lifted: tuple[str, ...] = ()) -> None:
        """Write `fields` into a caller's account and remove `lifted`, whether or not the caller was ever admitted."""
        if not self._read(items.directory_key(caller.key)):
            self._put({**items.directory_key(caller.key), "subject": caller.subject})
        halted = self.halted()
        fields = {**fields, **({HALTED: halted} if halted is not None and HALTED not in lifted else {})}
        self.store.call("UpdateItem", CallerWrites(self.name, caller.key).set_overrides(fields, lifted))

    def stop(self, caller: Caller, reason: str) -> None:
        """Refuse all of `caller`'s requests from the next one on."""
        self.set_override(caller, {STOPPED: reason})

    def start(self, caller: Caller) -> None:
        """Undo `stop`."""
        self.set_override(caller, {}, (STOPPED,))

    def override(self, caller: Caller, limits: Mapping[str, int]) -> None:
        """Replace limits of `caller` for the rest of the UTC day; amounts are in pico-USD."""
        old = tuple(f"{OVERRIDE}{name}" for name in self.account(caller).overrides.limits if name not in limits)
        day = Windows.at(self.clock()).day
        self.set_override(
            caller, {f"{OVERRIDE}day": day, **{f"{OVERRIDE}{name}": value for name, value in limits.items()}}, old
        )

    def lift(self, caller: Caller) -> None:
        """Undo `override`."""
        limits = self.account(caller).overrides.limits
        self.set_override(caller, {}, (f"{OVERRIDE}day", *(f"{OVERRIDE}{name}" for name in limits)))

    def replay(self, line: Mapping[str, Any]) -> str:
        """Book what a `settle_failed` line of the relay's log says; return the outcome. A second time does nothing.

        Raises UnusableLineError.
        """
        key, right = settlement_of(line)
        caller = Caller(key=key, subject=key)
        right = right.changed(settled=self.clock(), keep=0)
        self.ledger.sweep(caller.key)
        account = self.account(caller)
        if right.id in account.open:
            entry = account.open[right.id]
            held = Admitted(entry=entry, account=account, limits=Limits(), in_doubt=False)
            self.ledger.settle(caller.key, held, right)
            return "settled"
        if right.id in account.done:
            return "booked already"
        item = self._read(items.record_key(caller.key, right.id, right.at))
        if not item:
            return "not found"
        booked = items.record_in(right.id, item)
        if booked.outcome != EXPIRED:
            return "booked already"
        expires = int(decode(item["expires"]))
        self.store.call("TransactWriteItems", CallerWrites(self.name, caller.key).correct(booked, right, expires))
        return "corrected"

    def halted(self) -> str | None:
        """Return why everything is stopped, or None."""
        item = self._read(items.SWITCH)
        return str(decode(item[HALTED])) if item and HALTED in item else None

    def halt(self, reason: str) -> Iterator[Caller]:
        """Stop everything: first the switch, which new callers are checked against, then every caller in the table.

        Yields each caller as it is stopped; when it ends, nobody is admitted any more.
        """
        self._put({**items.SWITCH, HALTED: reason})
        for caller in self.callers():
            self.store.call("UpdateItem", CallerWrites(self.name, caller.key).set_overrides({HALTED: reason}))
            yield caller

    def resume(self) -> Iterator[Caller]:
        """Undo `halt`."""
        self._put(dict(items.SWITCH))
        for caller in self.callers():
            self.store.call("UpdateItem", CallerWrites(self.name, caller.key).set_overrides({}, (HALTED,)))
            yield caller

    def find(self, pattern: str) -> Caller:
        """Return the one caller of that key or name; a key that is not in the table yet is taken as it is."""
        callers = self.callers(pattern)
        if len(callers) == 1:
            return callers[0]
        if not callers and "/" in pattern and ":" not in pattern:
            return Caller(key=pattern, subject=pattern)
        if not callers:
            raise OperatorError(f"no caller is, or matches, '{shown_name(pattern)}'")
        names = ", ".join(f"{shown_name(caller.subject)} ({shown_name(caller.key)})" for caller in callers[:5])
        raise OperatorError(f"'{shown_name(pattern)}' is {len(callers)} callers: {names}")

    def _read(self, key: Mapping[str, str]) -> Mapping[str, Any] | None:
        body = {"TableName": self.name, "Key": items.in_json(key), "ConsistentRead": True}
        item: Mapping[str, Any] | None = self.store.call("GetItem", body).get("Item")
        return item

    def _put(self, item: Mapping[str, Any]) -> None:
        self.store.call("PutItem", {"TableName": self.name, "Item": items.in_json(item)})


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decode(value) for name, value in item.items()}
