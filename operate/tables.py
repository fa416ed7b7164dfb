"""What an operator sees: tables of callers and groups, and of open reservations. Knows no store; shows foreign text safely."""

from __future__ import annotations

from collections.abc import Iterable

from relay.accounts.account import Account
from relay.accounts.limit_kinds import Windows
from relay.pricing.money import dollars

from operate.foreign_text import name, prose
from operate.limits_table import Caller
from operate.sheet import FIGURE, WORDS, Sheet


def money(pico_usd: int) -> str:
    """Write an amount in US dollars with six places: "1,234.000000"."""
    whole, _, part = dollars(pico_usd).partition(".")
    return f"{int(whole):,}.{part[:6].ljust(6, '0')}"


def callers(rows: Iterable[tuple[Caller, Account]], now: int) -> Sheet:
    """Show each caller and group with what it used so far and what overrides its limits."""
    windows, lines = Windows.at(now), []
    for caller, account in rows:
        spent = [money(account.count(window, "usd")) for window in (windows.day, windows.month)]
        requests = f"{account.count(windows.day, 'req'):,}"
        who = (name(caller.subject), name(caller.key))
        lines.append((*who, requests, *spent, str(len(account.open)), _overrides(account, windows)))
    figures = ("requests\ntoday", "USD\ntoday", "USD this\nmonth", "open")
    return Sheet(
        title="Callers and groups",
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
