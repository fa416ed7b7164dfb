"""The reader of genai-prices' file against genai-prices itself: both say the same of every model of OpenAI's."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from importlib.resources import files
from typing import Any

import genai_prices.data
import pytest
from genai_prices.types import ModelInfo, TieredPrices

from price_lists import genai_prices as reader
from price_lists import own_list
from price_lists.figures import DEFAULT, Model

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
NAMES = {"input": "input_mtok", "cached_input": "cache_read_mtok", "cache_write": "cache_write_mtok"}
NAMES |= {"output": "output_mtok", "audio_input": "input_audio_mtok", "audio_output": "output_audio_mtok"}
NAMES |= {"image_input": "input_image_mtok", "image_output": "output_image_mtok", "character": "input_mchars"}
OPENAI = next(provider for provider in genai_prices.data.providers if provider.id == "openai")


@pytest.fixture(scope="module")
def models() -> Any:
    return reader.models(files("genai_prices").joinpath("data.py").read_text(), NOW.date(), own_list.read().models)


def stated(price: Any, *, long: bool) -> Fraction:
    if isinstance(price, TieredPrices):
        return Fraction(price.tiers[-1].price if long else price.base)
    return Fraction(price)


def test_every_model_is_read(models: Any) -> None:
    assert len(OPENAI.models) > 100
    assert {model.id for model in OPENAI.models} <= models.keys()


@pytest.mark.parametrize("tier", [DEFAULT, "flex", "priority", "fast"])
def test_every_price_is_the_packages_own(models: Any, tier: str) -> None:
    compared = [_compare(models[model.id], model, tier) for model in OPENAI.models]
    assert sum(compared) > 20


def _compare(read: Model, model: ModelInfo, tier: str) -> bool:
    prices = model.get_prices(NOW, {"service_tier": tier})
    expected = {name: getattr(prices, key) for name, key in NAMES.items() if getattr(prices, key) is not None}
    if tier not in read.tiers:
        assert prices == model.get_prices(NOW), "no such tier, so the package gives the default one"
        return False
    found = {name: price for name, price in read.tiers[tier].items() if name in NAMES}
    assert found == {name: stated(price, long=False) for name, price in expected.items()}, model.id
    if read.long_tiers:
        found = {name: price for name, price in read.long_tiers[tier].items() if name in NAMES}
        assert found == {name: stated(price, long=True) for name, price in expected.items()}, model.id
    tiered = (price for price in expected.values() if isinstance(price, TieredPrices))
    assert {step.start for price in tiered for step in price.tiers} <= {read.long_above}
    return True


def test_a_name_is_the_model_that_the_package_finds(models: Any) -> None:
    for name in own_list.read().models:
        theirs = OPENAI.find_model(f"{name}:org::id" if name.startswith("ft:") else name)
        assert models.get(name) == (models[theirs.id] if theirs else None), name
    assert "gpt-none" not in models
