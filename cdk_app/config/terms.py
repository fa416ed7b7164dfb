"""Limits and labels, which a policy and a group have alike, and what is allowed for each. Knows nothing of the CDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from cdk_app import mistakes
from cdk_app.options.checks import matches, whole

Usd = int | float | str
"""US dollars: 5, 2.5 or "0.25", with 12 decimals at most. 0.1 + 0.2, which has 17, is refused as unintended."""
MOST_DECIMALS = 12
MOST_CONCURRENT = 500
MOST_LABELS, LABELS_LENGTH = 5, 96
"""Of one caller, its group's included; characters of all of them as the relay stores them: "project=atlas,team=search"."""

SETTINGS = {
    "requests_per_minute": "rpm",
    "concurrent": "concurrent",
    "tokens_per_day": "tokens_day",
    "usd_per_day": "usd_day",
    "usd_per_month": "usd_month",
}
"""Each limit, and what the relay calls it in its variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms(mistakes.Noted):
    """Limits of one account; None is no limit. Days and months are UTC's."""

    requests_per_minute: int | None = None
    # Requests at once. MOST_CONCURRENT is what one item in DynamoDB can hold.
    concurrent: int | None = None
    # Tokens in and out, of all requests of a day.
    tokens_per_day: int | None = None
    # Under a budget in dollars, models without a price are refused, and so is what nothing bounds (hosted tools).
    usd_per_day: Usd | None = None
    usd_per_month: Usd | None = None
    # Limits that are counted, logged and shown, and never refuse: ("usd_per_day",). To try a limit before it holds.
    observe: tuple[str, ...] = ()
    # The share of a day's or a month's limit at which the alarms' topic is told, once per window: 0.8. None tells nobody.
    warn_at: float | None = None
    # What requests are booked under in records, log and reports: {"project": "atlas"}. No caller can change them.
    labels: Mapping[str, str] = field(default_factory=dict)


def encoded(terms: Terms, **own: Any) -> dict[str, Any]:
    """The fields by the relay's names, with `own` after the figures."""
    figures: dict[str, Any] = {short: getattr(terms, name) for name, short in SETTINGS.items()}
    observe = [SETTINGS[name] for name in terms.observe]
    labels = dict(sorted(terms.labels.items()))
    return {**figures, **own, "observe": observe, "warn_at": terms.warn_at, "labels": labels}


def problems(place: str, terms: Terms) -> Iterator[str]:
    """One line for each field of Terms with a value that is not allowed."""
    for name, most in (("requests_per_minute", None), ("concurrent", MOST_CONCURRENT), ("tokens_per_day", None)):
        yield from count_problems(f"{place}.{name}", getattr(terms, name), 1, most)
    for name in ("usd_per_day", "usd_per_month"):
        value = getattr(terms, name)
        if value is not None and not is_amount(value):
            yield (
                f"{place}.{name} is {value!r}; allowed: US dollars such as 5 or '0.25' or 2.5, with at most "
                f"{MOST_DECIMALS} decimals, or None"
            )
    share = terms.warn_at
    if share is not None and (not is_amount(share) or not 0 < Decimal(str(share)) <= 1):
        yield f"{place}.warn_at is {share!r}; allowed: a share such as 0.8, above 0 and at most 1, or None"
    yield from _observe_problems(place, terms)
    yield from _label_problems(f"{place}.labels", terms.labels)


def count_problems(place: str, value: object, least: int, most: int | None) -> Iterator[str]:
    """One line when `value` is neither None nor a whole number from `least` to `most`."""
    if value is not None and not whole(least, most or 10**15)(value):
        limits = f"a whole number from {least} to {most}" if most else f"a whole number of at least {least}"
        yield f"{place} is {value!r}; allowed: {limits}, or None"


def too_many_labels(labels: Mapping[str, str]) -> bool:
    """Whether one caller cannot have so many, or such long ones."""
    text = ",".join(f"{name}={value}" for name, value in labels.items())
    return len(labels) > MOST_LABELS or len(text) > LABELS_LENGTH


def is_amount(value: object) -> bool:
    """Whether `value` is an amount in US dollars, exactly."""
    try:
        number = Decimal(str(value)) if type(value) in (int, float, str) else Decimal("nan")
    except InvalidOperation:
        return False
    return number.is_finite() and 0 <= number < 10**9 and number == round(number, MOST_DECIMALS)


def _observe_problems(place: str, terms: Terms) -> Iterator[str]:
    if not isinstance(terms.observe, tuple) or not all(name in SETTINGS for name in terms.observe):
        yield f"{place}.observe is {terms.observe!r}; allowed: a tuple of {', '.join(SETTINGS)}"
        return
    for name in terms.observe:
        if getattr(terms, name) is None:
            yield f"{place}.observe has {name!r}, which has no figure; allowed: limits that are set beside it"


def _label_problems(place: str, labels: object) -> Iterator[str]:
    if not isinstance(labels, Mapping):
        yield f"{place} is {labels!r}; allowed: a mapping such as {{'project': 'atlas'}}"
        return
    for name, text in labels.items():
        if not matches(r"[a-z][a-z0-9_]{0,23}")(name):
            yield f"{place} has {name!r}; allowed: 1 to 24 lower-case letters, digits, underscores, a letter first"
        if not matches(r"[A-Za-z0-9._:/@+-]{1,48}")(text):
            yield f"{place}[{name!r}] is {text!r}; allowed: 1 to 48 letters, digits or . _ : / @ + -"
    if all(isinstance(text, str) for text in labels.values()) and too_many_labels(labels):
        yield f"{place} has {len(labels)}; allowed: at most {MOST_LABELS} with {LABELS_LENGTH} characters together"
