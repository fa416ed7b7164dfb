"""Who may do what: the configured policies, and which of them is a caller's. Pure.

A policy is found by what AWS verified of a caller and never by what the caller can choose: neither a session name
nor a header takes part. What is found here are figures; whether they hold is for the ledger to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Unit
from relay.frozen import Frozen
from relay.models import Caller
from relay.pricing.money import AmountError, Written, amount

LEAST_OUTPUT_CAP = 16
"""The least that OpenAI takes for `max_output_tokens`. A smaller cap would make every request to /v1/responses a 400.
Source: platform.openai.com/docs/api-reference/responses/create."""


class PolicyError(ValueError):
    """Invalid policy. The text names the place and what would be right there."""


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


_KINDS = {kind.setting: kind for kind in LIMIT_KINDS}
_FIELDS = {"models", "output_cap", *_KINDS}


def parse(text: str) -> Policies:
    """The policies written in `text` (JSON); an empty text is one unlimited default. Raises PolicyError.

    {"default": {...} | "refuse", "rules": {"123456789012:role/ci-*": {...} | "refuse", ...}}, each policy with any
    of models, output_cap and the settings of LIMIT_KINDS (rpm, usd_day, ...). A rule says what differs from the
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
    limits = {
        kind.name: _figure(kind, fields[setting], f"{place}.{setting}")
        for setting, kind in _KINDS.items()
        if setting in fields
    }
    policy = base.changed(name=name, limits=base.limits.changed(**limits))
    if "models" in fields:
        policy = policy.changed(models=_models(fields["models"], f"{place}.models"))
    if "output_cap" in fields:
        policy = policy.changed(output_cap=_count(fields["output_cap"], f"{place}.output_cap", least=LEAST_OUTPUT_CAP))
    return policy


def _figure(kind: LimitKind, value: object, place: str) -> int | None:
    """The figure of one kind of limit; null lifts it as far as it can be."""
    if value is None:
        return kind.most
    if kind.unit is Unit.USD:
        try:
            return amount(value, place)
        except AmountError as error:
            raise PolicyError(str(error)) from None
    figure = _count(value, place)
    if figure is not None and kind.most is not None and figure > kind.most:
        raise PolicyError(f"{place}: at most {kind.most}: one item in DynamoDB holds them all")
    return figure


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
