"""DynamoDB expressions, put together so that no name or value is ever part of their text. Pure.

Only the grammar that every implementation takes: no arithmetic in conditions, one operator per SET term.
Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from relay.frozen import EMPTY

Body: TypeAlias = dict[str, Any]
"""A request to DynamoDB, or the fields of something stored: its JSON is too varied for a closer type to help."""

Item: TypeAlias = Mapping[str, Any]
"""An item, a response or a request in DynamoDB's JSON, to be read only."""


def encode(value: Any) -> Body:
    """A Python value as an AttributeValue: str, bool, int, and mappings of these."""
    # By exact type, because a request encodes some seventy values: patterns take twice the time.
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is int:
        return {"N": str(value)}
    if kind is bool:
        return {"BOOL": value}
    if isinstance(value, Mapping):
        return {"M": {name: encode(part) for name, part in value.items()}}
    raise TypeError(f"no attribute value for {type(value).__name__}")


def decode(value: Item) -> Any:
    """The Python value of an AttributeValue. Numbers are integers: nothing else is ever stored."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return int(content)
        case "M":
            return {name: decode(part) for name, part in content.items()}
        case "S" | "BOOL":
            return content
    raise TypeError(f"no value of type {kind} is ever stored")


Path: TypeAlias = str | tuple[str, ...]
"""The name of an attribute, or the names from the item down to what is meant: "a.b" is one name, ("a", "b") are two."""


class Update:
    """One UpdateItem request in the making: what it does, and on which conditions, all of which have to hold."""

    def __init__(self, table: str, key: Mapping[str, str]) -> None:
        self.table = table
        self.key = key
        self._names: dict[str, str] = {}
        self._values: Body = {}
        self._numbers: dict[int, str] = {}
        self._sets: list[str] = []
        self._removes: list[str] = []
        self._conditions: list[str] = []

    def set(self, path: Path, value: Any) -> None:
        """Puts `value` at `path`."""
        self._sets.append(f"{self._place(path)} = {self._value(value)}")

    def add(self, amounts: Mapping[str, int], starts: Mapping[str, int] = EMPTY) -> None:
        """Adds each amount to the number of that name, or to its start (0) when there is none yet."""
        for name, amount in amounts.items():
            place, start = self._place(name), self._value(starts.get(name, 0))
            self._sets.append(f"{place} = if_not_exists({place}, {start}) + {self._value(amount)}")

    def ensure(self, path: Path, value: Any) -> None:
        """Puts `value` at `path` unless something is there."""
        place = self._place(path)
        self._sets.append(f"{place} = if_not_exists({place}, {self._value(value)})")

    def remove(self, *paths: Path) -> None:
        """Removes what is there, if anything."""
        self._removes += map(self._place, paths)

    def require_absent(self, *paths: Path) -> None:
        """Nothing is at any of `paths`."""
        self._conditions += [f"attribute_not_exists({self._place(path)})" for path in paths]

    def require_present(self, path: Path) -> None:
        """Something is at `path`."""
        self._conditions.append(f"attribute_exists({self._place(path)})")

    def require_equal(self, path: Path, value: Any) -> None:
        """`value` is at `path`."""
        self._conditions.append(f"{self._place(path)} = {self._value(value)}")

    def require_at_most(self, bounds: Mapping[str, int]) -> None:
        """The number of each name is at most its bound, or is not there, which counts as 0."""
        for name, bound in bounds.items():
            place = self._place(name)
            self._conditions.append(f"(attribute_not_exists({place}) OR {place} <= {self._value(bound)})")

    def require_before(self, path: Path, text: str) -> None:
        """The text at `path` comes before `text` in the order of bytes, or is not there."""
        place = self._place(path)
        self._conditions.append(f"(attribute_not_exists({place}) OR {place} < {self._value(text)})")

    def require_fewer(self, path: Path, count: int) -> None:
        """The map at `path` has fewer than `count` entries."""
        self._conditions.append(f"size({self._place(path)}) < {self._value(count)}")

    def _place(self, path: Path) -> str:
        names = (path,) if isinstance(path, str) else path
        return ".".join([self._names.get(name) or self._name(name) for name in names])

    def _name(self, name: str) -> str:
        placeholder = self._names[name] = f"#{len(self._names)}"
        return placeholder

    def _value(self, value: Any) -> str:
        """The placeholder of a value; a number that comes again has the same."""
        is_number = type(value) is int
        if is_number and value in self._numbers:
            return self._numbers[value]
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = encode(value)
        if is_number:
            self._numbers[value] = placeholder
        return placeholder

    def request(self) -> Body:
        """The body of the UpdateItem call, which returns the whole new item, or the item that failed the condition."""
        clauses = [f"SET {', '.join(self._sets)}"] if self._sets else []
        clauses += [f"REMOVE {', '.join(self._removes)}"] if self._removes else []
        body: Body = {
            "TableName": self.table,
            "Key": {name: encode(part) for name, part in self.key.items()},
            "UpdateExpression": " ".join(clauses),
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in self._names.items()},
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if self._values:
            body["ExpressionAttributeValues"] = self._values
        if self._conditions:
            body["ConditionExpression"] = " AND ".join(self._conditions)
        return body
