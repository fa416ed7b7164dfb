"""Policies as they are configured: JSON from one variable of the process. Pure.

Whatever cannot be meant is refused with its place. cdk_app/config checks the same when it writes the variable; a test
holds both sides equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from relay.accounts.account import label_text
from relay.accounts.limit_kinds import LIMIT_KINDS, LimitKind, Limits, Unit
from relay.frozen import EMPTY
from relay.policies.policy import LEAST_OUTPUT_CAP, Group, Policies, Policy, Terms, kind_of
from relay.pricing.money import PICO, AmountError, Written, amount

MOST_LABELS, LABELS_LENGTH = 5, 96
"""Labels of one request; characters of all of them as they are stored ("project=atlas,team=search"), because each open
request holds them in an item of at most 400 KB."""

GROUP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,23}")
LABEL_NAME, LABEL_VALUE = re.compile(r"[a-z][a-z0-9_]{0,23}"), re.compile(r"[A-Za-z0-9._:/@+-]{1,48}")


class PolicyError(ValueError):
    """Invalid policy. The text names the place and what would be right there."""


_KINDS = {kind.setting: kind for kind in LIMIT_KINDS}
_TERMS = {"observe", "warn_at", "labels", *_KINDS}
_FIELDS = {"models", "output_cap", "group", *_TERMS}


def parse(text: str) -> Policies:
    """The policies written in `text` (JSON); an empty text is one unlimited default. Raises PolicyError.

    {"default": {...} | "refuse", "rules": {"123456789012:role/ci-*": {...} | "refuse", ...}, "groups": {"atlas": {...}}},
    each policy with any of models, output_cap, group, labels, observe, warn_at and the settings of LIMIT_KINDS (rpm,
    usd_day, ...); a group has all but the first three. A rule says what differs from the default; null lifts a limit.
    Rules are tried in the order in which they are written.
    """
    if not text.strip():
        return Policies()
    try:
        root = json.loads(text, parse_float=Written)
    except ValueError as error:
        raise PolicyError(f"policies: not JSON: {error}") from None
    _only(root, {"default", "rules", "groups"}, "policies")
    groups = {_group_name(name): _group(name, value) for name, value in _mapping(root, "groups").items()}
    written = root.get("default", {})
    default = _policy(written, Policy(), "default", groups)
    # A rule starts from the default's own labels: those of the default's group belong to its members.
    own = EMPTY if default is None else _labels(written.get("labels"), "policies['default'].labels")
    base = (default or Policy()).changed(labels=own)
    return Policies(
        default=default,
        rules=tuple(
            (_pattern(pattern), _policy(value, base, pattern, groups))
            for pattern, value in _mapping(root, "rules").items()
        ),
    )


_Groups = Mapping[str, tuple[Group, Mapping[str, str]]]
"""Each group, and the labels that its members have unless their rules say others."""


def _mapping(root: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = root.get(name, {})
    if not isinstance(value, dict):
        raise PolicyError(f"policies.{name}: must be an object of {'name' if name == 'groups' else 'pattern'}: policy")
    return value


def _pattern(pattern: str) -> str:
    account, colon, name = pattern.partition(":")
    match kind_of(pattern):
        case "key":
            known = bool(name)
        case "oidc":
            known = all(name.partition(":"))
        case _:
            known = name == "*" or name in ("root", "federated-user", "other") or name.startswith(("role/", "user/"))
    if not colon or not account or not known or set(pattern) & set("[]"):
        raise PolicyError(
            f"policies.rules: {pattern!r}: must be ACCOUNT:role/NAME, ACCOUNT:user/NAME, ACCOUNT:*, key:NAME or "
            "oidc:ALIAS:SUBJECT, where * stands for any text"
        )
    return pattern


def _group_name(name: str) -> str:
    if not GROUP_NAME.fullmatch(name):
        raise PolicyError(
            f"policies.groups: {name!r}: must be 1 to 24 lower-case letters, digits, hyphens and underscores, a letter or "
            "digit first"
        )
    return name


def _group(name: str, value: object) -> tuple[Group, Mapping[str, str]]:
    place = f"policies.groups[{name!r}]"
    fields = _only(value, _TERMS, place)
    return Group(name=name, **_terms(fields, Terms(), place)), _labels(fields.get("labels"), f"{place}.labels")


def _policy(value: object, base: Policy, name: str, groups: _Groups) -> Policy | None:
    place = f"policies[{name!r}]"
    if value == "refuse":
        return None
    fields = _only(value, _FIELDS, place)
    policy = base.changed(name=name, **_terms(fields, base, place))
    if "models" in fields:
        policy = policy.changed(models=_models(fields["models"], f"{place}.models"))
    if "output_cap" in fields:
        policy = policy.changed(output_cap=_count(fields["output_cap"], f"{place}.output_cap", least=LEAST_OUTPUT_CAP))
    if "group" in fields:
        policy = policy.changed(group=_named_group(fields["group"], groups, f"{place}.group"))
    labels = _labels(fields["labels"], f"{place}.labels") if "labels" in fields else base.labels
    if policy.group is not None:
        labels = {**groups[policy.group.name][1], **labels}
    labels = _short_enough(labels, f"{place}.labels")
    return policy.changed(labels=labels, label_text=label_text(labels))


def _named_group(value: object, groups: _Groups, place: str) -> Group | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in groups:
        known = ", ".join(groups) or "none"
        raise PolicyError(f"{place}: must be the name of a group, or null for none; there are: {known}")
    return groups[value][0]


def _terms(fields: Mapping[str, Any], base: Terms, place: str) -> dict[str, Any]:
    """The fields of Terms: what `fields` say, and for the rest what `base` does."""
    figures = {kind.name: base.figure(kind) for kind in LIMIT_KINDS}
    for setting, kind in _KINDS.items():
        if setting in fields:
            figures[kind.name] = _figure(kind, fields[setting], f"{place}.{setting}")
    names = _observed(fields["observe"], figures, f"{place}.observe") if "observe" in fields else base.observed.keys()
    observed = {name: figure for name in names if (figure := figures[name]) is not None}
    limits = Limits().changed(**{name: figure for name, figure in figures.items() if name not in observed})
    warn_at = _share(fields["warn_at"], f"{place}.warn_at") if "warn_at" in fields else base.warn_at
    return {"limits": limits, "observed": observed, "warn_at": warn_at}


def _observed(value: object, figures: Mapping[str, int | None], place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(setting, str) and setting in _KINDS for setting in value):
        raise PolicyError(f"{place}: must be a list of limits: {', '.join(_KINDS)}")
    for setting in value:
        if figures[_KINDS[setting].name] is None:
            raise PolicyError(f"{place}: names {setting!r}, which has no figure here")
    return [_KINDS[setting].name for setting in value]


def _share(value: object, place: str) -> int:
    """A share in 1e-12; null for no warning."""
    if value is None:
        return 0
    try:
        share = amount(value, place)
    except AmountError:
        share = 0
    if not 0 < share <= PICO:
        raise PolicyError(f"{place}: must be a share such as 0.8, above 0 and at most 1, or null for no warning")
    return share


def _labels(value: object, place: str) -> Mapping[str, str]:
    if value is None:
        return EMPTY
    if not isinstance(value, dict):
        raise PolicyError(f"{place}: must be an object of name: text")
    for name, text in value.items():
        if not LABEL_NAME.fullmatch(name):
            raise PolicyError(
                f"{place}: {name!r}: must be 1 to 24 lower-case letters, digits, underscores, a letter first"
            )
        if not isinstance(text, str) or not LABEL_VALUE.fullmatch(text):
            raise PolicyError(f"{place}.{name}: must be 1 to 48 letters, digits or . _ : / @ + -")
    return value


def _short_enough(labels: Mapping[str, str], place: str) -> Mapping[str, str]:
    if len(labels) > MOST_LABELS or len(label_text(labels)) > LABELS_LENGTH:
        raise PolicyError(
            f"{place}: at most {MOST_LABELS} with {LABELS_LENGTH} characters together, the group's included"
        )
    return dict(sorted(labels.items()))


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
