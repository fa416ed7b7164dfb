"""What an operator sees: tables of callers, of usage and of open reservations. Knows no store; shows foreign text safely."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from relay.accounts.account import Account, UsageRecord
from relay.accounts.limit_kinds import Windows
from relay.pricing.money import dollars

from operate.foreign_text import cell, name, prose
from operate.limits_table import Caller, Period
from operate.sheet import FIGURE, WORDS, Sheet

COUNTS = (
    *("input", "cached_input", "cache_write", "audio_input", "image_input"),
    *("output", "reasoning", "audio_output", "image_output"),
)


@dataclass(slots=True)
class Sum:
    """What one caller used of one model. `usd` is in pico-USD; `bounds` counts requests settled at their bounds."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens: int = 0
    usd: int = 0
    bounds: int = 0
    refused: int = 0

    def add(self, record: UsageRecord) -> None:
        """Add one request."""
        self.requests += 1
        self.tokens_in += record.counts.get("input", 0)
        self.tokens_out += record.counts.get("output", 0)
        self.tokens += record.tokens
        self.usd += record.usd
        self.bounds += not record.counts and record.usd > 0


def sums(records: Iterable[UsageRecord], refusals: Mapping[tuple[str, str], int]) -> dict[str, Sum]:
    """Add up records and refusals by model."""
    by_model: dict[str, Sum] = defaultdict(Sum)
    for record in records:
        by_model[record.model or "-"].add(record)
    for (_, model), count in refusals.items():
        by_model[model or "-"].refused += count
    return dict(sorted(by_model.items()))


def usage(period: Period, rows: Iterable[tuple[Caller, dict[str, Sum]]]) -> Sheet:
    """Show requests, tokens, dollars and refusals of each caller and model."""
    total, lines = Sum(), []
    for caller, models in rows:
        for model, used in models.items():
            lines.append((name(caller.subject), name(model), *_figures(used)))
            for field in Sum.__slots__:
                setattr(total, field, getattr(total, field) + getattr(used, field))
    figures = ("requests", "tokens\nin", "tokens\nout", "tokens", "USD", "at\nbound", "refused")
    return Sheet(
        title=f"Usage {period.name} (UTC)",
        columns={"caller": WORDS, "model": WORDS, **dict.fromkeys(figures, FIGURE)},
        rows=lines,
        total=("all", "", *_figures(total)),
        caption="at bound: responses that did not state their usage",
    )


def _figures(used: Sum) -> list[str]:
    counts = (used.requests, used.tokens_in, used.tokens_out, used.tokens)
    return [*(f"{count:,}" for count in counts), money(used.usd), f"{used.bounds:,}", f"{used.refused:,}"]


def money(pico_usd: int) -> str:
    """Write an amount in US dollars with six places: "1,234.000000"."""
    whole, _, part = dollars(pico_usd).partition(".")
    return f"{int(whole):,}.{part[:6].ljust(6, '0')}"


def callers(rows: Iterable[tuple[Caller, Account]], now: int) -> Sheet:
    """Show each caller with what it used so far and what overrides its limits."""
    windows, lines = Windows.at(now), []
    for caller, account in rows:
        spent = [money(account.count(window, "usd")) for window in (windows.day, windows.month)]
        requests = f"{account.count(windows.day, 'req'):,}"
        who = (name(caller.subject), name(caller.key))
        lines.append((*who, requests, *spent, str(len(account.open)), _overrides(account, windows)))
    figures = ("requests\ntoday", "USD\ntoday", "USD this\nmonth", "open")
    return Sheet(
        title="Callers",
        columns={"caller": WORDS, "counted under": WORDS, **dict.fromkeys(figures, FIGURE), "overrides": WORDS},
        rows=lines,
    )


def _overrides(account: Account, windows: Windows) -> str:
    overrides, texts = account.overrides, []
    if overrides.halted is not None:
        texts.append(f"everything stopped: {prose(overrides.halted)}")
    if overrides.stopped is not None:
        texts.append(f"stopped: {prose(overrides.stopped)}")
    if overrides.limits and overrides.day == windows.day:
        texts += [
            f"{name(limit)} {money(figure) if limit.startswith('usd') else figure} today"
            for limit, figure in overrides.limits.items()
        ]
    return "; ".join(texts)


def reservations(rows: Iterable[tuple[Caller, Account]], now: int) -> Sheet:
    """Show what is admitted and not settled."""
    lines = []
    for caller, account in rows:
        for entry in sorted(account.open.values(), key=lambda entry: entry.at):
            lease = "over" if entry.lease < now else str((entry.lease - now) // 1000)
            where = [name(text) for text in (caller.subject, entry.id, entry.model, entry.endpoint)]
            lines.append((*where, str((now - entry.at) // 1000), lease, f"{entry.tokens:,}", money(entry.usd)))
    return Sheet(
        title="Open reservations",
        columns={
            **dict.fromkeys(("caller", "request", "model", "endpoint"), WORDS),
            **dict.fromkeys(("since s", "lease s", "tokens", "USD"), FIGURE),
        },
        rows=lines,
        caption="a lease that is over: its process is gone; `sweep` settles it",
    )


def export(rows: Iterable[tuple[Caller, UsageRecord]], file: TextIO) -> int:
    """Write every record as a line of CSV and return their number. Amounts are exact, in US dollars."""
    writer = csv.writer(file)
    head = ("admitted", "caller", "key", "request", "model", "endpoint", "tier", "outcome", "tokens", *COUNTS)
    writer.writerow([*head, "usd", "bound_tokens", "bound_usd"])
    written = 0
    for caller, record in rows:
        at = datetime.fromtimestamp(record.at / 1000, UTC).isoformat(timespec="milliseconds")
        texts = (caller.subject, caller.key, record.id, record.model, record.endpoint, record.tier, record.outcome)
        counts = [record.counts.get(count, 0) for count in COUNTS]
        bounds = (dollars(record.usd), record.bound_tokens, dollars(record.bound_usd))
        writer.writerow([at, *(cell(text) for text in texts), record.tokens, *counts, *bounds])
        written += 1
    return written
