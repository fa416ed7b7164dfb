"""Money: pico-USD as integers, and as text. Pure."""

from __future__ import annotations

PICO = 10**12
"""One US dollar. Amounts are integers of 1e-12 USD: a token of the cheapest model costs some 2,500 of them, so that
no price is ever rounded and sums stay exact in DynamoDB's 38 digits."""


class AmountError(ValueError):
    """A text that is no amount of money. The message names the place and what would be right there."""


class Written:
    """A number with a fraction as JSON writes it. Its text is kept, because a float would round it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def amount(value: object, place: str) -> int:
    """`value` US dollars in pico-USD. Takes what JSON or a command line may hold: 5, Written("0.25"), "0.25".

    Raises AmountError, which names `place`.
    """
    text = str(value) if isinstance(value, int | str | Written) and not isinstance(value, bool) else ""
    whole, _, part = text.partition(".")
    if whole.isdecimal() and (part.isdecimal() or not part) and len(part) <= 12:
        return int(whole) * PICO + int(part.ljust(12, "0"))
    return _unusual(text, place)


def _unusual(text: str, place: str) -> int:
    """The same for "2e-07", ".5" and all that is no amount."""
    from decimal import Decimal, InvalidOperation  # not above: importing it takes 1 % of the start

    try:
        dollars = Decimal(text)
    except InvalidOperation:
        dollars = Decimal("nan")
    if not dollars.is_finite() or dollars < 0 or dollars * PICO != int(dollars * PICO):
        raise AmountError(f"{place}: must be an amount in US dollars such as 12.50")
    return int(dollars * PICO)


def usd(amount: int) -> str:
    """`amount` pico-USD for a sentence: "0.0125 USD". Six places, which is a hundredth of the cheapest request."""
    return f"{amount / PICO:.6f}".rstrip("0").rstrip(".") + " USD"


def dollars(amount: int) -> str:
    """`amount` pico-USD in dollars, exactly: "0.0000125"."""
    whole, part = divmod(amount, PICO)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".")
