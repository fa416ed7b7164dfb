"""The table as an operator sees it: callers, what they used, what is open, and the operator's own word.

Reads are consistent. What is said to a caller holds at that caller's next admission, because it lies in the very item
that each admission writes (docs/decisions/0031).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from relay.aws.update_expression import decode
from relay.ledger import writes
from relay.ledger.account import EXPIRED, HALTED, STOPPED, Account, UsageRecord, Windows, account_of, record_of
from relay.ledger.ledger import Admitted, Ledger
from relay.ledger.recovery import stored
from relay.ledger.table import Table
from relay.limits.policy import Limits

from operate.dynamodb import Boto3Store, OperatorError

FIRST, LAST = "0", "\uffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A caller that is written down: its key ("123456789012/AROAEXAMPLE") and its name for policies and people."""

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
        """The day in which `now` lies."""
        first = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(name=f"{first:%Y-%m-%d}", start=_milliseconds(first), end=_milliseconds(first + timedelta(days=1)))

    @classmethod
    def month(cls, now: int) -> Period:
        """The month in which `now` lies."""
        today = datetime.fromtimestamp(now / 1000, UTC)
        first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return cls(name=f"{first:%Y-%m}", start=_milliseconds(first), end=_milliseconds(following))


def _milliseconds(date: datetime) -> int:
    return int(date.timestamp()) * 1000


class Book:
    """One environment's table. `clock` gives epoch milliseconds."""

    def __init__(self, store: Boto3Store, *, table: str, clock: Callable[[], int]) -> None:
        self._store = store
        self._name = table
        self._table = Table(store, name=table, monotonic=time.monotonic, sleep=time.sleep)
        self.clock = clock
        self.ledger = Ledger(self._table, clock=clock)

    def callers(self, pattern: str = "*") -> list[Known]:
        """Everybody who was ever admitted or spoken of, whose key or name is, or matches, `pattern`."""
        items = (_plain(item) for item in self._store.query(self._name, "callers", FIRST, LAST))
        known = [Known(key=item["sk"], subject=item["subject"]) for item in items]
        return [one for one in known if pattern == one.key or fnmatchcase(one.subject, pattern)]

    def account(self, caller: Known) -> Account:
        """What is booked and held now."""
        return account_of(self._read(writes.account_key(caller.key)))

    def records(self, caller: Known, period: Period) -> Iterator[UsageRecord]:
        """Records of requests admitted in `period`, oldest first, and those that are settled but not yet moved out."""
        seen = set()
        low, high = f"{period.start:013d}", f"{period.end:013d}"
        for item in self._store.query(self._name, f"usage#{caller.key}", low, high):
            record = stored(_plain(item)["sk"].partition("#")[2], item)
            seen.add(record.id)
            yield record
        for record in self.account(caller).done.values():
            if record.id not in seen and period.start <= record.at < period.end and record.outcome != "withdrawn":
                yield record

    def refusals(self, caller: Known, period: Period) -> dict[str, int]:
        """How often what was refused in `period`, by "REASON MODEL"."""
        low, high = (
            datetime.fromtimestamp(at / 1000, UTC).strftime("refused#%Y-%m-%d") for at in (period.start, period.end)
        )
        counts: dict[str, int] = {}
        for item in self._store.query(self._name, f"usage#{caller.key}", low, high):
            fields = _plain(item)
            if fields["sk"] < high:
                for name, value in fields.items():
                    if name not in ("pk", "sk", "expires"):
                        counts[name] = counts.get(name, 0) + value
        return counts

    def say(self, caller: Known, fields: Mapping[str, Any], lifted: tuple[str, ...] = ()) -> None:
        """Put the operator's word into a caller's account, whether or not it was ever here."""
        if not self._read(writes.directory_entry(caller.key)):
            self._put({**writes.directory_entry(caller.key), "subject": caller.subject})
        halted = self.halted()
        fields = {**fields, **({HALTED: halted} if halted is not None and HALTED not in lifted else {})}
        self._store.call("UpdateItem", writes.say(self._name, caller.key, fields, lifted))

    def stop(self, caller: Known, reason: str) -> None:
        """Refuse everything that `caller` asks, from its next request on."""
        self.say(caller, {STOPPED: reason})

    def start(self, caller: Known) -> None:
        """Take `stop` back."""
        self.say(caller, {}, (STOPPED,))

    def override(self, caller: Known, limits: Mapping[str, int]) -> None:
        """Let other limits hold for `caller` for the rest of the UTC day."""
        old = tuple(f"over:{name}" for name in self.account(caller).overrides.limits if name not in limits)
        day = Windows.at(self.clock()).day
        self.say(caller, {"over:day": day, **{f"over:{name}": value for name, value in limits.items()}}, old)

    def lift(self, caller: Known) -> None:
        """Let the configured limits hold again."""
        limits = self.account(caller).overrides.limits
        self.say(caller, {}, ("over:day", *(f"over:{name}" for name in limits)))

    def replay(self, line: Mapping[str, Any]) -> str:
        """Book what a `settle_failed` line of the relay's log says. Says what became of it; a second time does nothing."""
        caller = Known(key=line["caller"], subject=line["caller"])
        right = record_of(line["record"]["id"], line["record"]).changed(settled=self.clock(), keep=0)
        self.ledger.sweep(caller.key)
        account = self.account(caller)
        if right.id in account.open:
            entry = account.open[right.id]
            held = Admitted(entry=entry, account=account, limits=Limits(), doubt=False)
            self.ledger.settle(caller.key, held, right)
            return "settled"
        item = self._read(writes.record_key(caller.key, right.id, right.at))
        if not item:
            return "not found"
        booked = stored(right.id, item)
        if booked.outcome != EXPIRED:
            return "booked already"
        expires = int(decode(item["expires"]))
        self._store.call("TransactWriteItems", writes.correct(self._name, caller.key, booked, right, expires))
        return "corrected"

    def halted(self) -> str | None:
        """Why everything is stopped, or None."""
        item = self._read(writes.SWITCH)
        return str(decode(item[HALTED])) if item and HALTED in item else None

    def halt(self, reason: str) -> Iterator[Known]:
        """Stop everything: first the switch, which newcomers look at, then everybody who is written down. Yields each
        caller as it is stopped; when it ends, nobody is admitted any more."""
        self._put({**writes.SWITCH, HALTED: reason})
        for caller in self.callers():
            self._store.call("UpdateItem", writes.say(self._name, caller.key, {HALTED: reason}))
            yield caller

    def resume(self) -> Iterator[Known]:
        """Take `halt` back."""
        self._put(dict(writes.SWITCH))
        for caller in self.callers():
            self._store.call("UpdateItem", writes.say(self._name, caller.key, {}, (HALTED,)))
            yield caller

    def one(self, name: str) -> Known:
        """The caller of that key or name; a key that is not written down yet is taken as it is."""
        found = self.callers(name)
        if len(found) == 1:
            return found[0]
        if not found and "/" in name and ":" not in name:
            return Known(key=name, subject=name)
        names = ", ".join(f"{each.subject} ({each.key})" for each in found[:5])
        raise OperatorError(
            f"{name!r} is {len(found)} callers: {names}" if found else f"no caller is, or matches, {name!r}"
        )

    def _read(self, key: Mapping[str, str]) -> Mapping[str, Any] | None:
        body = {"TableName": self._name, "Key": writes.in_json(key), "ConsistentRead": True}
        item: Mapping[str, Any] | None = self._store.call("GetItem", body).get("Item")
        return item

    def _put(self, item: Mapping[str, Any]) -> None:
        self._store.call("PutItem", {"TableName": self._name, "Item": writes.in_json(item)})


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decode(value) for name, value in item.items()}
