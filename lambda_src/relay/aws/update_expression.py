"""DynamoDB expressions, put together so that no name or value is ever part of their text. Pure.

Only the grammar that every implementation takes: no arithmetic in conditions, one operator per SET term.
Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

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


class Update:
    """One UpdateItem request in the making. A path is a tuple of names, so that "a.b" is never taken for two."""

    def __init__(self, table: str, key: Mapping[str, str]) -> None:
        self.table = table
        self.key = key
        self._names: dict[str, str] = {}
        self._values: Body = {}
        self._numbers: dict[int, str] = {}
        self._sets: list[str] = []
        self._removes: list[str] = []
        self._conditions: list[str] = []

    def path(self, *names: str) -> str:
        """The placeholder of a document path."""
        return ".".join([self._names.get(name) or self._name(name) for name in names])

    def _name(self, name: str) -> str:
        placeholder = self._names[name] = f"#{len(self._names)}"
        return placeholder

    def value(self, value: Any) -> str:
        """The placeholder of a value; a number that comes again has the same."""
        is_number = type(value) is int
        if is_number and value in self._numbers:
            return self._numbers[value]
        placeholder = f":{len(self._values)}"
        self._values[placeholder] = encode(value)
        if is_number:
            self._numbers[value] = placeholder
        return placeholder

    def set(self, path: str, value: Any) -> None:
        """Put `value` at `path`."""
        self._sets.append(f"{path} = {self.value(value)}")

    def add(self, amounts: Mapping[str, int], starts: Mapping[str, int] = MappingProxyType({})) -> None:
        """Add each amount to the number of that name, or to its start (0) when there is none yet."""
        for name, amount in amounts.items():
            path, start = self.path(name), self.value(starts.get(name, 0))
            self._sets.append(f"{path} = if_not_exists({path}, {start}) + {self.value(amount)}")

    def ensure(self, path: str, value: Any) -> None:
        """Put `value` at `path` unless something is there."""
        self._sets.append(f"{path} = if_not_exists({path}, {self.value(value)})")

    def remove(self, path: str) -> None:
        """Remove what is at `path`, if anything."""
        self._removes.append(path)

    def require(self, condition: str) -> None:
        """Apply the update only if `condition` holds, beside all others."""
        self._conditions.append(condition)

    def require_at_most(self, bounds: Mapping[str, int]) -> None:
        """Apply the update only if the number of each name is at most its bound, or is not there (counting as 0)."""
        for name, bound in bounds.items():
            path = self.path(name)
            self.require(f"(attribute_not_exists({path}) OR {path} <= {self.value(bound)})")

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
