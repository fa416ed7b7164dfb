"""What each caller may use and spend, as typed values, and what is allowed for them. Knows nothing of the CDK.

The relay reads the same from one variable of its process and checks it again; a test holds both checks equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from cdk_app import mistakes
from cdk_app.config import terms
from cdk_app.config.rules import CALLER_PATTERN, LEAST_OUTPUT_TOKENS
from cdk_app.config.terms import Terms, Usd, is_amount
from cdk_app.options.checks import matches


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPolicy(Terms):
    """What one caller may do, beside the limits of Terms. Each caller is counted on its own."""

    # Beside the environment's own list (`requests.models`); None allows all of those.
    models: tuple[str, ...] | None = None
    # Tokens. The most that one response may be long. The lower it is, the less of a budget a request holds while it runs.
    output_cap: int | None = None
    # The name of a group of `CallerPolicies.groups`: a request has to keep the group's limits, too.
    group: str | None = None


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class CallerGroup(Terms):
    """A team: limits that hold for all its members together. Its labels are its members', unless they have others."""


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPolicies(mistakes.Noted):
    """The default and the exceptions from it, tried in order, and the groups that they name.

    Patterns are ACCOUNT:role/NAME, ACCOUNT:user/PATH/NAME or ACCOUNT:*, where * stands for any text, as in
    "123456789012:role/ci-*" or "*:user/*"; key:NAME for holders of keys and oidc:ALIAS:SUBJECT for those of tokens, which no
    other pattern matches. "refuse" lets a caller use nothing.
    """

    default: CallerPolicy | Literal["refuse"] = CallerPolicy()
    rules: Mapping[str, CallerPolicy | Literal["refuse"]] = field(default_factory=dict)
    groups: Mapping[str, CallerGroup] = field(default_factory=dict)

    @property
    def terms(self) -> list[Terms]:
        """Of all policies that do not refuse, and of all groups."""
        return [one for one in (self.default, *self.rules.values(), *self.groups.values()) if isinstance(one, Terms)]


Prices = Mapping[str, Mapping[str, Any]]
"""Models whose price differs from the relay's own list, in its format: {"gpt-6-luna": {"input": 0.25, "output": 2}}."""

# The relay's own list: data that both sides read.
_PRICES = Path(__file__).resolve().parent.parent.parent / "lambda_src" / "relay" / "pricing" / "prices.json"

_GROUP = r"[a-z0-9][a-z0-9_-]{0,23}"
_RATES = {
    *("input", "cached_input", "cache_write", "cache_write_12h", "audio_input", "image_input"),
    *("output", "audio_output", "image_output", "character", "second", "request"),
}
_FIGURES = {"context", "max_output", "image_tokens", "output_per_image", "long_above", "long_input", "long_output"}


def encoded(policies: CallerPolicies) -> str:
    """As the relay reads it, short because all of a function's variables have 4 KB together: a rule says only what
    differs from the default."""
    base = {} if policies.default == "refuse" else _fields(policies.default)
    default = "refuse" if policies.default == "refuse" else _given(base)
    rules = {
        pattern: "refuse"
        if rule == "refuse"
        else {name: value for name, value in _fields(rule).items() if value != base.get(name) and (value or base)}
        for pattern, rule in policies.rules.items()
    }
    groups = {name: _given(terms.encoded(group)) for name, group in policies.groups.items()}
    parts = {"default": default, **({"rules": rules} if rules else {}), **({"groups": groups} if groups else {})}
    return json.dumps(parts, separators=(",", ":"))


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value not in ([], {})}


def encoded_prices(prices: Prices) -> str:
    """As the relay reads it; "" for none."""
    return json.dumps({"models": prices}, separators=(",", ":")) if prices else ""


def problems(policies: CallerPolicies) -> Iterator[str]:
    """One line for each field that is unknown or has a value that is not allowed."""
    yield from mistakes.of(policies, "callers.")
    if not isinstance(policies.rules, Mapping):
        yield f"callers.rules is {policies.rules!r}; allowed: a mapping of patterns to policies"
        return
    if policies.default != "refuse":
        yield from _one_policy("default", policies.default)
    for pattern, rule in policies.rules.items():
        if not matches(CALLER_PATTERN)(pattern):
            yield (
                f"callers.rules has {pattern!r}; allowed: ACCOUNT:role/NAME, ACCOUNT:user/NAME, ACCOUNT:*, "
                "key:NAME or oidc:ALIAS:SUBJECT, where * stands for any text"
            )
        if rule != "refuse":
            yield from _one_policy(f"rules[{pattern!r}]", rule)
    yield from _group_problems(policies)


def _group_problems(policies: CallerPolicies) -> Iterator[str]:
    if not isinstance(policies.groups, Mapping):
        yield f"callers.groups is {policies.groups!r}; allowed: a mapping of names to CallerGroup(...)"
        return
    for name, group in policies.groups.items():
        if not matches(_GROUP)(name):
            yield (
                f"callers.groups has {name!r}; allowed: 1 to 24 lower-case letters, digits, hyphens and underscores, a "
                "letter or digit first"
            )
        if isinstance(group, CallerGroup):
            yield from mistakes.of(group, f"callers.groups[{name!r}].")
            yield from terms.problems(f"callers.groups[{name!r}]", group)
        else:
            yield f"callers.groups[{name!r}] is {group!r}; allowed: CallerGroup(...)"


def price_problems(prices: Prices) -> Iterator[str]:
    """One line for each price that is not allowed."""
    if not isinstance(prices, Mapping):
        yield f"prices is {prices!r}; allowed: a mapping of models to prices"
        return
    for model, entry in prices.items():
        tiers = entry.get("tiers", {}) if isinstance(entry, Mapping) else {}
        for tier, rates in [("", entry), *(tiers.items() if isinstance(tiers, Mapping) else [("tiers", tiers)])]:
            place = f"prices[{model!r}]" + (f".tiers.{tier}" if tier else "")
            if not isinstance(rates, Mapping):
                yield f"{place} is {rates!r}; allowed: a mapping such as {{'input': 1, 'output': 8}}"
                continue
            if not _RATES & rates.keys():
                yield f"{place} has no price; allowed: at least one of {', '.join(sorted(_RATES))}"
            for name, value in rates.items():
                if name in _RATES and not is_amount(value):
                    yield f"{place}.{name} is {value!r}; allowed: US dollars for a million, such as 2 or '0.25'"
                elif name in _FIGURES and (type(value) is not int or value < 0 or tier):
                    yield f"{place}.{name} is {value!r}; allowed: a whole number, beside the default tier's prices"
                elif name == "shutdown" and not tier:
                    if not matches(r"(\d{4}-\d{2}-\d{2})?")(value):
                        yield f"{place}.shutdown is {value!r}; allowed: a day such as '2027-01-14'"
                elif name == "snapshots" and not tier:
                    if not isinstance(value, list | tuple) or not all(map(matches(r"\d{4}-\d{2}-\d{2}"), value)):
                        yield f"{place}.snapshots is {value!r}; allowed: a list of days such as '2025-08-07'"
                elif name not in _RATES | _FIGURES | ({"tiers"} if not tier else set()):
                    allowed = ", ".join(sorted(_RATES | _FIGURES))
                    yield f"{place} has {name!r}; allowed: {allowed}, shutdown, snapshots, tiers"


def unpriced(policies: CallerPolicies, models: Sequence[str], prices: Prices) -> list[str]:
    """The named models without a price that callers with a budget in dollars may use."""
    known = _price_list(prices)
    budgeted = [policy for policy in (policies.default, *policies.rules.values()) if _has_budget(policy, policies)]
    named = {model for policy in budgeted for model in (_models(policy) or models)}
    return sorted(model for model in named if _entry(model, known) is None)


def endings(models: Iterable[str] | None, prices: Prices) -> dict[str, date]:
    """The day on which each of `models` (None: of all that have a price) ends, where the list or `prices` announce one."""
    shipped, known = _price_list({}), _price_list(prices)
    days = {}
    for model in known if models is None else models:
        entries = (_entry(model, known), _entry(model, shipped))
        days[model] = next((entry["shutdown"] for entry in entries if entry and entry.get("shutdown")), "")
    return {model: date.fromisoformat(day) for model, day in days.items() if day}


def least_cost(models: Sequence[str], tokens: int, prices: Prices) -> Decimal | None:
    """US dollars for `tokens` tokens of output, or the most that a model gives, with the cheapest of `models`.

    None when none of them has a price.
    """
    known = _price_list(prices)
    entries = [entry for entry in (_entry(model, known) for model in models) if entry is not None]
    costs = [
        Decimal(str(entry.get("output", 0))) * min(tokens, entry.get("max_output", tokens)) / 1_000_000
        for entry in entries
    ]
    return min(costs, default=None)


def dollars(amount: Usd | None) -> Decimal | None:
    """The amount as a number that is exact; None for no limit."""
    return None if amount is None else Decimal(str(amount))


def _price_list(prices: Prices) -> dict[str, Mapping[str, Any]]:
    """The release's entries by model, replaced and added to as the relay does it (relay.pricing.prices)."""
    shipped: dict[str, Mapping[str, Any]] = json.loads(_PRICES.read_text(encoding="utf-8"))["models"]
    days = {name: {"snapshots": shipped[name]["snapshots"]} for name in shipped if "snapshots" in shipped[name]}
    return {**shipped, **{name: {**days.get(name, {}), **entry} for name, entry in prices.items()}}


def _entry(model: str, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """A model's entry, or the one that names it as a dated snapshot."""
    name = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
    family, day = known.get(name[:-11]), name[-10:]
    return known.get(name) or (family if family and day in family.get("snapshots", ()) else None)


def _has_budget(policy: CallerPolicy | Literal["refuse"], policies: CallerPolicies) -> bool:
    """Whether the caller or its group has a limit in dollars that refuses."""
    if policy == "refuse":
        return False
    group = policies.groups.get(policy.group or "")
    budgets = [(each, name) for each in (policy, group) if each for name in ("usd_per_day", "usd_per_month")]
    return any(getattr(each, name) is not None and name not in each.observe for each, name in budgets)


def _models(policy: CallerPolicy | Literal["refuse"]) -> tuple[str, ...]:
    return () if policy == "refuse" else policy.models or ()


def _fields(policy: CallerPolicy) -> dict[str, Any]:
    return {"models": policy.models, **terms.encoded(policy, output_cap=policy.output_cap, group=policy.group)}


def _one_policy(place: str, policy: object) -> Iterator[str]:
    if isinstance(policy, CallerPolicy):
        yield from mistakes.of(policy, f"callers.{place}.")
        yield from _policy_problems(f"callers.{place}", policy)
    else:
        yield f"callers.{place} is {policy!r}; allowed: CallerPolicy(...) or 'refuse'"


def _policy_problems(place: str, policy: CallerPolicy) -> Iterator[str]:
    yield from terms.problems(place, policy)
    yield from terms.count_problems(f"{place}.output_cap", policy.output_cap, LEAST_OUTPUT_TOKENS, None)
    models = policy.models
    if models is not None and not (
        isinstance(models, tuple) and models and all(isinstance(model, str) and model for model in models)
    ):
        yield f"{place}.models is {models!r}; allowed: a tuple of model names, or None for all"
