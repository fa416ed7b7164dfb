"""genai-prices as figures: the Python file of data inside the wheel of PyPI's `genai-prices` (licence MIT).

The file is parsed and its literals are read; nothing of it is run. What is written in another way is refused. It keeps models
that have ended and does not say so, so that no model of it counts as served.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import Any

from price_lists.figures import DEFAULT, ListError, Model, Models

MEMBER = "genai_prices/data.py"
_RATES = {
    "input_mtok": ("input", 1),
    "cache_read_mtok": ("cached_input", 1),
    "cache_write_mtok": ("cache_write", 1),
    "input_audio_mtok": ("audio_input", 1),
    "input_image_mtok": ("image_input", 1),
    "output_mtok": ("output", 1),
    "output_audio_mtok": ("audio_output", 1),
    "output_image_mtok": ("image_output", 1),
    "input_mchars": ("character", 1),
    "audio_hours": ("second", 3600),
    "requests_kcount": ("request", 1000),
}


# Searches, which the relay refuses under a budget, and parts of cached prompts; the price by the hour has two names.
_LEFT_OUT = re.compile("(web|storage)_searches_kcount|cache_(audio|image)_read_mtok|input_audio_hours")


class Made(dict[str, Any]):
    """A call in the file, such as ModelPrice(input_mtok=Decimal('2')): its arguments by name, under "" what was called."""


def models(text: str, today: date, names: Iterable[str] = ()) -> Models:
    """OpenAI's models in the file `text`, with the prices of the day `today`: by their ids, and those that it has for `names`.

    Raises ListError.
    """
    try:
        provider = next(_providers(ast.parse(text)))
        entries = _value(next(value for name, value in _arguments(provider) if name == "models"))
        read = [_model(entry, today) for entry in entries]
        found = {entry["id"]: model for entry, model in zip(entries, read, strict=True)}
        for name in names:
            # The end of a fine-tuned model's name says whose it is.
            full = f"{name}:org::id" if name.startswith("ft:") else name
            at = next((at for at, entry in enumerate(entries) if _matches(entry["match"], full)), None)
            if at is not None:
                found[name] = read[at]
    except StopIteration:
        raise ListError("genai-prices has no model of OpenAI's: its layout has changed") from None
    except (
        SyntaxError,
        re.error,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ListError(f"genai-prices cannot be read ({error!r}): its layout has changed") from None
    return found


def _providers(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "Provider":
            given = dict(_arguments(node))
            if isinstance(given.get("id"), ast.Constant) and _value(given["id"]) == "openai":
                yield node


def _arguments(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    return ((each.arg or "", each.value) for each in call.keywords)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _value(node: ast.expr) -> Any:
    """The value of a literal, or of a call of literals."""
    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [_value(each) for each in node.elts]
        case ast.Dict():
            return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
        case ast.Call():
            if _called(node) == "Decimal" and len(node.args) == 1:
                return Fraction(_value(node.args[0]))
            if _called(node) == "date":
                return date(*map(_value, node.args))
            return Made({"": _called(node), **{name: _value(value) for name, value in _arguments(node)}})
    raise ValueError(f"line {node.lineno}: {ast.unparse(node)[:80]}")


def _matches(clause: Made, name: str) -> bool:
    """Whether a model's clause takes `name`, as genai-prices itself decides it."""
    match clause[""]:
        case "ClauseEquals":
            return name == str(clause["equals"]).lower()
        case "ClauseStartsWith":
            return name.startswith(str(clause["starts_with"]).lower())
        case "ClauseEndsWith":
            return name.endswith(str(clause["ends_with"]).lower())
        case "ClauseContains":
            return str(clause["contains"]).lower() in name
        case "ClauseRegex":
            return re.search(clause["regex"], name) is not None
        case "ClauseOr":
            return any(_matches(each, name) for each in clause["or_"])
        case "ClauseAnd":
            return all(_matches(each, name) for each in clause["and_"])
    raise ValueError(f"{clause[''][:40]!r} is no clause")


def _model(entry: Made, today: date) -> Model:
    prices = entry["prices"]
    if isinstance(prices, list):
        # The last that holds today counts, else the first.
        prices = next((each["prices"] for each in reversed(prices) if _holds(each, today)), prices[0]["prices"])
    variants = {DEFAULT: prices}
    for variant in entry.get("price_variants") or []:
        tier = variant["when"].get("service_tier")
        if tier and len(variant["when"]) == 1 and _holds(variant, today):
            variants[tier] = {**prices, **variant["prices"]}
    mark = max((tier["start"] for rates in variants.values() for tier in _steps(rates)), default=None)
    return Model(
        tiers={tier: _rates(rates, long=False) for tier, rates in variants.items()},
        # One price for all sizes is a statement, too.
        long_tiers={tier: _rates(rates, long=True) for tier, rates in variants.items()},
        long_above=mark,
        context=entry.get("context_window"),
        served=False,
        unread=frozenset(
            name
            for rates in variants.values()
            for name in rates
            if name and name not in _RATES and not _LEFT_OUT.fullmatch(name)
        ),
    )


def _holds(conditional: Mapping[str, Any], today: date) -> bool:
    constraint = conditional.get("constraint")
    return constraint is None or (constraint[""] == "StartDateConstraint" and constraint["start_date"] <= today)


def _steps(rates: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for value in rates.values():
        if isinstance(value, Made):
            yield from value["tiers"]


def _rates(prices: Mapping[str, Any], *, long: bool) -> dict[str, Fraction]:
    rates = {}
    for name, (rate, unit) in _RATES.items():
        value = prices.get(name)
        if isinstance(value, Made):
            value = value["tiers"][-1]["price"] if long else value["base"]
        if value is not None:
            rates[rate] = Fraction(value) / unit
    return rates
