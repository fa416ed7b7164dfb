"""Usage as a table, as CSV, as JSON and as a plot. Amounts are exact in CSV and JSON; shows foreign text safely."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TextIO

from relay.accounts.account import UsageRecord
from relay.pricing.money import dollars

from operate.foreign_text import cell, name
from operate.limits_table import Caller, Period
from operate.sheet import FIGURE, WORDS, Sheet
from operate.tables import money
from operate.usage.sums import Sum, total

COUNTS = (
    *("input", "cached_input", "cache_write", "audio_input", "image_input"),
    *("output", "reasoning", "audio_output", "image_output"),
)
AMOUNTS = ("billed_usd", "at_bound_usd", "reserved_usd")
_BARS = " ▏▎▍▌▋▊▉█"


def table(period: Period, by: tuple[str, ...], rows: Mapping[tuple[str, ...], Sum], *, with_refusals: bool) -> Sheet:
    """Show requests, tokens, dollars and, where they are known, refusals of each row."""
    figures = (
        "requests",
        "tokens\nin",
        "tokens\nout",
        "tokens",
        "USD\nbilled",
        "USD at\nbound",
        "USD\nreserved",
        "at\nbound",
    )
    columns = {
        **dict.fromkeys(by, WORDS),
        **dict.fromkeys(figures, FIGURE),
        **({"refused": FIGURE} if with_refusals else {}),
    }
    lines = [(*map(name, key), *_figures(used, with_refusals)) for key, used in rows.items()]
    return Sheet(
        title=f"Usage {period.name} (UTC)",
        columns=columns,
        rows=lines,
        total=("all", *[""] * (len(by) - 1), *_figures(total(rows), with_refusals)),
        caption="at bound: responses that did not state their usage; reserved: held by open requests, which may give it back",
    )


def _figures(used: Sum, with_refusals: bool) -> list[str]:
    counts = (used.requests, used.tokens_in, used.tokens_out, used.tokens)
    amounts = (used.billed, used.at_bound, used.reserved)
    refused = [f"{used.refused:,}"] if with_refusals else []
    return [*(f"{count:,}" for count in counts), *map(money, amounts), f"{used.bounds:,}", *refused]


def as_json(period: Period, by: tuple[str, ...], rows: Mapping[tuple[str, ...], Sum], *, with_refusals: bool) -> str:
    """Write the rows and their total as one JSON object. Amounts are strings in US dollars, because numbers are not exact.
    `refused` is null where it is not known."""
    listed = [{"by": dict(zip(by, key, strict=True)), **_exact(used, with_refusals)} for key, used in rows.items()]
    return json.dumps({"period": period.name, "rows": listed, "total": _exact(total(rows), with_refusals)}, indent=2)


def as_csv(by: tuple[str, ...], rows: Mapping[tuple[str, ...], Sum], file: TextIO, *, with_refusals: bool) -> None:
    """Write each row as a line of CSV; `refused` is empty where it is not known."""
    writer = csv.writer(file)
    writer.writerow([*by, *_exact(Sum(), with_refusals)])
    for key, used in rows.items():
        writer.writerow([*map(cell, key), *_exact(used, with_refusals).values()])


def _exact(used: Sum, with_refusals: bool) -> dict[str, int | str | None]:
    amounts = zip(AMOUNTS, (used.billed, used.at_bound, used.reserved), strict=True)
    return {
        "requests": used.requests, "tokens_in": used.tokens_in, "tokens_out": used.tokens_out, "tokens": used.tokens,
        **{title: dollars(amount) for title, amount in amounts}, "requests_at_bound": used.bounds,
        "refused": used.refused if with_refusals else None,
    }  # fmt: skip


def plot(period: Period, rows: Mapping[tuple[str, ...], Sum], width: int) -> str:
    """Draw what was booked on each day of a month, or in each hour of a day, as bars of at most `width` characters a line.

    `rows` are by "day" or by "hour".
    """
    step = timedelta(hours=1) if period.end - period.start == 86_400_000 else timedelta(days=1)
    pattern = "%Y-%m-%d %H" if step < timedelta(days=1) else "%Y-%m-%d"
    at, names = datetime.fromtimestamp(period.start / 1000, UTC), []
    while at.timestamp() * 1000 < period.end:
        names.append(f"{at:{pattern}}")
        at += step
    spent = {key[0]: used.usd for key, used in rows.items()}
    amounts = [money(spent.get(moment, 0)) for moment in names]
    room = max(8, width - len(names[0]) - max(map(len, amounts)) - 3)
    most = max(spent.values(), default=0)
    return "\n".join(
        f"{moment} {amount:>{max(map(len, amounts))}} {_bar(spent.get(moment, 0), most, room)}".rstrip()
        for moment, amount in zip(names, amounts, strict=True)
    )


def _bar(amount: int, most: int, room: int) -> str:
    eighths = amount * room * 8 // most if most else 0
    return "█" * (eighths // 8) + (_BARS[eighths % 8] if eighths % 8 else "▏" if amount and not eighths else "")


def export(rows: Iterable[tuple[Caller, UsageRecord]], file: TextIO) -> int:
    """Write every record as a line of CSV and return their number. Amounts are exact, in US dollars."""
    writer = csv.writer(file)
    head = ("admitted", "caller", "key", "request", "model", "endpoint", "tier", "outcome", "tokens", *COUNTS)
    writer.writerow([*head, "usd", "bound_tokens", "bound_usd", "group", "labels"])
    written = 0
    for caller, record in rows:
        at = datetime.fromtimestamp(record.at / 1000, UTC).isoformat(timespec="milliseconds")
        texts = (caller.subject, caller.key, record.id, record.model, record.endpoint, record.tier, record.outcome)
        counts = [record.counts.get(count, 0) for count in COUNTS]
        bounds = (dollars(record.usd), record.bound_tokens, dollars(record.bound_usd))
        belongs = (cell(record.group), cell(record.labels))
        writer.writerow([at, *(cell(text) for text in texts), record.tokens, *counts, *bounds, *belongs])
        written += 1
    return written
