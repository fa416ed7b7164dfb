"""Whether a value is one that a field allows: the few kinds of checks of which all others are made."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import get_args

Check = Callable[[object], bool]


def whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def number(low: float, high: float) -> Check:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type,operator]


def matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def optional(rule: Check) -> Check:
    return lambda value: value is None or rule(value)


def one_of(literal: object) -> Check:
    return lambda value: value in get_args(literal) and type(value) is not bool


def is_network(text: object) -> bool:
    """Whether WAF takes it: every prefix length but zero. docs.aws.amazon.com/waf/latest/APIReference/API_IPSet.html."""
    try:
        return isinstance(text, str) and "/" in text and ipaddress.ip_network(text).prefixlen > 0
    except ValueError:
        return False
