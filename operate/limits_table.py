"""The table as an operator sees it: callers, what they used, what is open, and what overrides their limits.

Reads are consistent. An override holds at that caller's next admission, because it lies in the very item that each
admission writes (docs/decisions/0031).
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from relay.accounts.account import EXPIRED, VOIDED, Account, Reservation, UsageRecord, account_of
from relay.accounts.limit_kinds import Limits, Windows
from relay.accounts.overrides import HALTED, OVERRIDE, STOPPED
from relay.aws.update_expression import decode
from relay.ledger import items
from relay.ledger.ledger import Admitted, Ledger
from relay.ledger.owner_writes import CallerWrites, GroupWrites
from relay.ledger.table import Table

from operate.aws import OperatorError
from operate.dynamodb import Boto3Store
from operate.failed_settlement import settlement_of
from operate.foreign_text import name as shown_name
from operate.period import Period as Period  # of which records are read

FIRST, LAST = "0", "\uffff"
GROUP = "group:"
"""How a group is named where a caller could be: no caller's name or key begins so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose account it is: a caller's, with its key ("123456789012/AROAEXAMPLE") and its subject ("123456789012:role/ci").

    Of a `group` key and subject are "group:NAME".
    """

    key: str
    subject: str
    group: str = ""

    @classmethod
    def of_group(cls, name: str) -> Caller:
        """Return the owner of a group's account."""
        return cls(key=f"{GROUP}{name}", subject=f"{GROUP}{name}", group=name)


class LimitsTable:
    """One environment's table. `clock` gives epoch milliseconds."""

    def __init__(self, store: Boto3Store, *, table: str, clock: Callable[[], int]) -> None:
        self.store = store
        self.name = table
        self._table = Table(store, name=table, monotonic=time.monotonic, sleep=time.sleep)
        self.clock = clock
        self.ledger = Ledger(self._table, clock=clock)

    def callers(self, pattern: str = "*") -> list[Caller]:
        """Return the callers in the table whose key or subject is `pattern` or whose subject matches it."""
        entries = (_plain(item) for item in self.store.query(self.name, items.DIRECTORY, FIRST, LAST))
        callers = (Caller(key=item["sk"], subject=item["subject"]) for item in entries)
        # A token's subject may hold "[": a name that was copied from a table is that caller.
        return [
            caller
            for caller in callers
            if pattern in (caller.key, caller.subject) or fnmatchcase(caller.subject, pattern)
        ]

    def groups(self, pattern: str = "*") -> list[Caller]:
        """Return the groups in the table whose "group:NAME" matches `pattern`."""
        found = self.store.query(self.name, items.GROUP_DIRECTORY, FIRST, LAST)
        groups = (Caller.of_group(_plain(item)["sk"]) for item in found)
        return [group for group in groups if fnmatchcase(group.subject, pattern)]

    def owners(self, pattern: str = "*") -> list[Caller]:
        """Return the callers and groups that match `pattern`."""
        return [*self.callers(pattern), *self.groups(pattern)]

    def account(self, caller: Caller) -> Account:
        """Return what is booked and held now."""
        key = items.group_account_key(caller.group) if caller.group else items.account_key(caller.key)
        return account_of(self._read(key))

    def sweep(self, caller: Caller) -> None:
        """Settle what is over in an account, whoever left it."""
        if caller.group:
            self.ledger.sweep_group(caller.group)
        else:
            self.ledger.sweep(caller.key)

    def records(self, caller: Caller, period: Period) -> Iterator[UsageRecord]:
        """Yield the records of requests admitted in `period`, oldest first, then those not yet moved out of the account."""
        seen = set()
        low, high = f"{period.start:013d}", f"{period.end:013d}"
        for item in self.store.query(self.name, items.usage_partition(caller.key), low, high):
            record = items.record_in(item["sk"]["S"].partition("#")[2], item)
            seen.add(record.id)
            if record.outcome != VOIDED:
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
        writes = GroupWrites(self.name, caller.group) if caller.group else CallerWrites(self.name, caller.key)
        directory = items.group_directory_key(caller.group) if caller.group else items.directory_key(caller.key)
        if not self._read(directory):
            self.store.call("PutItem", writes.listing(caller.group or caller.subject))
        halted = None if caller.group else self.halted()
        fields = {**fields, **({HALTED: halted} if halted is not None and HALTED not in lifted else {})}
        self.store.call("UpdateItem", writes.set_overrides(fields, lifted))

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
            # Whose it is says the table, not a line that passed through many hands.
            right = right.changed(group=entry.group, labels=entry.labels)
            self.ledger.settle(caller.key, held.changed(group=self._held_by_group(entry)), right)
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
        if booked.group:
            self.ledger.sweep_group(booked.group)
        right = right.changed(group=booked.group, labels=booked.labels)
        self.store.call("TransactWriteItems", CallerWrites(self.name, caller.key).correct(booked, right, expires))
        return "corrected"

    def _held_by_group(self, entry: Reservation) -> Admitted | None:
        """What the account of the request's group still holds of it."""
        if not entry.group:
            return None
        shared = self.account(Caller.of_group(entry.group))
        held = shared.open.get(entry.id)
        return Admitted(entry=held, account=shared, limits=Limits(), in_doubt=False) if held else None

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
        """Return the one caller of that key or name, or the group "group:NAME"; a key or group that is not in the table yet is
        taken as it is."""
        if pattern.startswith(GROUP):
            return self._find_group(pattern)
        callers = self.callers(pattern)
        if len(callers) == 1:
            return callers[0]
        if not callers and "/" in pattern and ":" not in pattern:
            return Caller(key=pattern, subject=pattern)
        if not callers:
            raise OperatorError(f"no caller is, or matches, '{shown_name(pattern)}'")
        names = ", ".join(f"{shown_name(caller.subject)} ({shown_name(caller.key)})" for caller in callers[:5])
        raise OperatorError(f"'{shown_name(pattern)}' is {len(callers)} callers: {names}")

    def _find_group(self, pattern: str) -> Caller:
        groups = self.groups(pattern)
        if len(groups) > 1:
            names = ", ".join(shown_name(group.subject) for group in groups[:5])
            raise OperatorError(f"'{shown_name(pattern)}' is {len(groups)} groups: {names}")
        if not groups and not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,23}", pattern.removeprefix(GROUP)):
            raise OperatorError(f"no group is, or matches, '{shown_name(pattern)}'")
        return groups[0] if groups else Caller.of_group(pattern.removeprefix(GROUP))

    def _read(self, key: Mapping[str, str]) -> Mapping[str, Any] | None:
        body = {"TableName": self.name, "Key": items.in_json(key), "ConsistentRead": True}
        item: Mapping[str, Any] | None = self.store.call("GetItem", body).get("Item")
        return item

    def _put(self, item: Mapping[str, Any]) -> None:
        self.store.call("PutItem", {"TableName": self.name, "Item": items.in_json(item)})


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decode(value) for name, value in item.items()}
