"""What a response costs, and at most can cost, in pico-USD. Pure.

Knows the price list's format and OpenAI's way of counting; knows no caller and no limit. Everything is an
integer, and every rounding goes up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from relay.frozen import EMPTY, Frozen
from relay.models import Usage
from relay.pricing.money import AmountError, Written, amount
from relay.pricing.rates import RATES, WHOLE, Rates

MILLION = 10**6
# OpenAI's other names of a tier. Source: platform.openai.com/docs/guides/priority-processing.
_TIERS = {"": "default", "auto": "default", "fast": "priority"}
# Hosts that keep data in a region or for a government, where tokens cost 10 % more (of some models; here of all).
# Source: platform.openai.com/docs/guides/your-data.
_REGIONAL = re.compile(r"https://[a-z0-9-]+\.api\.openai\.com(:443)?(/|\Z)", re.IGNORECASE)
REGIONAL_PERCENT = 110


class PriceListError(ValueError):
    """A price list that cannot be read. The text names the place and what would be right there."""


class Price(Frozen):
    """One model on the list. `context` and `max_output` bound what a single response can take in and give out, in tokens.

    Past `long_above` tokens of input all tokens of a request cost `long_input` and `long_output` percent. `shutdown` is the
    day ("2027-01-14") on which OpenAI ends the model, "" when none is announced. `snapshots` are the days of the dated
    names ("2025-08-07" of "gpt-5-mini-2025-08-07") that have this very entry.
    """

    tiers: Mapping[str, Rates]
    context: int | None = None
    max_output: int | None = None
    image_tokens: int = 50_000
    output_per_image: int | None = None
    long_above: int | None = None
    long_input: int = 100
    long_output: int = 100
    shutdown: str = ""
    snapshots: tuple[str, ...] = ()

    def rates(self, tier: str) -> Rates | None:
        """The rates of a service tier; "" and "auto" are the default tier, which the relay pins where it matters."""
        return self.tiers.get(_TIERS.get(tier, tier))

    def cost(self, usage: Usage, tier: str, characters: int = 0) -> int:
        """The price of a response at the tier that it names.

        Where it names none on the list, it costs the dearer of `tier`, which was asked for, and the default tier, which
        OpenAI falls back to.
        """
        named = None if usage.service_tier in ("", "auto") else self.rates(usage.service_tier)
        candidates = [named] if named else [self.rates(tier) or self.tiers["default"], self.tiers["default"]]
        return max(
            [self._scaled(rates, usage.input).cost(usage) + characters * rates.character for rates in candidates]
        )

    def at_most(
        self,
        tokens_in: int,
        tokens_out: int,
        tier: str,
        characters: int = 0,
        *,
        seconds: int = 0,
        long_cache: bool = False,
    ) -> int:
        """The highest price, in pico-USD, of a response to at most `tokens_in` with at most `tokens_out` tokens.

        `long_cache`: the request may have its prompt written into a cache for 12 hours.
        """
        rates = self._scaled(self.rates(tier) or self.tiers["default"], tokens_in)
        tokens = tokens_in * rates.worst_input(long_cache=long_cache) + tokens_out * rates.worst_output()
        return tokens + characters * rates.character + seconds * rates.second + rates.request

    def at_percent(self, percent: int) -> Price:
        """This price at `percent` of itself."""
        return self.changed(tiers={name: rates.scaled(*[percent] * 3) for name, rates in self.tiers.items()})

    def has_rates_for(self, usage: Usage) -> bool:
        """Whether the units that `usage` counts, tokens or seconds, have a price. A model that is free has one for all."""
        rates = self.tiers.values()
        by_token = any(each.worst_input(long_cache=True) or each.worst_output() for each in rates)
        by_another = any(each.second or each.character or each.request for each in rates)
        if usage.seconds and by_token | by_another and not self.by_the_second:
            return False
        return not ((usage.input or usage.output) and by_another and not by_token)

    @property
    def by_the_second(self) -> bool:
        """Whether sound is billed by its duration."""
        return any(rates.second for rates in self.tiers.values())

    def _scaled(self, rates: Rates, tokens_in: int) -> Rates:
        """The rates of a prompt of `tokens_in`: past a model's long-context mark all its tokens are dearer."""
        if self.long_above is None or tokens_in <= self.long_above:
            return rates
        return rates.scaled(self.long_input, self.long_output)


class PriceList(Frozen):
    """The prices of all known models, and the day on which they were true. All cost `percent` of what is listed."""

    as_of: str = ""
    models: Mapping[str, Price] = EMPTY
    percent: int = 100

    def replaced_by(self, other: PriceList) -> PriceList:
        """This list with whole models replaced by, or added from, `other`; an entry without snapshots keeps those of here."""
        models = {**self.models, **other.models}
        for name, price in other.models.items():
            if name in self.models and not price.snapshots:
                models[name] = price.changed(snapshots=self.models[name].snapshots)
        return self.changed(as_of=other.as_of or self.as_of, models=models)

    def at_host(self, base_url: str) -> PriceList:
        """This list as it holds at `base_url`: OpenAI's regional hosts cost more."""
        return self.changed(percent=REGIONAL_PERCENT) if _REGIONAL.match(base_url) else self

    def of(self, model: str) -> Price | None:
        """The price of `model`, of the entry that names it as a dated snapshot, or of a fine-tuned model's base; else None.

        A date that no entry names has no price: snapshots of one family have differed in price and in largest output.
        A fine-tuned model ("ft:gpt-4.1-mini-2025-04-14:org::id") has an entry of its own, "ft:gpt-4.1-mini-2025-04-14".
        """
        name = self.listed(model)
        if not name:
            return None
        return self.models[name] if self.percent == 100 else self.models[name].at_percent(self.percent)

    def listed(self, model: str) -> str:
        """The name on the list under which `model` has its price; "" when it has none."""
        name = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
        if name in self.models:
            return name
        family, day = name[:-11], name[-10:]
        return family if family in self.models and day in self.models[family].snapshots else ""


def parse(text: str) -> PriceList:
    """The list in `text` (JSON); an empty one for no text. Raises PriceListError."""
    if not text.strip():
        return PriceList()
    try:
        root = json.loads(text, parse_float=Written)
        models = {name: _price(entry, f"prices[{name!r}]") for name, entry in root["models"].items()}
        return PriceList(as_of=str(root.get("as_of", "")), models=models)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = str(error) if isinstance(error, PriceListError | AmountError) else f"prices: {error!r}"
        raise PriceListError(text) from None


_FIGURES = ("context", "max_output", "image_tokens", "output_per_image", "long_above", "long_input", "long_output")


def _price(entry: Mapping[str, Any], place: str) -> Price:
    _known(entry, {*RATES, "character", *WHOLE, "tiers", "shutdown", "snapshots", *_FIGURES}, place)
    tiers = {"default": _rates(entry, place)}
    for tier, part in entry.get("tiers", {}).items():
        _known(part, {*RATES, "character", *WHOLE}, f"{place}.tiers.{tier}")
        tiers[tier] = _rates(part, f"{place}.tiers.{tier}")
    figures = {name: entry[name] for name in _FIGURES if name in entry}
    for name, value in figures.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise PriceListError(f"{place}.{name}: must be a whole number")
    shutdown = _day(entry.get("shutdown", ""), f"{place}.shutdown")
    snapshots = tuple([_day(day, f"{place}.snapshots") for day in entry.get("snapshots", ())])
    return Price(tiers=tiers, shutdown=shutdown, snapshots=snapshots, **figures)


def _day(value: object, place: str) -> str:
    if not isinstance(value, str) or (value and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value)):
        raise PriceListError(f"{place}: must be a day such as 2027-01-14")
    return value


def _rates(entry: Mapping[str, Any], place: str) -> Rates:
    """Rates as OpenAI publishes them: US dollars for a million tokens or characters, for one second and one request."""
    names = [name for name in (*RATES, "character", *WHOLE) if name in entry]
    if not names:
        raise PriceListError(f"{place}: has no price; a free model says so with 0")
    return Rates(**{name: _rate(entry[name], name, place) for name in names})


def _rate(value: object, name: str, place: str) -> int:
    pico = amount(value, f"{place}.{name}")
    return pico if name in WHOLE else -(-pico // MILLION)


def _known(entry: object, known: Iterable[str], place: str) -> None:
    unknown = sorted(set(entry) - set(known)) if isinstance(entry, dict) else ["?"]
    if unknown:
        raise PriceListError(f"{place}: {unknown[0]!r} is not known here; known are {', '.join(sorted(known))}")
