"""What an operator sees of the price list: each model's prices and end, and who uses the models that end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from relay.pricing.money import dollars
from relay.pricing.prices import MILLION, Price, PriceList
from relay.pricing.rates import RATES, WHOLE, Rates

from operate.foreign_text import name
from operate.limits_table import Caller, Period
from operate.sheet import FIGURE, WORDS, Sheet
from operate.tables import money
from operate.usage.sums import Sum

_COLUMNS = ("input", "cached_input", "cache_write", "cache_write_12h", "output")


def models(listed: PriceList, where: str, today: date) -> Sheet:
    """Show the prices of each model, those that end first."""
    order = sorted(listed.models, key=lambda model: (listed.models[model].shutdown or "9", model))
    rows = []
    for model in order:
        price = listed.of(model) or listed.models[model]
        rates = price.tiers["default"]
        other = [each for each in (*RATES, "character", *WHOLE) if each not in _COLUMNS]
        others = ", ".join(f"{each} {_rate(rates, each)}" for each in other if getattr(rates, each))
        tiers = " ".join(sorted(set(price.tiers) - {"default"}))
        rows.append((name(model), *(_rate(rates, each) for each in _COLUMNS), others, tiers, _end(price, today)))
    return Sheet(
        title=f"Prices of {listed.as_of}, in US dollars for a million ({name(where)})",
        columns={
            "model": WORDS,
            **dict.fromkeys(("input", "cached", "written\n30 min", "written\n12 h", "output"), FIGURE),
            **dict.fromkeys(("other", "tiers", "ends"), WORDS),
        },
        rows=rows,
        caption="second: of one second of sound; request: of one request; -: as its whole; long prompts cost more",
    )


def ending(listed: PriceList, period: Period, rows: Iterable[tuple[Caller, dict[str, Sum]]], today: date) -> Sheet:
    """Show who has used models in `period` whose end is announced, those that end first."""
    lines = []
    for caller, by_model in rows:
        for model, used in by_model.items():
            price = listed.of(model)
            if price is not None and price.shutdown and used.requests:
                figures = (f"{used.requests:,}", money(used.usd), _end(price, today))
                lines.append((price.shutdown, (name(caller.subject), name(model), *figures)))
    return Sheet(
        title=f"Callers of models that end, {period.name} (UTC)",
        columns={"caller": WORDS, "model": WORDS, "requests": FIGURE, "USD": FIGURE, "ends": WORDS},
        rows=[line for _, line in sorted(lines)],
    )


def _rate(rates: Rates, field: str) -> str:
    value = getattr(rates, field)
    return "-" if value is None else dollars(value if field in WHOLE else value * MILLION)


def _end(price: Price, today: date) -> str:
    if not price.shutdown:
        return ""
    days = (date.fromisoformat(price.shutdown) - today).days
    return f"{price.shutdown}, in {days} days" if days > 0 else f"{price.shutdown}, ended"
