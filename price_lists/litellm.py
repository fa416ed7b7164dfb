"""LiteLLM's list as figures: the JSON file inside the wheel of PyPI's `litellm` (licence MIT), read and never imported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from price_lists.figures import DEFAULT, ListError, Model, Models, day

MEMBER = "litellm/model_prices_and_context_window_backup.json"
_RATES = {
    "input_cost_per_token": ("input", 10**6),
    "cache_read_input_token_cost": ("cached_input", 10**6),
    "cache_creation_input_token_cost": ("cache_write", 10**6),
    "cache_creation_input_token_cost_above_12hr": ("cache_write_12h", 10**6),
    "input_cost_per_audio_token": ("audio_input", 10**6),
    "input_cost_per_image_token": ("image_input", 10**6),
    "output_cost_per_token": ("output", 10**6),
    "output_cost_per_audio_token": ("audio_output", 10**6),
    "output_cost_per_image_token": ("image_output", 10**6),
    "input_cost_per_character": ("character", 10**6),
    "input_cost_per_second": ("second", 1),
}
# "input_cost_per_token_above_272k_tokens_flex": a rate, beyond how many thousand tokens, in which tier.
_FIELD = re.compile(r"(.+?)(?:_above_(\d+)k_tokens)?(?:_(flex|priority|ultrafast|batches|decisions))?")
# Prices of what the relay does not serve or refuses under a budget (tools, realtime, videos), and of parts of cached prompts,
# which OpenAI reports for realtime only. Pictures that are made have their price in tokens, too.
_LEFT_OUT = re.compile(
    "search_context_cost_per_query|code_interpreter_cost.*|.*_(audio|image)_token_cost.*|.*_cost_per_(image|pixel|session)"
    "|output_cost_per_second|.*_video_per_second"
)
# Tiers of endpoints that the relay does not serve.
_NOT_SERVED = ("batches", "decisions")
# Sizes that a model has in common with chat models only: an embedding's is that of one text, a request may hold many.
_GENERATES = {"chat", "responses"}
_SERVED = _GENERATES | {"embedding", "image_generation", "audio_transcription", "audio_speech", "moderation"}
_REALTIME_ONLY = {"/v1/realtime", "/v1/realtime/transcription_sessions"}


def models(text: str) -> Models:
    """OpenAI's models in the list `text`. Raises ListError."""
    try:
        entries = json.loads(text, parse_float=Fraction)
        ours = {name: entry for name, entry in entries.items() if entry.get("litellm_provider") == "openai"}
        found = {name: _model(entry) for name, entry in ours.items() if "/" not in name}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ListError(f"LiteLLM's list cannot be read ({error!r}): its layout has changed") from None
    if not found:
        raise ListError("LiteLLM's list has no model of OpenAI's: its layout has changed")
    return found


def _model(entry: Mapping[str, Any]) -> Model:
    tiers: dict[str, dict[str, Fraction]] = {DEFAULT: {}}
    long_tiers: dict[str, dict[str, Fraction]] = {}
    marks, unread = set(), set()
    for name, value in entry.items():
        field = _FIELD.fullmatch(name)
        if field is None or field[1] not in _RATES or field[3] in _NOT_SERVED:
            if (
                "_cost" in name
                and value
                and not _LEFT_OUT.fullmatch(name)
                and (field is None or field[3] not in _NOT_SERVED)
            ):
                unread.add(name)
            continue
        rate, unit = _RATES[field[1]]
        where = long_tiers if field[2] else tiers
        where.setdefault(field[3] or DEFAULT, {})[rate] = Fraction(value) * unit
        marks |= {int(field[2]) * 1000} if field[2] else set()
    generates = entry.get("mode") in _GENERATES
    return Model(
        tiers=tiers,
        long_tiers=long_tiers,
        long_above=max(marks, default=None),
        context=entry.get("max_input_tokens") if generates else None,
        max_output=entry.get("max_output_tokens") if generates else None,
        shutdown=day(entry.get("deprecation_date")),
        unread=frozenset(unread),
        served=entry.get("mode") in _SERVED
        and not _REALTIME_ONLY.issuperset(entry.get("supported_endpoints") or ["/v1"]),
    )
