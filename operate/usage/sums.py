"""Adds up what was used, by whatever the operator asks for. Amounts are pico-USD and exact. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

from relay.accounts.account import Reservation, UsageRecord, labels_in

from operate.aws import OperatorError
from operate.limits_table import Caller, Period

LABEL = "label."
DIMENSIONS = ("caller", "model", "group", "endpoint", "tier", "outcome", "day", "hour")
DEFAULT = ("caller", "model")
NONE = "-"
"""Of a record that has no such thing: no group, no model."""


@dataclass(slots=True)
class Sum:
    """What some requests came to, in pico-USD and tokens.

    `billed` is what OpenAI said it billed; `at_bound` was booked at the upper bound, because nobody said (`bounds` requests);
    `reserved` is what open requests hold and may give back.
    """

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens: int = 0
    billed: int = 0
    at_bound: int = 0
    reserved: int = 0
    bounds: int = 0
    refused: int = 0

    @property
    def usd(self) -> int:
        """What is booked of settled requests."""
        return self.billed + self.at_bound

    def add(self, record: UsageRecord) -> None:
        """Add one request."""
        self.requests += 1
        self.tokens_in += record.counts.get("input", 0)
        self.tokens_out += record.counts.get("output", 0)
        self.tokens += record.tokens
        if not record.counts and record.usd > 0:
            self.bounds += 1
            self.at_bound += record.usd
        else:
            self.billed += record.usd

    def plus(self, other: Sum) -> None:
        """Add another sum."""
        for part in fields(Sum):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one caller used in a period: settled requests, open ones, and refusals by reason and model."""

    caller: Caller
    records: Iterable[UsageRecord]
    open: Iterable[Reservation] = ()
    refusals: Mapping[tuple[str, str], int] = field(default_factory=dict)


def dimensions(text: str | None) -> tuple[str, ...]:
    """Read what `--by` says: names separated by commas. Raises OperatorError."""
    names = tuple(part.strip() for part in text.split(",")) if text else DEFAULT
    for name in names:
        if name not in DIMENSIONS and not (name.startswith(LABEL) and len(name) > len(LABEL)):
            raise OperatorError(
                f"--by is {text}; allowed: {', '.join(DIMENSIONS)} and {LABEL}NAME, separated by commas"
            )
    return names


def has_refusals(by: tuple[str, ...]) -> bool:
    """Return whether rows by `by` can tell of refusals, which are known by caller and model alone."""
    return set(by) <= set(DEFAULT)


def sums(used: Iterable[Used], by: tuple[str, ...]) -> dict[tuple[str, ...], Sum]:
    """Add up by `by`, in the order of the names. Refusals are known by caller and model alone, and have no other row."""
    rows: dict[tuple[str, ...], Sum] = {}
    with_refusals = has_refusals(by)
    for each in used:
        for record in each.records:
            rows.setdefault(_row(each.caller, record, by), Sum()).add(record)
        for entry in each.open:
            rows.setdefault(_row(each.caller, entry, by), Sum()).reserved += entry.usd
        for (_, model), count in each.refusals.items() if with_refusals else ():
            key = tuple(each.caller.subject if name == "caller" else model or NONE for name in by)
            rows.setdefault(key, Sum()).refused += count
    return dict(sorted(rows.items()))


def by_model(records: Iterable[UsageRecord]) -> dict[str, Sum]:
    """Add up one caller's records by model."""
    rows: dict[str, Sum] = {}
    for record in records:
        rows.setdefault(record.model or NONE, Sum()).add(record)
    return dict(sorted(rows.items()))


def total(rows: Mapping[tuple[str, ...], Sum]) -> Sum:
    """Add up all rows."""
    every = Sum()
    for row in rows.values():
        every.plus(row)
    return every


def in_period(entries: Iterable[Reservation], period: Period) -> Iterator[Reservation]:
    """Yield those that were admitted in `period`."""
    return (entry for entry in entries if period.start <= entry.at < period.end)


def _row(caller: Caller, held: UsageRecord | Reservation, by: tuple[str, ...]) -> tuple[str, ...]:
    labels = labels_in(held.labels) if held.labels else {}
    return tuple(_value(name, caller, held, labels) for name in by)


def _value(name: str, caller: Caller, held: UsageRecord | Reservation, labels: Mapping[str, str]) -> str:
    if name.startswith(LABEL):
        return labels.get(name.removeprefix(LABEL), NONE)
    match name:
        case "caller":
            return caller.subject
        case "day":
            return f"{datetime.fromtimestamp(held.at / 1000, UTC):%Y-%m-%d}"
        case "hour":
            return f"{datetime.fromtimestamp(held.at / 1000, UTC):%Y-%m-%d %H}"
    return str(getattr(held, name, "")) or NONE
