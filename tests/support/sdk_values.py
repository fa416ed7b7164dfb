"""Every value of a request that openai-python's types know, one at a time: the least request, and one thing more in it.

Made from the types alone: each literal, each variant of a union, each field of each object once, beside what is required.
"""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Iterator
from typing import Any, NotRequired, Required

from openai._types import FileTypes
from typing_extensions import get_type_hints, is_typeddict

FILE = object()
"""Stands for a file of a form."""

_FILES = typing.get_args(FileTypes)
_DEEPEST = 12


def requests(spec: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each request of the type `spec` with the name of the field at its top that is the one thing more."""
    least = _least(spec, ())
    for name, kind in get_type_hints(spec).items():
        for value in values(kind, (spec,)):
            yield name, {**least, name: value}


def values(kind: Any, above: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Values of the type `kind`. A type that stands in itself is not entered again."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind == FileTypes or (arguments and set(_FILES) <= set(arguments)):
        yield FILE
        for argument in arguments:
            if argument not in _FILES:
                yield from values(argument, above)
    elif origin in (Required, NotRequired):
        yield from values(arguments[0], above)
    elif origin is typing.Literal:
        yield from arguments
    elif is_typeddict(kind):
        yield from _objects(kind, above)
    elif origin is dict or origin is collections.abc.Mapping:
        # A tool that is chosen is an object of any fields to the types, and to OpenAI one with a type.
        name = "type" if arguments[1] is object else "k"
        yield from ({name: value} for value in values(arguments[1], above))
    elif origin is not None and _is_list(kind, origin):
        yield []
        yield from ([value] for value in values(arguments[0], above))
    elif arguments:
        for argument in arguments:
            yield from values(argument, above)
    else:
        yield from _plain(kind)


def _is_list(kind: Any, origin: Any) -> bool:
    return origin in (list, collections.abc.Iterable, collections.abc.Sequence) or "Sequence" in str(kind).split("[")[0]


def _objects(kind: Any, above: tuple[Any, ...]) -> Iterator[Any]:
    if kind in above or len(above) > _DEEPEST:
        return
    least = _least(kind, above)
    yield least
    for name, field in get_type_hints(kind).items():
        for value in values(field, (*above, kind)):
            if least.get(name, FILE) != value:
                yield {**least, name: value}


def _least(kind: Any, above: tuple[Any, ...]) -> dict[str, Any]:
    """The object with what it has to have and nothing more."""
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    origins: dict[str, Any] = {name: typing.get_origin(hint) for name, hint in hints.items()}
    # Not `__required_keys__`, which misses what is written as text (`from __future__ import annotations`).
    required = [name for name, origin in origins.items() if origin is Required]
    return {name: next(values(hints[name], (*above, kind)), None) for name in required}


def _plain(kind: Any) -> Iterator[Any]:
    if kind is str:
        yield "x"
    elif kind is int:
        yield from (1, 16)
    elif kind is float:
        yield 0.5
    elif kind is bool:
        yield from (True, False)
    elif kind is type(None):
        yield None
    elif kind is object:
        yield "function"
    else:
        raise TypeError(f"no value of {kind!r} is known")
