"""What is left to do in an account: what expired, what was settled and not moved on, what is in doubt. Pure."""

from __future__ import annotations

from relay.accounts.account import EXPIRED, VOIDED, Account, Reservation, UsageRecord
from relay.aws.update_expression import Body
from relay.ledger.writes import AT_ONCE, Writes

ABANDONED = 5_000
"""Milliseconds after which a record that is only in `done` was left there by a process that is gone: the process that
settles writes the record within some 10. To be wrong costs a write, because the record is the same."""

KEPT = 60_000
"""Milliseconds that a voided reservation, and one whose write was in doubt, stay in `done` to keep a late copy of that
write out. A copy that comes even later is found out by its record."""


def due(account: Account, own: str, now: int) -> list[UsageRecord]:
    """Records in `done` that are to be written down now: one's own first, expired ones, what others left behind."""
    records = [
        record
        for record in account.done.values()
        if record.id == own or record.outcome == EXPIRED or record.settled + ABANDONED < now
    ]
    return sorted(records, key=lambda record: record.id != own)[:AT_ONCE]


def expiries(account: Account, now: int) -> list[UsageRecord]:
    """Records of what nobody settled: the upper bound, because it may have cost that much."""
    return [
        UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=EXPIRED, usd=entry.usd,
            tokens=entry.tokens, bound_usd=entry.usd, bound_tokens=entry.tokens, settled=now, group=entry.group,
            labels=entry.labels, caller=entry.caller,
        )
        for entry in account.expired(now)[:AT_ONCE]
    ]  # fmt: skip


def voiding(writes: Writes, batch: list[Reservation], account: Account, now: int) -> Body | None:
    """The write that takes back those of `batch` that are booked, and keeps late copies of the others out; None when nothing
    is left to do."""
    voided = {record.id for record in account.done.values() if record.outcome == VOIDED}
    # A write that is older than KEPT does not arrive any more.
    tombstones = [
        UsageRecord(id=entry.id, at=entry.at, outcome=VOIDED, usd=0, tokens=0, settled=now, keep=now + KEPT)
        for entry in batch
        if entry.at + KEPT >= now and entry.id not in voided
    ]
    booked = [entry for entry in batch if entry.id in account.open]
    done = [account.done[entry.id] for entry in batch if entry.id in account.done]
    expired = [record for record in done if record.outcome == EXPIRED]
    past = [record.id for record in account.done.values() if record.outcome == VOIDED and record.keep < now]
    needed = booked or expired or tombstones
    return writes.void(booked, expired, tombstones, past[:AT_ONCE]) if needed else None
