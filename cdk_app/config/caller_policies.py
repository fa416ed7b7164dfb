"""What each caller may use and spend, as typed values, and what is allowed for them. Knows nothing of the CDK.

The relay reads the same from one variable of its process and checks it again; a test holds both checks together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

Usd = int | str
"""US dollars: 5, or "0.25". Not a float: a budget of 0.1 + 0.2 is nobody's intention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPolicy:
    """One caller's limits; None is no limit. Days and months are UTC's. Each caller is counted on its own."""

    # Beside the environment's own list (`requests.models`); None allows all of those.
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    # Requests at once. 500 is the most that one item in DynamoDB can hold.
    concurrent: int | None = None
    # Tokens in and out.
    tokens_per_day: int | None = None
    # Under a budget in dollars, models without a price are refused, and so is what nothing bounds (hosted tools).
    usd_per_day: Usd | None = None
    usd_per_month: Usd | None = None
    # The most that one answer may be long. The lower it is, the less of a budget a request holds while it runs.
    output_cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPolicies:
    """The default and the exceptions from it, tried in order.

    Patterns are ACCOUNT:role/NAME, ACCOUNT:user/PATH/NAME or ACCOUNT:*, where * stands for any text, as in
    "123456789012:role/ci-*" or "*:user/*". "refuse" lets a caller use nothing.
    """

    default: CallerPolicy | Literal["refuse"] = CallerPolicy()
    rules: Mapping[str, CallerPolicy | Literal["refuse"]] = field(default_factory=dict)


Prices = Mapping[str, Mapping[str, Any]]
"""Models whose price differs from the relay's own list, in its format: {"gpt-5-mini": {"input": 0.25, "output": 2}}."""

# The relay's own list: data that both sides read.
_PRICES = Path(__file__).resolve().parent.parent.parent / "lambda_src" / "relay" / "limits" / "prices.json"

_SHORT = {
    "requests_per_minute": "rpm",
    "tokens_per_day": "tokens_day",
    "usd_per_day": "usd_day",
    "usd_per_month": "usd_month",
}
_PATTERN = r"[\d*]{1,12}:(\*|root|federated-user|other|role/[\w+=,.@*?-]+|user/[\w+=,.@/*?-]+)"
_RATES = {
    *("input", "cached_input", "cache_write", "audio_input", "image_input", "output", "audio_output", "image_output"),
    *("character", "request"),
}
_FIGURES = {"context", "max_output", "image_tokens", "output_per_image", "long_above", "long_input", "long_output"}


def encoded(policies: CallerPolicies) -> str:
    """As the relay reads it, short because all of a function's variables have 4 KB together: a rule says only what
    differs from the default."""
    base = {} if policies.default == "refuse" else _fields(policies.default)
    default = "refuse" if policies.default == "refuse" else {name: v for name, v in base.items() if v is not None}
    rules = {
        pattern: "refuse"
        if rule == "refuse"
        else {name: value for name, value in _fields(rule).items() if value != base.get(name)}
        for pattern, rule in policies.rules.items()
    }
    return json.dumps({"default": default, **({"rules": rules} if rules else {})}, separators=(",", ":"))


def encoded_prices(prices: Prices) -> str:
    """As the relay reads it; "" for none."""
    return json.dumps({"models": prices}, separators=(",", ":")) if prices else ""


def problems(policies: CallerPolicies) -> Iterator[str]:
    """One line for each value that is not allowed."""
    if policies.default != "refuse":
        yield from _policy_problems("default", policies.default)
    for pattern, rule in policies.rules.items():
        if not re.fullmatch(_PATTERN, pattern):
            yield (
                f"callers.rules has {pattern!r}; allowed: ACCOUNT:role/NAME, ACCOUNT:user/NAME or ACCOUNT:*, "
                "where * stands for any text"
            )
        if rule != "refuse":
            yield from _policy_problems(f"rules[{pattern!r}]", rule)


def price_problems(prices: Prices) -> Iterator[str]:
    """One line for each price that is not allowed."""
    for model, entry in prices.items():
        for tier, rates in [("", entry), *entry.get("tiers", {}).items()]:
            place = f"prices[{model!r}]" + (f".tiers.{tier}" if tier else "")
            if not _RATES & rates.keys():
                yield f"{place} has no price; allowed: at least one of {', '.join(sorted(_RATES))}"
            for name, value in rates.items():
                if name in _RATES and not _is_amount(value):
                    yield f"{place}.{name} is {value!r}; allowed: US dollars for a million, such as 2 or '0.25'"
                elif name in _FIGURES and (type(value) is not int or value < 0 or tier):
                    yield f"{place}.{name} is {value!r}; allowed: a whole number, beside the default tier's prices"
                elif name not in _RATES | _FIGURES | ({"tiers"} if not tier else set()):
                    yield f"{place} has {name!r}; allowed: {', '.join(sorted(_RATES | _FIGURES))}, tiers"


def unpriced(policies: CallerPolicies, models: Sequence[str], prices: Prices) -> list[str]:
    """The named models that somebody with a budget in dollars may ask for, and that have no price."""
    known = {*json.loads(_PRICES.read_text(encoding="utf-8"))["models"], *prices}
    budgeted = [policy for policy in (policies.default, *policies.rules.values()) if _has_budget(policy)]
    named = {model for policy in budgeted for model in (_models(policy) or models)}
    # As the relay looks for a price: of the model, or of the family of a dated snapshot.
    return sorted(model for model in named if not _names_of_price(model) & known)


def _names_of_price(model: str) -> set[str]:
    name = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
    return {name, re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name)}


def _has_budget(policy: CallerPolicy | Literal["refuse"]) -> bool:
    return policy != "refuse" and (policy.usd_per_day is not None or policy.usd_per_month is not None)


def _models(policy: CallerPolicy | Literal["refuse"]) -> tuple[str, ...]:
    return () if policy == "refuse" else policy.models or ()


def _fields(policy: CallerPolicy) -> dict[str, Any]:
    return {_SHORT.get(name, name): value for name, value in asdict(policy).items()}


def _policy_problems(place: str, policy: CallerPolicy) -> Iterator[str]:
    for name in ("requests_per_minute", "concurrent", "tokens_per_day", "output_cap"):
        value = getattr(policy, name)
        most = 500 if name == "concurrent" else None
        if value is not None and (type(value) is not int or value < 1 or (most and value > most)):
            limits = f"a whole number from 1 to {most}" if most else "a whole number of at least 1"
            yield f"callers.{place}.{name} is {value!r}; allowed: {limits}, or None"
    for name in ("usd_per_day", "usd_per_month"):
        value = getattr(policy, name)
        if value is not None and not _is_amount(value):
            yield f"callers.{place}.{name} is {value!r}; allowed: US dollars such as 5 or '0.25', or None"
    models = policy.models
    if models is not None and not (
        isinstance(models, tuple) and models and all(isinstance(model, str) and model for model in models)
    ):
        yield f"callers.{place}.models is {models!r}; allowed: a tuple of model names, or None for all"


def _is_amount(value: object) -> bool:
    try:
        return type(value) in (int, str) and Decimal(str(value)).is_finite() and 0 <= Decimal(str(value)) < 10**9
    except InvalidOperation:
        return False
