"""What an operator sees: tables of callers, of usage and of what is open. Knows no store."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from relay.ledger.account import Account, UsageRecord, Windows
from relay.limits.decision import dollars
from rich import box
from rich.table import Table

from operate.limits_table import Known, Period

COUNTS = (
    *("input", "cached_input", "cache_write", "audio_input", "image_input"),
    *("output", "reasoning", "audio_output", "image_output"),
)


@dataclass(slots=True)
class Sum:
    """What one caller used of one model."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens: int = 0
    usd: int = 0
    bounds: int = 0
    refused: int = 0

    def add(self, record: UsageRecord) -> None:
        self.requests += 1
        self.tokens_in += record.counts.get("input", 0)
        self.tokens_out += record.counts.get("output", 0)
        self.tokens += record.tokens
        self.usd += record.usd
        self.bounds += not record.counts and record.usd > 0


def sums(records: Iterable[UsageRecord], refusals: Mapping[str, int]) -> dict[str, Sum]:
    """By model."""
    found: dict[str, Sum] = defaultdict(Sum)
    for record in records:
        found[record.model or "-"].add(record)
    for name, count in refusals.items():
        found[name.partition(" ")[2] or "-"].refused += count
    return dict(sorted(found.items()))


def usage(period: Period, rows: Iterable[tuple[Known, dict[str, Sum]]]) -> Table:
    """Requests, tokens, dollars and refusals of each caller and model."""
    table = _table(
        f"Usage {period.name} (UTC)",
        ("caller", "model"),
        ("requests", "tokens\nin", "tokens\nout", "tokens", "USD", "at\nbound", "refused"),
        caption="at bound: answers that did not say what they used",
    )
    total = Sum()
    for caller, models in rows:
        for model, each in models.items():
            table.add_row(caller.subject, model, *_figures(each))
            for name in Sum.__slots__:
                setattr(total, name, getattr(total, name) + getattr(each, name))
    table.add_section()
    table.add_row("all", "", *_figures(total), style="bold")
    return table


def _table(title: str, words: Iterable[str], figures: Iterable[str], caption: str | None = None) -> Table:
    """Words go on in the next line where a terminal is narrow; figures stay whole."""
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in words:
        table.add_column(name, overflow="fold", min_width=7)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _figures(each: Sum) -> list[str]:
    counts = (each.requests, each.tokens_in, each.tokens_out, each.tokens)
    return [*(f"{count:,}" for count in counts), money(each.usd), f"{each.bounds:,}", f"{each.refused:,}"]


def money(amount: int) -> str:
    """Six places: a hundredth of a cent of a cent."""
    whole, _, part = dollars(amount).partition(".")
    return f"{int(whole):,}.{part[:6].ljust(6, '0')}"


def callers(rows: Iterable[tuple[Known, Account]], now: int) -> Table:
    """Each caller with what it used so far and what the operator has said of it."""
    table = _table("Callers", ("caller", "counted under"), ("requests\ntoday", "USD\ntoday", "USD this\nmonth", "open"))
    table.add_column("operator's word", overflow="fold")
    windows = Windows.at(now)
    for caller, account in rows:
        spent = [money(account.count(window, "usd")) for window in (windows.day, windows.month)]
        requests = f"{account.count(windows.day, 'req'):,}"
        table.add_row(caller.subject, caller.key, requests, *spent, str(len(account.open)), _said(account, windows))
    return table


def _said(account: Account, windows: Windows) -> str:
    said, words = account.overrides, []
    if said.halted is not None:
        words.append(f"everything stopped: {said.halted}")
    if said.stopped is not None:
        words.append(f"stopped: {said.stopped}")
    if said.limits and said.day == windows.day:
        words += [
            f"{name} {money(value) if name.startswith('usd') else value} today" for name, value in said.limits.items()
        ]
    return "; ".join(words)


def reservations(rows: Iterable[tuple[Known, Account]], now: int) -> Table:
    """What is admitted and not settled."""
    table = _table(
        "Open reservations",
        ("caller", "request", "model", "endpoint"),
        ("since s", "lease s", "tokens", "USD"),
        caption="a lease that is over: its process is gone; `sweep` settles it",
    )
    for caller, account in rows:
        for entry in sorted(account.open.values(), key=lambda entry: entry.at):
            lease = "over" if entry.lease < now else str((entry.lease - now) // 1000)
            where = (caller.subject, entry.id, entry.model, entry.endpoint)
            table.add_row(*where, str((now - entry.at) // 1000), lease, f"{entry.tokens:,}", money(entry.usd))
    return table


def export(rows: Iterable[tuple[Known, UsageRecord]], file: TextIO) -> int:
    """Every record as a line of CSV; how many there were. Amounts are exact, in US dollars."""
    writer = csv.writer(file)
    head = ("admitted", "caller", "key", "request", "model", "endpoint", "tier", "outcome", "tokens", *COUNTS)
    writer.writerow([*head, "usd", "bound_tokens", "bound_usd"])
    written = 0
    for caller, record in rows:
        at = datetime.fromtimestamp(record.at / 1000, UTC).isoformat(timespec="milliseconds")
        who = (at, caller.subject, caller.key, record.id, record.model, record.endpoint, record.tier, record.outcome)
        counts = [record.counts.get(name, 0) for name in COUNTS]
        bounds = (dollars(record.usd), record.bound_tokens, dollars(record.bound_usd))
        writer.writerow([*who, record.tokens, *counts, *bounds])
        written += 1
    return written
