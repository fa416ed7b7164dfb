"""Who may do what: the configured policies, and which of them is a caller's. Pure.

A policy is found by what AWS verified of a caller and never by what the caller can choose: neither a session name
nor a header takes part. What is found here are figures; whether they hold is for the ledger to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from relay.frozen import Frozen
from relay.models import Caller

PICO = 10**12
"""One US dollar. Amounts are integers of 1e-12 USD: a token of the cheapest model costs some 2,500 of them, so that
no price is ever rounded and sums stay exact in DynamoDB's 38 digits."""

LEAST_OUTPUT_CAP = 16
"""The least that OpenAI takes for `max_output_tokens`. A smaller cap would make every request to /v1/responses a 400.
Source: platform.openai.com/docs/api-reference/responses/create."""

MOST_CONCURRENT = 500
"""A reservation takes some 150 bytes of the caller's one item and its record 350 more until it is moved out of it;
500 of both are 250 KB of the 400 KB that DynamoDB allows."""


class PolicyError(ValueError):
    """A policy that cannot be meant. The text names the place and what would be right there."""


class Written:
    """A number with a fraction as JSON writes it. Its text is kept, because a float would round it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


class Limits(Frozen):
    """The figures of one caller. None is "no limit". Amounts of money are in pico-USD; days and months are UTC's."""

    requests_per_minute: int | None = None
    concurrent: int = MOST_CONCURRENT
    tokens_per_day: int | None = None
    usd_per_day: int | None = None
    usd_per_month: int | None = None

    @property
    def in_tokens(self) -> bool:
        """Whether a bound in tokens has to be known before a request can be admitted."""
        return self.tokens_per_day is not None or self.in_usd

    @property
    def in_usd(self) -> bool:
        """Whether a bound in money has to be known before a request can be admitted."""
        return self.usd_per_day is not None or self.usd_per_month is not None


class Policy(Frozen):
    """What one caller may do. `models` None means every model that the environment allows."""

    name: str = "default"
    models: frozenset[str] | None = None
    output_cap: int | None = None
    limits: Limits = Limits()

    def allows(self, model: str) -> bool:
        """Whether the caller may use `model`, spelt exactly as configured."""
        return self.models is None or model in self.models


class Policies(Frozen):
    """All policies of an environment: the first rule that matches a caller counts, else the default; None refuses."""

    rules: tuple[tuple[str, Policy | None], ...] = ()
    default: Policy | None = Policy()

    def of(self, caller: Caller) -> Policy | None:
        """The policy of `caller`, or None when it is to be refused."""
        name = subject(caller)
        return next((policy for pattern, policy in self.rules if fnmatchcase(name, pattern)), self.default)


def subject(caller: Caller) -> str:
    """What patterns are matched against and operators are shown: "123456789012:role/ci-deploy".

    Session and federation names are left out: whoever assumes the role or asks for the token chooses them. A
    user's path is kept. Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html.
    """
    parts = caller.arn.split(":", 5)
    resource = parts[5] if len(parts) == 6 else ""
    kind, _, name = resource.partition("/")
    match kind:
        case "assumed-role":
            return f"{caller.account}:role/{name.partition('/')[0]}"
        case "user":
            return f"{caller.account}:user/{name}"
        case "root" | "federated-user":
            return f"{caller.account}:{kind}"
    return f"{caller.account}:other"


_FIGURES = {"rpm": "requests_per_minute", "concurrent": "concurrent", "tokens_day": "tokens_per_day"}
_MONEY = {"usd_day": "usd_per_day", "usd_month": "usd_per_month"}
_FIELDS = {"models", "output_cap", *_FIGURES, *_MONEY}


def parse(text: str) -> Policies:
    """The policies written in `text` (JSON); an empty text is one unlimited default. Raises PolicyError.

    {"default": {...} | "refuse", "rules": {"123456789012:role/ci-*": {...} | "refuse", ...}}, each policy with any
    of models, rpm, concurrent, tokens_day, usd_day, usd_month, output_cap. A rule says what differs from the
    default; null lifts a limit. Rules are tried in the order in which they are written.
    """
    if not text.strip():
        return Policies()
    try:
        root = json.loads(text, parse_float=Written)
    except ValueError as error:
        raise PolicyError(f"policies: not JSON: {error}") from None
    _only(root, {"default", "rules"}, "policies")
    default = _policy(root.get("default", {}), Policy(), "default")
    rules = root.get("rules", {})
    if not isinstance(rules, dict):
        raise PolicyError("policies.rules: must be an object of pattern: policy")
    return Policies(
        default=default,
        rules=tuple(
            (_pattern(pattern), _policy(value, default or Policy(), pattern)) for pattern, value in rules.items()
        ),
    )


def amount(value: object, place: str) -> int:
    """`value` US dollars in pico-USD. Takes what JSON or a command line may hold: 5, Written("0.25"), "0.25"."""
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
        raise PolicyError(f"{place}: must be an amount in US dollars such as 12.50")
    return int(dollars * PICO)


def _pattern(pattern: str) -> str:
    account, colon, name = pattern.partition(":")
    known = name == "*" or name in ("root", "federated-user", "other") or name.startswith(("role/", "user/"))
    if not colon or not account or not known or set(pattern) & set("[]"):
        raise PolicyError(
            f"policies.rules: {pattern!r}: must be ACCOUNT:role/NAME, ACCOUNT:user/NAME or ACCOUNT:*, "
            "where * stands for any text"
        )
    return pattern


def _policy(value: object, base: Policy, name: str) -> Policy | None:
    place = f"policies[{name!r}]"
    if value == "refuse":
        return None
    fields = _only(value, _FIELDS, place)
    limits: dict[str, Any] = {_FIGURES[key]: _count(fields[key], f"{place}.{key}") for key in _FIGURES if key in fields}
    limits |= {
        _MONEY[key]: None if fields[key] is None else amount(fields[key], f"{place}.{key}")
        for key in _MONEY
        if key in fields
    }
    if limits.get("concurrent", 0) is None:
        limits["concurrent"] = MOST_CONCURRENT
    if limits.get("concurrent", 0) > MOST_CONCURRENT:
        raise PolicyError(f"{place}.concurrent: at most {MOST_CONCURRENT}: one item in DynamoDB holds them all")
    policy = base.changed(name=name, limits=base.limits.changed(**limits))
    if "models" in fields:
        policy = policy.changed(models=_models(fields["models"], f"{place}.models"))
    if "output_cap" in fields:
        policy = policy.changed(output_cap=_count(fields["output_cap"], f"{place}.output_cap", least=LEAST_OUTPUT_CAP))
    return policy


def _only(value: object, known: set[str], place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(f'{place}: must be an object or "refuse"')
    unknown = sorted(set(value) - known)
    if unknown:
        raise PolicyError(f"{place}: {unknown[0]!r} is not known here; known are {', '.join(sorted(known))}")
    return value


def _count(value: object, place: str, least: int = 1) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PolicyError(f"{place}: must be a whole number of at least {least}, or null for no limit")
    return value


def _models(value: object, place: str) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        raise PolicyError(f"{place}: must be a list of model names, or null for all")
    return frozenset(value)
