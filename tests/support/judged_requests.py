"""Requests of every listed model with the bill that genai-prices makes for what they used: an independent judge of prices.

Each request goes through the relay's own policy, bound, reader of usage and settlement. What it uses is drawn from within
what it can cause. Where genai-prices has no such model, tier or rate (writes for 12 hours, the ultrafast tier), the list
itself, read as text, is the judge. The day is fixed, because genai-prices knows prices by their date.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from importlib.resources import files
from typing import Any

import genai_prices
import genai_prices.data
from relay.limits.cost_bound import Bound
from relay.limits.settlement import Settlement
from relay.request.policy import RequestPolicy
from relay.response.members import usage_in

from price_lists import comparison, own_list
from price_lists import genai_prices as reader
from tests.support.billed_bodies import (
    ALL_BOUNDED,
    CHAT,
    EDITS,
    EMBEDDINGS,
    EVERYTHING,
    IMAGES,
    LIST,
    MODERATIONS,
    SPEECH,
    TEXT_MODELS,
    TRANSCRIPTIONS,
    Case,
    admitted,
    generated,
    generated_media,
    tokens_of,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
OPENAI = next(provider for provider in genai_prices.data.providers if provider.id == "openai")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One request: what was reserved and settled, in pico-USD, and what the judge bills, exactly. `judge` says who that is."""

    model: str
    path: str
    tier: str
    bound: int
    settled: int
    billed: Fraction
    judge: str


EACH = 6


def all_judged() -> list[Judged]:
    """The requests that tests and documentation tell of."""
    return list(judged(random.Random(11), EACH))


def differences() -> list[comparison.Difference]:
    """What genai-prices says otherwise than the list."""
    theirs = reader.models(files("genai_prices").joinpath("data.py").read_text(), NOW.date(), LIST)
    return list(comparison.differences(own_list.read(), theirs))


def judged(dice: random.Random, each: int) -> Iterator[Judged]:
    """At least `each` requests of every listed model, and as many of each of its tiers."""
    for model in LIST:
        for tier in ["default", *LIST[model].get("tiers", {})]:
            for _ in range(each):
                yield _one(dice, model, tier)


def drawn(dice: random.Random, model: str, tier: str, environment: RequestPolicy) -> tuple[Case, Bound, dict[str, Any]]:
    """A request for `model` that `environment` admits in `tier`, its bound and what is sent."""
    while True:
        case = generated(dice, model) if model in TEXT_MODELS else generated_media(dice, model)
        if model in TEXT_MODELS and tier != "default":
            asked = b'"service_tier": "%s", ' % dice.choice([tier, "fast" if tier == "priority" else tier]).encode()
            case = Case(case.path, b"{" + asked + case.body[1:], model, case.tokens, output=case.output)
        if (outcome := admitted(case, environment, ALL_BOUNDED)) is not None:
            return case, *outcome


def _one(dice: random.Random, model: str, tier: str) -> Judged:
    case, bound, sent = drawn(dice, model, tier, EVERYTHING)
    fields, served = response_to(dice, case, sent, tier)
    settlement = Settlement(bound, ALL_BOUNDED.of(model))
    settlement.sending()
    # Sound says nothing of what it cost, so that it costs its bound.
    settlement.metered(lambda: usage_in(fields))
    billed, judge = bill_of(case, fields.get("usage", {}), served)
    return Judged(
        model=model, path=case.path, tier=served, bound=bound.usd, settled=settlement.close("ok"), billed=billed, judge=judge
    )  # fmt: skip


def _within(dice: random.Random, most: int) -> int:
    """A figure up to `most`, often one at an edge."""
    return dice.choice([most, min(1, most), dice.randint(0, most), dice.randint(0, most)])


def _split(dice: random.Random, total: int, pieces: int) -> list[int]:
    cuts = sorted(_within(dice, total) for _ in range(pieces))
    return [high - low for low, high in zip([0, *cuts], cuts, strict=False)]


def response_to(dice: random.Random, case: Case, sent: dict[str, Any], tier: str) -> tuple[dict[str, Any], str]:
    """A response that says what the request used, as its endpoint says it, and the tier that it was served in."""
    if case.path == SPEECH:
        return {}, "default"
    if "second" in LIST[case.model]:
        return {"text": "x", "usage": {"type": "duration", "seconds": _within(dice, case.seconds)}}, "default"
    most_in, most_out, _ = tokens_of(case, sent)
    total, output = _within(dice, most_in), _within(dice, most_out)
    cached, short, long, audio, image = _split(dice, total, 5)
    speech, picture = _split(dice, output, 2)
    entry = LIST[case.model]
    cached, short, long = (
        (0, 0, 0) if case.path in (IMAGES, EDITS, TRANSCRIPTIONS, EMBEDDINGS, MODERATIONS) else (cached, short, long)
    )
    audio = audio if "audio_input" in entry else 0
    image = image if "image_input" in entry else 0
    asks_long = '"ttl": "12h"' in str(sent).replace("'", '"')
    short, long = (short, long) if asks_long else (short + long, 0)
    written = {"cached_tokens": cached, "cache_write_tokens": short + long}
    if asks_long and case.path != CHAT:
        written["cache_write_tokens_details"] = {"ttl_30m_tokens": short, "ttl_12h_tokens": long}  # type: ignore[assignment]
    into = {**written, "audio_tokens": audio, "image_tokens": image}
    out = {
        "audio_tokens": speech if "audio_output" in entry else 0,
        "image_tokens": picture if "image_output" in entry else 0,
    }
    if case.path in (CHAT, EMBEDDINGS):
        usage = {"prompt_tokens": total, "prompt_tokens_details": into, "completion_tokens": output}
        usage |= {"completion_tokens_details": {**out, "reasoning_tokens": _within(dice, output)}}
    else:
        usage = {
            "input_tokens": total,
            "input_tokens_details": into,
            "output_tokens": output,
            "output_tokens_details": out,
        }
    served = dice.choice([tier, "default"]) if tier == "flex" else tier
    name = dice.choice([served, "fast"]) if served == "priority" else served
    named = {"service_tier": name} if case.model in TEXT_MODELS else {}
    return {"model": case.model, "usage": usage, **named}, served


def bill_of(case: Case, usage: dict[str, Any], tier: str) -> tuple[Fraction, str]:
    """Dollars for what was used, and the judge that says so."""
    if case.path == SPEECH:
        counts: dict[str, int] = {"input_characters": case.characters}
    elif usage.get("type") == "duration":
        counts = {"audio_seconds": usage["seconds"]}
    else:
        counts = _counts(usage)
    # Of chat OpenAI does not say for how long what was written is kept; whoever asked for 12 hours may be billed for them.
    details = usage.get("input_tokens_details", {}).get("cache_write_tokens_details", {})
    long = details.get("ttl_12h_tokens", 0)
    if case.path == CHAT and b'"ttl": "12h"' in case.body:
        long = counts.get("cache_write_tokens", 0)
    name = f"{case.model}:org::id" if case.model.startswith("ft:") else case.model
    if long or not _is_known(name, case.model, counts, tier):
        return _by_the_list(case.model, counts, long, tier), "the list"
    usage_of = genai_prices.Usage(**counts)
    price = genai_prices.calc_price(
        usage_of, name, provider_id="openai", genai_request_timestamp=NOW, price_context={"service_tier": tier}
    )
    return Fraction(price.total_price), "genai-prices"


def _is_known(name: str, model: str, counts: dict[str, int], tier: str) -> bool:
    """Whether genai-prices has the tier, and a rate for everything that the list bills apart."""
    known = OPENAI.find_model(name)
    if known is None or tier == "ultrafast":
        return False
    prices = known.get_prices(NOW, {"service_tier": tier})
    apart = [count for count, rate in _RATES.items() if rate in LIST[model] and counts.get(count)]
    return all(getattr(prices, _THEIRS[count]) is not None for count in apart)


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    into = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    out = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    counts = {
        "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens", 0)),
        "output_tokens": usage.get("completion_tokens", usage.get("output_tokens", 0)),
        "cache_read_tokens": into.get("cached_tokens", 0),
        "cache_write_tokens": into.get("cache_write_tokens", 0),
        "input_audio_tokens": into.get("audio_tokens", 0),
        "input_image_tokens": into.get("image_tokens", 0),
        "output_audio_tokens": out.get("audio_tokens", 0),
        "output_image_tokens": out.get("image_tokens", 0),
    }
    return {name: count for name, count in counts.items() if count or name in ("input_tokens", "output_tokens")}


# Counts of genai-prices' names, and the rates of the list in which they are billed; what has no rate is billed as its whole.
_RATES = {
    "cache_read_tokens": "cached_input",
    "cache_write_tokens": "cache_write",
    "input_audio_tokens": "audio_input",
    "input_image_tokens": "image_input",
    "output_audio_tokens": "audio_output",
    "output_image_tokens": "image_output",
}


_THEIRS = {
    "cache_read_tokens": "cache_read_mtok",
    "cache_write_tokens": "cache_write_mtok",
    "input_audio_tokens": "input_audio_mtok",
    "input_image_tokens": "input_image_mtok",
    "output_audio_tokens": "output_audio_mtok",
    "output_image_tokens": "output_image_mtok",
}


def _by_the_list(model: str, counts: dict[str, int], long: int, tier: str) -> Fraction:
    entry = LIST[model]
    rates = entry if tier == "default" else entry["tiers"][tier]
    is_long = counts.get("input_tokens", 0) > entry.get("long_above", 10**9)

    def rate(name: str, whole: str) -> Fraction:
        percent = entry.get("long_input" if whole == "input" else "long_output", 100) if is_long else 100
        return Fraction(rates.get(name, rates.get(whole, 0))) * Fraction(percent, 100)

    total = Fraction(0)
    for whole in ("input", "output"):
        parts = {
            name: count
            for name, count in counts.items()
            if name in _RATES and (whole in _RATES[name] or (whole == "input" and name.startswith("cache")))
        }
        total += (counts.get(f"{whole}_tokens", 0) - sum(parts.values())) * rate(whole, whole)
        for name, count in parts.items():
            kept = long if name == "cache_write_tokens" else 0
            total += (count - kept) * rate(_RATES[name], whole) + kept * rate("cache_write_12h", whole)
    total += counts.get("input_characters", 0) * Fraction(entry.get("character", 0))
    return total / 10**6 + counts.get("audio_seconds", 0) * Fraction(entry.get("second", 0))
