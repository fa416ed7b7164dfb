"""What answers cost: every part at its own price, every tier at its own, and nothing ever below what OpenAI bills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay.models import Usage
from relay.pricing import prices
from relay.pricing.money import PICO, amount
from relay.pricing.prices import Price, PriceList, PriceListError, parse
from relay.pricing.rates import Rates

UNBOUNDED = ("tts", "omni-moderation", "gpt-image-2")
LIST = Path(prices.__file__).with_name("prices.json").read_text()


@pytest.fixture(scope="module")
def shipped() -> PriceList:
    return parse(LIST)


def priced(**entry: Any) -> Price:
    price = parse(json.dumps({"models": {"m": entry}})).of("m")
    assert price is not None
    return price


def usd(text: str) -> int:
    return amount(text, "test")


def test_the_shipped_list_is_dated_and_whole(shipped: PriceList) -> None:
    assert len(shipped.as_of) == len("2026-01-31")
    assert len(shipped.models) > 20
    for name, price in shipped.models.items():
        # The largest picture of the newest image models is not published, so a budget refuses them.
        bounded = price.context or price.output_per_image or price.by_the_second or name.startswith(UNBOUNDED)
        assert bounded, f"{name}: nothing bounds what it can cost"


def test_every_listed_model_lives_on_the_day_of_the_list(shipped: PriceList) -> None:
    """Of the list's own day, not of today's: a clock turns no test red."""
    ended = [name for name, price in shipped.models.items() if price.shutdown and price.shutdown <= shipped.as_of]
    assert ended == []


@pytest.mark.parametrize("model", ["gpt-5.6", "gpt-6-luna", "gpt-6.1-terra", "gpt-6.2-sol", "gpt-transcribe"])
def test_current_models_are_listed_and_do_not_end(shipped: PriceList, model: str) -> None:
    assert shipped.models[model].shutdown == ""


def test_dying_models_say_when(shipped: PriceList) -> None:
    assert shipped.models["gpt-5-mini"].shutdown == "2026-12-11"
    assert shipped.models["gpt-4o"].shutdown == "2027-01-14"


def test_what_is_written_into_a_cache_costs_more(shipped: PriceList) -> None:
    price = shipped.models["gpt-6-luna"]
    prompt = Usage(input=100_000)
    written = prompt.changed(cache_write=100_000)
    assert price.cost(prompt, "") == usd("0.01")
    assert price.cost(written, "") == usd("0.0125")
    assert price.cost(written.changed(cache_write_12h=0), "") == usd("0.0125")
    assert price.cost(written.changed(cache_write_12h=60_000), "") == usd("0.02")
    assert price.cost(written.changed(cache_write_12h=100_000), "") == usd("0.025")


def test_a_prompt_may_cost_the_write_rate_that_the_request_can_cause(shipped: PriceList) -> None:
    price = shipped.models["gpt-6-luna"]
    assert price.at_most(100_000, 0, "") == 100_000 * usd("0.125") // 10**6
    assert price.at_most(100_000, 0, "", long_cache=True) == 100_000 * usd("0.25") // 10**6


def test_sound_is_billed_by_the_second_where_the_list_says_so(shipped: PriceList) -> None:
    price = shipped.models["gpt-transcribe"]
    assert price.by_the_second
    assert price.cost(Usage(seconds=60), "") == usd("0.0045") == price.at_most(600, 600, "", seconds=60)
    assert not shipped.models["gpt-6-luna"].by_the_second


def test_the_fast_tier_is_billed_as_priority(shipped: PriceList) -> None:
    price = shipped.models["gpt-6-sol"]
    assert price.rates("fast") == price.rates("priority") is not None
    million = Usage(input=1_000_000, output=1_000_000)
    for asked in ("", "default", "fast", "priority"):
        fast, priority = (price.cost(million.changed(service_tier=named), asked) for named in ("fast", "priority"))
        assert fast == priority > price.cost(million.changed(service_tier="default"), asked)


@pytest.mark.parametrize(
    ("url", "percent"),
    [
        ("https://api.openai.com/v1", 100),
        ("https://eu.api.openai.com/v1", 110),
        ("https://us.api.openai.com", 110),
        ("https://eu.api.openai.com:443/v1", 110),
        ("https://gov-1.api.openai.com/v1", 110),
        ("HTTPS://EU.api.openai.com/v1", 110),
        ("https://eu.api.openai.com.example/v1", 100),
        ("https://example/eu.api.openai.com/v1", 100),
        ("http://127.0.0.1:9000/v1", 100),
    ],
)
def test_regional_hosts_cost_a_tenth_more(shipped: PriceList, url: str, percent: int) -> None:
    usage = Usage(input=1_000_000, output=10)
    plain, here = shipped.of("gpt-5.2"), shipped.at_host(url).of("gpt-5.2")
    assert plain is not None and here is not None  # noqa: PT018
    assert here.cost(usage, "") == -(-plain.cost(usage, "") * percent // 100)
    assert here.at_most(7, 9, "flex") * 100 >= plain.at_most(7, 9, "flex") * percent


@pytest.mark.parametrize("day", ["soon", 20270114, "2027-1-14"])
def test_a_shutdown_is_a_day(day: object) -> None:
    with pytest.raises(PriceListError, match="shutdown: must be a day"):
        parse(json.dumps({"models": {"m": {"input": 1, "shutdown": day}}}))


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(input=1_000_000), "0.25"),
        (Usage(output=1_000_000), "2"),
        (Usage(input=1_000_000, cached_input=400_000), "0.16"),
        (Usage(output=1_000, reasoning=900), "0.002"),
        (Usage(input=1, output=1), "0.00000225"),
        (Usage(), "0"),
    ],
)
def test_parts_of_a_text_model(shipped: PriceList, usage: Usage, dollars: str) -> None:
    price = shipped.of("gpt-5-mini")
    assert price is not None
    assert price.cost(usage, "") == usd(dollars)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(input=10, audio_input=4), "0.000049"),
        (Usage(output=10, audio_output=10), "0.00003"),
        (Usage(input=10, image_input=10), "0.00007"),
        (Usage(output=10, image_output=5), "0.000055"),
        (Usage(input=10, cache_write=10), "0.0000125"),
    ],
)
def test_parts_with_prices_of_their_own(usage: Usage, dollars: str) -> None:
    price = priced(
        input=1, output=2, audio_input=10.75, audio_output=3, image_input=7, image_output=9, cache_write=1.25
    )
    assert price.cost(usage, "") == usd(dollars)


def test_the_tier_of_the_answer_is_the_one_billed(shipped: PriceList) -> None:
    price = shipped.of("gpt-5")
    assert price is not None
    million = Usage(input=1_000_000)
    assert price.cost(million.changed(service_tier="flex"), "flex") == usd("0.625")
    assert price.cost(million, "flex") == usd("1.25"), "not named: it may have been the dearer one"
    assert price.cost(Usage(input=1_000_000, service_tier="default"), "priority") == usd("1.25")
    assert price.cost(Usage(input=1_000_000, service_tier="priority"), "default") == usd("2.5")
    assert price.cost(Usage(input=1_000_000, service_tier="unheard-of"), "priority") == usd("2.5")
    assert price.rates("scale") is None


def test_a_long_prompt_makes_all_its_tokens_dearer(shipped: PriceList) -> None:
    price = shipped.of("gpt-5.4")
    assert price is not None
    assert price.cost(Usage(input=272_000, output=100), "") == usd("0.6815")
    assert price.cost(Usage(input=272_001, output=100), "") == usd("1.362255")


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-2024-05-13", None),  # was twice as dear as its family and gave a quarter of the output
        ("gpt-6-luna-2026-09-22", None),  # a date that no list knows
        ("-2025-08-07", None),
        ("gpt-5-mini-x", None),
        ("GPT-5-mini", None),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", "ft:gpt-4.1-mini-2025-04-14"),
        ("ft:gpt-6-luna-2026-09-22:org::id", None),
        ("", None),
    ],
)
def test_a_snapshot_costs_what_the_entry_costs_that_names_it(shipped: PriceList, model: str, found: str | None) -> None:
    assert shipped.of(model) == (shipped.models[found] if found else None)


def test_a_fine_tuned_model_has_a_price_of_its_own() -> None:
    listed = parse(
        '{"models": {"ft:gpt-4.1-mini": {"input": 1, "snapshots": ["2025-04-14"]}, "gpt-4.1-mini": {"input": 9}}}'
    )
    price = listed.of("ft:gpt-4.1-mini-2025-04-14:org::id")
    assert price is listed.models["ft:gpt-4.1-mini"]


def test_an_environments_prices_replace_whole_models() -> None:
    shipped = parse('{"as_of": "2026-01-01", "models": {"a": {"input": 1, "output": 2}, "b": {"input": 3}}}')
    listed = shipped.replaced_by(parse('{"models": {"a": {"input": 5}}}'))
    assert listed.as_of == "2026-01-01"
    assert listed.models["a"].cost(Usage(input=1_000_000, output=1_000_000), "") == 5 * PICO
    assert listed.models["b"].cost(Usage(input=1_000_000), "") == 3 * PICO


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "prices:"),
        ("{}", "prices:"),
        ('{"models": {"a": {}}}', "prices['a']: has no price"),
        ('{"models": {"a": {"inputs": 1}}}', "'inputs' is not known here"),
        ('{"models": {"a": {"input": "x"}}}', "prices['a'].input: must be an amount"),
        ('{"models": {"a": {"input": 1, "context": "x"}}}', "prices['a'].context: must be a whole number"),
        ('{"models": {"a": {"input": 1, "tiers": {"flex": {}}}}}', "prices['a'].tiers.flex: has no price"),
        ('{"models": {"a": []}}', "prices"),
        ('{"models": {"a": {"input": 1, "snapshots": ["1"]}}}', "prices['a'].snapshots: must be a day"),
        ('{"models": {"a": {"input": 1, "snapshots": 1}}}', "prices"),
    ],
)
def test_a_list_that_cannot_be_meant_is_named(text: str, says: str) -> None:
    with pytest.raises(PriceListError) as caught:
        parse(text)
    assert says in str(caught.value)


counts = st.integers(min_value=0, max_value=300_000)


SHIPPED = parse(LIST)


@settings(deadline=None)
@given(model=st.sampled_from(sorted(SHIPPED.models)), total_in=counts, total_out=counts, parts=st.data())
def test_no_answer_within_its_bound_costs_more_than_the_bound(
    model: str, total_in: int, total_out: int, parts: st.DataObject
) -> None:
    price = SHIPPED.models[model]
    tier = parts.draw(st.sampled_from(sorted(price.tiers)))
    slack = parts.draw(counts)

    def split(total: int, pieces: int) -> list[int]:
        cuts = sorted(parts.draw(st.integers(0, total)) for _ in range(pieces))
        return [high - low for low, high in zip([0, *cuts], cuts, strict=False)]

    cached, written, long, audio, image = split(total_in, 5)
    speech, picture = split(total_out, 2)
    usage = Usage(
        input=total_in, cached_input=cached, cache_write=written + long, cache_write_12h=long,
        audio_input=audio, image_input=image,
        output=total_out, audio_output=speech, image_output=picture, service_tier=tier,
    )  # fmt: skip
    assert 0 <= price.cost(usage, tier) <= price.at_most(total_in + slack, total_out + slack, tier, long_cache=True)
    short = usage.changed(cache_write=written, cache_write_12h=0)
    assert 0 <= price.cost(short, tier) <= price.at_most(total_in + slack, total_out + slack, tier)


def test_an_entry_of_ones_own_keeps_the_snapshots_that_it_does_not_name(shipped: PriceList) -> None:
    own = shipped.replaced_by(parse('{"models": {"gpt-5-mini": {"input": 1, "output": 2}}}'))
    assert own.of("gpt-5-mini-2025-08-07") == own.models["gpt-5-mini"]
    assert own.models["gpt-5-mini"].tiers["default"].input == PICO // 10**6
    named = shipped.replaced_by(parse('{"models": {"gpt-5-mini": {"input": 1, "snapshots": ["2027-01-01"]}}}'))
    assert named.of("gpt-5-mini-2025-08-07") is None
    assert named.of("gpt-5-mini-2027-01-01") == named.models["gpt-5-mini"]


@pytest.mark.parametrize(
    ("rates", "usage", "is_priced"),
    [
        ({"input": 1}, Usage(input=1), True),
        ({"input": 1}, Usage(seconds=1), False),
        ({"second": 1}, Usage(seconds=1), True),
        ({"second": 1}, Usage(input=1), False),
        ({"second": 1}, Usage(output=1), False),
        ({"character": 1}, Usage(output=1), False),
        ({"request": 1}, Usage(seconds=1), False),
        ({"input": 1, "second": 1}, Usage(input=1, seconds=1), True),
        ({"output": 1}, Usage(input=1), True),
        ({"input": 0}, Usage(input=1), True),
        ({"input": 0}, Usage(seconds=1), True),
        ({"second": 1}, Usage(), True),
    ],
)
def test_what_has_rates(rates: dict[str, float], usage: Usage, *, is_priced: bool) -> None:
    assert priced(**rates).has_rates_for(usage) == is_priced


def test_characters_and_requests_have_prices_too() -> None:
    price = priced(character=15, request=0.01)
    assert price.cost(Usage(), "", characters=2_000) == usd("0.04")
    assert price.at_most(0, 0, "", characters=2_000) == usd("0.04")


@pytest.mark.parametrize(("rate", "pico"), [("0.0000001", 1), ("0.0000011", 2), ("0.000001", 1), ("0.25", 250_000)])
def test_a_rate_is_rounded_up_to_a_whole_pico_dollar(rate: str, pico: int) -> None:
    """Rates are for a million tokens: what is less than a millionth of a pico-USD short is never lost."""
    listed = parse(f'{{"models": {{"m": {{"input": {rate}, "character": {rate}, "request": {rate}}}}}}}').models["m"]
    rates = listed.tiers["default"]
    assert (rates.input, rates.character, rates.request) == (pico, pico, amount(rate, "x"))


@pytest.mark.parametrize(
    ("rate", "percent", "dearer"), [(1, 150, 2), (3, 133, 4), (2, 150, 3), (7, 101, 8), (0, 150, 0)]
)
def test_a_long_prompts_surcharge_is_rounded_up(rate: int, percent: int, dearer: int) -> None:
    price = Price(
        tiers={"default": Rates(input=rate, output=rate)}, long_above=10, long_input=percent, long_output=percent
    )
    assert price.cost(Usage(input=10, output=1), "") == 11 * rate
    assert price.cost(Usage(input=11, output=1), "") == 12 * dearer
    assert price.at_most(11, 1, "") == 12 * dearer


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5-mini", "gpt-5-mini"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("gpt-5-mini-1000-11-11", ""),
        ("gpt-5-mini-x", ""),
        ("", ""),
    ],
)
def test_a_model_is_listed_under_a_name_of_the_list(shipped: PriceList, model: str, name: str) -> None:
    assert shipped.listed(model) == name
    assert (shipped.of(model) is None) == (name == "")
