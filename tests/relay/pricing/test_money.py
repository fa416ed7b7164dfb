"""Money: exact from text to pico-USD and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.policies.policy_json import parse
from relay.pricing.money import PICO, AmountError, amount, dollars, usd


def test_amounts_are_exact() -> None:
    assert amount("0.0025", "x") * 10**6 == 2_500_000_000 * 10**6
    assert amount(7, "x") == 7 * PICO


@given(
    st.decimals(min_value=0, max_value=10**9, places=12, allow_nan=False, allow_infinity=False),
    st.sampled_from(["{:f}", "{:e}", "{:E}", "{}", " {:f} "]),
)
def test_amounts_are_what_their_decimals_are(dollars: Decimal, written: str) -> None:
    text = written.format(dollars)
    assert amount(text, "x") == int(dollars.scaleb(12))
    if text == text.strip():
        (limit,) = (parse(f'{{"default": {{"usd_day": {text}}}}}').default,)
        assert limit is not None
        assert limit.limits.usd_per_day == int(dollars.scaleb(12))


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("2e-07", 200_000),
        (".5", PICO // 2),
        ("5.", 5 * PICO),
        ("0.1000000000000", PICO // 10),
        ("1_0", 10 * PICO),
        ("+1", PICO),
        ("٣", 3 * PICO),
    ],
)
def test_unusual_spellings_are_amounts_too(text: str, pico: int) -> None:
    assert amount(text, "x") == pico


@pytest.mark.parametrize(
    "text", ["", ".", "²", "1.²", "1.2.3", "-1", "1.-2", "1.+2", "1. 2", "inf", "1,5", "1e-13", "$1"]
)
def test_what_is_no_amount_is_none(text: str) -> None:
    with pytest.raises(AmountError):
        amount(text, "x")


@given(st.integers(0, 10**24))
def test_dollars_are_exact(pico: int) -> None:
    assert amount(dollars(pico), "x") == pico
    assert "e" not in dollars(pico)


@pytest.mark.parametrize(
    ("pico", "text"), [(0, "0 USD"), (PICO // 10, "0.1 USD"), (12_500_000_000, "0.0125 USD"), (5 * PICO, "5 USD")]
)
def test_a_sentence_shows_six_places(pico: int, text: str) -> None:
    assert usd(pico) == text
