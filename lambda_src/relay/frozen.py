"""What the relay's nouns are made of: a value has named fields and never changes. Pure.

Classes of values are written as frozen, keyword-only dataclasses are, and type checkers read them as such (PEP 681).
Nothing is generated for them: `dataclass` writes, compiles and runs a constructor and six other methods for each class,
and does so again at every cold start, which took more than a fifth of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Never, NoReturn, Self, dataclass_transform

EMPTY: Mapping[str, Never] = MappingProxyType({})
"""The empty mapping, as a default."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Frozen:
    """Its fields are the annotated names of the class, with their defaults. Equal when class and all fields are equal.

    A default is shared by all values of a class, so it must not be changed either.
    """

    _fields: ClassVar[dict[str, Any]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls._fields = cls._fields | own
        cls._defaults = cls._defaults | {name: cls.__dict__[name] for name in own if name in cls.__dict__}

    def __init__(self, **given: Any) -> None:
        fields = self._defaults | given
        if fields.keys() != self._fields.keys():
            wrong = ", ".join(sorted(fields.keys() ^ self._fields.keys()))
            raise TypeError(f"{type(self).__name__}: missing or unknown: {wrong}")
        object.__setattr__(self, "__dict__", fields)

    def changed(self, **changes: Any) -> Self:
        """A new value with these fields in place of its own."""
        return type(self)(**{**vars(self), **changes})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(frozenset(vars(self).items()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"

    def __setattr__(self, name: str, held: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} never changes")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} never changes")
