"""What one token, character, second or request costs, in pico-USD. Pure. Every rounding goes up."""

from __future__ import annotations

from collections.abc import Iterable

from relay.frozen import Frozen
from relay.models import Usage

INPUT_RATES = ("input", "cached_input", "cache_write", "cache_write_12h", "audio_input", "image_input")
OUTPUT_RATES = ("output", "audio_output", "image_output")
RATES = (*INPUT_RATES, *OUTPUT_RATES)
# Prices of a whole: one second of sound, one request. All others are for a million.
WHOLE = ("second", "request")


class Rates(Frozen):
    """Prices of one token of each kind, one character, one second of sound and one request, in pico-USD.

    None: not priced apart. `cache_write` is what a prompt costs that is kept for 30 minutes, `cache_write_12h` for 12 hours.
    """

    input: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_12h: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    output: int = 0
    audio_output: int | None = None
    image_output: int | None = None
    character: int = 0
    second: int = 0
    request: int = 0

    def cost(self, usage: Usage) -> int:
        """The price of `usage`. A part that is not priced apart costs what its whole costs."""
        parts = (
            (usage.cached_input, self.cached_input, self.input),
            (usage.cache_write - (usage.cache_write_12h or 0), self.cache_write, self.input),
            (usage.cache_write_12h or 0, self._long_write, self.input),
            (usage.audio_input, self.audio_input, self.input),
            (usage.image_input, self.image_input, self.input),
            (usage.audio_output, self.audio_output, self.output),
            (usage.image_output, self.image_output, self.output),
        )
        extra = sum(count * (rate - whole) for count, rate, whole in parts if rate is not None)
        whole = usage.input * self.input + usage.output * self.output
        # Details that overlap or exceed their whole would make it negative; nothing is ever paid back.
        return max(0, whole + extra) + usage.seconds * self.second + self.request

    @property
    def _long_write(self) -> int | None:
        return self.cache_write if self.cache_write_12h is None else self.cache_write_12h

    def worst_input(self, *, long_cache: bool) -> int:
        """The dearest rate of a token that goes in. `long_cache`: the request may have its prompt kept for 12 hours."""
        return self._dearest(name for name in INPUT_RATES if long_cache or name != "cache_write_12h")

    def worst_output(self) -> int:
        """The dearest rate of a token that comes out."""
        return self._dearest(OUTPUT_RATES)

    def _dearest(self, names: Iterable[str]) -> int:
        rates: list[int | None] = [getattr(self, name) for name in names]
        return max([rate for rate in rates if rate is not None])

    def scaled(self, percent_in: int, percent_out: int, percent_whole: int = 100) -> Rates:
        """These rates at a percentage of their own, each rounded up; `percent_whole` is for all that is not a token."""
        percents = dict.fromkeys(INPUT_RATES, percent_in) | dict.fromkeys(OUTPUT_RATES, percent_out)
        rates = {name: rate for name, rate in vars(self).items() if rate is not None}
        return Rates(**{name: -(-rate * percents.get(name, percent_whole) // 100) for name, rate in rates.items()})
