"""What a list says of one model, in the words of the relay's list: prices by tier, sizes, the day on which it ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

# The price that counts where a rate has none of its own.
WHOLE = {
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_12h": "cache_write",
    "audio_input": "input",
    "image_input": "input",
    "audio_output": "output",
    "image_output": "output",
}
RATES = ("input", *WHOLE, "output", "character", "second", "request")
DEFAULT = "default"

Rates = Mapping[str, Fraction]


class ListError(Exception):
    """A list that cannot be had or read. The text is one line that says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of a list. Prices are in US dollars: for a million tokens or characters, for one second, one request.

    `long_tiers` are the prices of prompts of more than `long_above` tokens; a list that says nothing of them has none.
    `unread` are fields of the list that look like prices and are not known here.
    """

    tiers: Mapping[str, Rates]
    long_tiers: Mapping[str, Rates] = field(default_factory=dict)
    long_above: int | None = None
    context: int | None = None
    max_output: int | None = None
    shutdown: date | None = None
    served: bool = True
    unread: frozenset[str] = frozenset()

    def price(self, tier: str, rate: str, *, long: bool) -> Fraction | None:
        """The price of `rate` in `tier`, where it has none of its own that of its whole; None for no such tier."""
        rates = (self.long_tiers if long else self.tiers).get(tier)
        while rates is not None and rate not in rates and rate in WHOLE:
            rate = WHOLE[rate]
        return None if rates is None else rates.get(rate)


Models = Mapping[str, Model]


def day(text: object) -> date | None:
    """The day in `text` ("2027-01-14"); None for anything else."""
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
