"""One caller's item in the table: its shape, what it says, and the updates that change it. Pure.

All that admission has to judge is in this one item, so that one conditional write can judge and book at once:

    pk "caller#123456789012/AROAEXAMPLE"  sk "state"
    m:29401234                     requests in that minute
    d:2026-11-23:{req,tok,usd}     booked on that day (UTC): requests, tokens, pico-USD
    M:2026-11:{req,tok,usd}        booked in that month
    open  {request id: reservation}      admitted, upper bound booked, not settled yet
    done  {request id: record}           settled, and not yet known to have a record of its own
    ver, stop, halt, over:...      what the operator said; `ver` changes with each word

Windows carry their name, so the first request of a new minute, day or month is an ordinary one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay.aws.update_expression import decode
from relay.frozen import EMPTY, Frozen
from relay.limits.policy import Limits

OPEN, DONE, VERSION = "open", "done", "ver"
STOPPED, HALTED = "stop", "halt"
EXPIRED, WITHDRAWN = "expired", "withdrawn"
"""Outcomes that the ledger itself gives: nobody settled in time; admission gave up and nothing was sent."""


class Reservation(Frozen):
    """What an admitted request holds. Times are epoch milliseconds; `lease` is when its process is certainly gone."""

    id: str
    at: int
    lease: int
    usd: int
    tokens: int
    model: str = ""
    endpoint: str = ""

    def fields(self) -> dict[str, Any]:
        """As it lies in `open`. Short names: each open request is written again with every admission."""
        return {"a": self.at, "l": self.lease, "u": self.usd, "t": self.tokens, "m": self.model, "e": self.endpoint}


class UsageRecord(Frozen):
    """What remains of a request: what was reserved, what it came to, and how it ended. One for each admitted request."""

    id: str
    at: int
    model: str = ""
    endpoint: str = ""
    outcome: str
    usd: int
    tokens: int
    bound_usd: int = 0
    bound_tokens: int = 0
    settled: int = 0
    keep: int = 0
    tier: str = ""
    counts: Mapping[str, int] = EMPTY

    def fields(self) -> dict[str, Any]:
        """As it lies in `done` and in the table. `keep` is when it may leave `done` (see the ledger)."""
        return {
            "a": self.at, "m": self.model, "e": self.endpoint, "o": self.outcome, "u": self.usd, "t": self.tokens,
            "bu": self.bound_usd, "bt": self.bound_tokens, "s": self.settled, "k": self.keep, "v": self.tier,
            "c": self.counts,
        }  # fmt: skip


def open_of(id: str, fields: Mapping[str, Any]) -> Reservation:
    """The reservation in `open` under `id`."""
    return Reservation(
        id=id, at=fields["a"], lease=fields["l"], usd=fields["u"], tokens=fields["t"], model=fields["m"],
        endpoint=fields["e"],
    )  # fmt: skip


def record_of(id: str, fields: Mapping[str, Any]) -> UsageRecord:
    """The record with these fields, from `done` or from the table."""
    return UsageRecord(
        id=id, at=fields["a"], model=fields["m"], endpoint=fields["e"], outcome=fields["o"], usd=fields["u"],
        tokens=fields["t"], bound_usd=fields["bu"], bound_tokens=fields["bt"], settled=fields["s"], keep=fields["k"],
        tier=fields["v"], counts=fields["c"],
    )  # fmt: skip


class Windows(Frozen):
    """The names of the windows in which a moment lies."""

    minute: str
    day: str
    month: str

    @classmethod
    def at(cls, milliseconds: int) -> Windows:
        """The windows of an epoch time. UTC, so that every process and every operator mean the same day."""
        date = _date(milliseconds)
        return cls(minute=f"m:{milliseconds // 60_000}", day=f"d:{date}", month=f"M:{date[:7]}")


class Overrides(Frozen):
    """What the operator said of one caller. `limits` replace the policy's figures on `day` only."""

    version: int | None = None
    stopped: str | None = None
    halted: str | None = None
    day: str = ""
    limits: Mapping[str, int] = EMPTY

    def over(self, limits: Limits, windows: Windows) -> Limits:
        """The limits that hold now."""
        return limits.changed(**self.limits) if self.limits and self.day == windows.day else limits


class Account(Frozen):
    """What the item says; all of it is nothing when there is no item."""

    exists: bool = False
    counters: Mapping[str, int] = EMPTY
    open: Mapping[str, Reservation] = EMPTY
    done: Mapping[str, UsageRecord] = EMPTY
    overrides: Overrides = Overrides()

    def count(self, window: str, unit: str = "") -> int:
        """What is booked in a window; 0 when nothing is."""
        return self.counters.get(f"{window}:{unit}" if unit else window, 0)

    def expired(self, now: int) -> list[Reservation]:
        """Reservations whose process is gone."""
        return [entry for entry in self.open.values() if entry.lease < now]

    def held(self, now: int) -> tuple[int, int]:
        """Tokens and pico-USD that today's open reservations hold and may yet give back."""
        day = _date(now)
        today = [entry for entry in self.open.values() if _date(entry.at) == day]
        return sum(entry.tokens for entry in today), sum(entry.usd for entry in today)

    def stale(self, now: int) -> list[str]:
        """Names of windows in which nothing will be booked any more: past minutes, days before yesterday, and
        months before the last. A reservation outlives its day by minutes, never by another day."""
        minute, day = now // 60_000, f"d:{_date(now - 86_400_000)}"
        month = f"M:{_date(now - 32 * 86_400_000)[:7]}"
        return [
            name
            for name in self.counters
            if (name.startswith("m:") and int(name[2:]) < minute)
            or (name.startswith("d:") and name[: len(day)] < day)
            or (name.startswith("M:") and name[: len(month)] < month)
        ]


def _date(milliseconds: int) -> str:
    """ "2026-11-23", in UTC. strftime would take five times as long."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:10]


_WINDOWS = frozenset({"m:", "d:", "M:"})


def account_of(item: Mapping[str, Any] | None) -> Account:
    """The account in a DynamoDB item; an empty one when there is no item."""
    if not item:
        return Account()
    fields = {name: decode(value) for name, value in item.items()}
    limits = {name[5:]: value for name, value in fields.items() if name.startswith("over:") and name != "over:day"}
    return Account(
        exists=True,
        counters={name: value for name, value in fields.items() if name[:2] in _WINDOWS},
        open={id: open_of(id, entry) for id, entry in fields.get(OPEN, {}).items()},
        done={id: record_of(id, entry) for id, entry in fields.get(DONE, {}).items()},
        overrides=Overrides(
            version=fields.get(VERSION),
            stopped=fields.get(STOPPED),
            halted=fields.get(HALTED),
            day=fields.get("over:day", ""),
            limits=limits,
        ),
    )
