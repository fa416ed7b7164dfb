"""What an answer costs, and at most can cost, in pico-USD. Pure.

Knows the price list's format and OpenAI's way of counting; knows no caller and no limit. Everything is an
integer, and every rounding goes up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from relay.frozen import EMPTY, Frozen
from relay.limits.money import AmountError, Written, amount
from relay.limits.policy import PolicyError
from relay.models import Usage

MILLION = 10**6
RATES = ("input", "cached_input", "cache_write", "audio_input", "image_input", "output", "audio_output", "image_output")


class Rates(Frozen):
    """Prices of one token of each kind, of one character and of one request, in pico-USD. None: not priced apart."""

    input: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    output: int = 0
    audio_output: int | None = None
    image_output: int | None = None
    character: int = 0
    request: int = 0

    def cost(self, usage: Usage) -> int:
        """The price of `usage`. A part that is not priced apart costs what its whole costs."""
        parts = (
            (usage.cached_input, self.cached_input, self.input),
            (usage.cache_write, self.cache_write, self.input),
            (usage.audio_input, self.audio_input, self.input),
            (usage.image_input, self.image_input, self.input),
            (usage.audio_output, self.audio_output, self.output),
            (usage.image_output, self.image_output, self.output),
        )
        extra = sum(count * (rate - whole) for count, rate, whole in parts if rate is not None)
        whole = usage.input * self.input + usage.output * self.output
        # Details that overlap or exceed their whole would make it negative; nothing is ever paid back.
        return max(0, whole + extra) + self.request

    def worst(self, direction: str) -> int:
        """The dearest rate of a token that goes in ("input") or comes out ("output")."""
        if direction == "input":
            rates = (self.input, self.cached_input, self.cache_write, self.audio_input, self.image_input)
        else:
            rates = (self.output, self.audio_output, self.image_output, None, None)
        return max([rate for rate in rates if rate is not None])


class Price(Frozen):
    """One model on the list. `context` and `max_output` bound what a single answer can take in and give out."""

    tiers: Mapping[str, Rates]
    context: int | None = None
    max_output: int | None = None
    image_tokens: int = 50_000
    output_per_image: int | None = None
    long_above: int | None = None
    long_input: int = 100
    long_output: int = 100

    def rates(self, tier: str) -> Rates | None:
        """The rates of a service tier; "" and "auto" are the default tier, which the relay pins where it matters."""
        return self.tiers.get("default" if tier in ("", "auto") else tier)

    def cost(self, usage: Usage, tier: str, characters: int = 0) -> int:
        """The price of a response at the tier that it names.

        Where it names none on the list, it costs the dearer of `tier`, which was asked for, and the default tier, which
        OpenAI falls back to.
        """
        named = self.tiers.get(usage.service_tier)
        candidates = [named] if named else [self.rates(tier) or self.tiers["default"], self.tiers["default"]]
        return max(
            [self._scaled(rates, usage.input).cost(usage) + characters * rates.character for rates in candidates]
        )

    def at_most(self, tokens_in: int, tokens_out: int, tier: str, characters: int = 0) -> int:
        """The highest price of an answer to at most `tokens_in` with at most `tokens_out` tokens."""
        rates = self._scaled(self.rates(tier) or self.tiers["default"], tokens_in)
        tokens = tokens_in * rates.worst("input") + tokens_out * rates.worst("output")
        return tokens + characters * rates.character + rates.request

    def _scaled(self, rates: Rates, tokens_in: int) -> Rates:
        """The rates of a prompt of `tokens_in`: past a model's long-context mark all its tokens are dearer."""
        if self.long_above is None or tokens_in <= self.long_above:
            return rates
        percent = {name: self.long_output if name.endswith("output") else self.long_input for name in RATES}
        scaled = {
            name: -(-getattr(rates, name) * percent[name] // 100) for name in RATES if getattr(rates, name) is not None
        }
        return Rates(character=rates.character, request=rates.request, **scaled)


class PriceList(Frozen):
    """The prices of all known models, and the day on which they were true."""

    as_of: str = ""
    models: Mapping[str, Price] = EMPTY

    def replaced_by(self, other: PriceList) -> PriceList:
        """This list with whole models replaced by, or added from, `other`."""
        return PriceList(as_of=other.as_of or self.as_of, models={**self.models, **other.models})

    def of(self, model: str) -> Price | None:
        """The price of `model`, of the family of a dated snapshot, or of the base of a fine-tuned model; else None.

        "gpt-5-mini-2025-08-07" costs what "gpt-5-mini" costs unless it is on the list itself. A fine-tuned model
        ("ft:gpt-4.1-mini-2025-04-14:org::id") has prices of its own, under "ft:gpt-4.1-mini".
        """
        name = self.listed(model)
        return self.models[name] if name else None

    def listed(self, model: str) -> str:
        """The name on the list under which `model` has its price; "" when it has none."""
        name = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
        if name in self.models:
            return name
        family = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name)
        return family if family in self.models else ""


def parse(text: str) -> PriceList:
    """The list in `text` (JSON); an empty one for no text. Raises PolicyError."""
    if not text.strip():
        return PriceList()
    try:
        root = json.loads(text, parse_float=Written)
        models = {name: _price(entry, f"prices[{name!r}]") for name, entry in root["models"].items()}
        return PriceList(as_of=str(root.get("as_of", "")), models=models)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = str(error) if isinstance(error, PolicyError | AmountError) else f"prices: {error!r}"
        raise PolicyError(text) from None


_FIGURES = ("context", "max_output", "image_tokens", "output_per_image", "long_above", "long_input", "long_output")


def _price(entry: Mapping[str, Any], place: str) -> Price:
    _known(entry, {*RATES, "character", "request", "tiers", *_FIGURES}, place)
    tiers = {"default": _rates(entry, place)}
    tiers |= {tier: _rates(part, f"{place}.tiers.{tier}") for tier, part in entry.get("tiers", {}).items()}
    figures = {name: entry[name] for name in _FIGURES if name in entry}
    for name, value in figures.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise PolicyError(f"{place}.{name}: must be a whole number")
    return Price(tiers=tiers, **figures)


def _rates(entry: Mapping[str, Any], place: str) -> Rates:
    """Rates as OpenAI publishes them: US dollars for a million tokens or characters, and for one request."""
    names = [name for name in (*RATES, "character", "request") if name in entry]
    if not names:
        raise PolicyError(f"{place}: has no price; a free model says so with 0")
    return Rates(**{name: _rate(entry[name], name, place) for name in names})


def _rate(value: object, name: str, place: str) -> int:
    pico = amount(value, f"{place}.{name}")
    return pico if name == "request" else -(-pico // MILLION)


def _known(entry: object, known: Iterable[str], place: str) -> None:
    unknown = sorted(set(entry) - set(known)) if isinstance(entry, dict) else ["?"]
    if unknown:
        raise PolicyError(f"{place}: {unknown[0]!r} is not known here; known are {', '.join(sorted(known))}")
