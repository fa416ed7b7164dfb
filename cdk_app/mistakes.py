"""Values whose fields may be misspelt or forgotten without a traceback: the mistakes are kept, to be told with the others.

`environments.py` is code that people edit. What a dataclass would answer with a TypeError from the middle of an import
becomes one line beside those about values that are not allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T", bound="Noted")


class Missing:
    """Stands for the value of a field that has no default and was not given. Nothing is allowed for it."""

    def __repr__(self) -> str:
        return "missing"


class Noted:
    """The base of configuration values. `mistakes` is no field: it takes no part in equality, replace() or asdict()."""

    __slots__ = ("mistakes",)
    mistakes: tuple[str, ...]


def noted(cls: type[T]) -> type[T]:
    """Make a keyword-only dataclass keep unknown and forgotten fields in `mistakes` instead of raising TypeError."""
    create: Callable[..., None] = cls.__init__

    def __init__(self: T, *positional: object, **given: object) -> None:  # noqa: N807 - replaces the dataclass's own
        known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
        lines = [_unknown(name, cls.__name__, known) for name in given if name not in known]
        if positional:
            lines.append(f"{positional[0]!r} has no name; allowed: {cls.__name__}(FIELD=value, ...)")
        required = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
        values: dict[str, Any] = {name: Missing() for name in required} | {n: v for n, v in given.items() if n in known}
        create(self, **values)
        object.__setattr__(self, "mistakes", tuple(lines))

    cls.__init__ = __init__  # type: ignore[assignment]
    return cls


def of(value: Noted, place: str = "") -> Iterator[str]:
    """One line for each unknown field; `place` is where the value stands, such as "alarms."."""
    return (f"{place}{line}" for line in value.mistakes)


def _unknown(name: str, owner: str, known: Mapping[str, object]) -> str:
    similar = difflib.get_close_matches(name, known, n=1, cutoff=0.55) or [k for k in known if k.startswith(name)]
    cure = f"did you mean {similar[0]}?" if similar else f"allowed: {', '.join(known)}"
    return f"{name} is not a field of {owner}; {cure}"
