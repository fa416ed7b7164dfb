"""The keys in the table: one item per key for the authorizer, and its id in its caller's account for the relay.

What lets in is written last and taken away first. So a command that breaks off in the middle leaves a key that nobody gets
in with, and can be given again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authorizer import api_key
from relay.accounts.overrides import KEY
from relay.aws.update_expression import Update, decode
from relay.ledger.items import in_json

from operate.aws import OperatorError
from operate.foreign_text import name as shown
from operate.limits_table import FIRST, LAST, Caller, LimitsTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept. `stored` has the item's attributes, `id` is what people call it by."""

    id: str
    stored: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Whom it lets in."""
        return str(self.stored.get("name", ""))

    @property
    def until(self) -> int:
        """Until when it is valid, in epoch milliseconds; 0 is for ever."""
        return int(self.stored.get("until", 0))


def without_key(text: str) -> str:
    """`text` for a message; a key, or a part of one, that stands where a name belongs is not repeated."""
    return f"{api_key.PREFIX}..." if text.startswith(api_key.PREFIX) else shown(text)


def caller_of(name: str) -> Caller:
    """The caller that keys of that name let in."""
    return Caller(key=f"key/{name}", subject=f"key:{name}")


class KeysTable:
    """The keys of one environment."""

    def __init__(self, limits: LimitsTable) -> None:
        self._limits = limits

    def all(self) -> list[Key]:
        """Return all keys by name, the newest last."""
        rows = self._limits.store.query(self._limits.name, api_key.PARTITION, FIRST, LAST)
        found = [Key(id=item["sk"]["S"], stored={name: decode(value) for name, value in item.items()}) for item in rows]
        return sorted(found, key=lambda key: (key.name, key.stored.get("at", 0)))

    def valid(self, name: str) -> list[Key]:
        """Return the keys of `name` that let in now."""
        now = self._limits.clock()
        return [key for key in self.all() if key.name == name and api_key.state(key.stored, now) == "valid"]

    def find(self, text: str) -> list[Key]:
        """Return the valid keys of that name, or the one key of that id, or the key that `text` is. Raises OperatorError when
        there is none."""
        text = api_key.id_of(text) if api_key.is_well_formed(text) else text
        found = [key for key in self.all() if key.id == text and not key.stored.get("off")] or self.valid(text)
        if not found:
            raise OperatorError(f"no valid key has the name or id '{without_key(text)}': see `key list`")
        return found

    def create(self, name: str, *, until: int, owner: str, labels: Mapping[str, str]) -> str:
        """Keep a new key for `name` and return it; nobody can read it again."""
        key, now = api_key.create(), self._limits.clock()
        id = api_key.id_of(key)
        fields = api_key.fields(key, name=name, now=now, until=until, owner=owner, labels=labels)
        body = {
            "TableName": self._limits.name,
            "Item": in_json({"pk": api_key.PARTITION, "sk": id, **fields}),
            "ConditionExpression": "attribute_not_exists(#pk)",
            "ExpressionAttributeNames": {"#pk": "pk"},
        }
        self._limits.store.call("PutItem", body)
        caller = caller_of(name)
        kept = self._limits.account(caller).overrides.keys
        past = tuple(f"{KEY}{old}" for old, end in kept.items() if end != api_key.FOREVER and end <= now)
        self._limits.set_override(caller, {f"{KEY}{id}": until}, past)
        return key

    def revoke(self, key: Key) -> None:
        """Let nobody in with `key` from the next admission on."""
        self._limits.set_override(caller_of(key.name), {}, (f"{KEY}{key.id}",))
        self._change(key, "off", self._limits.clock())

    def end(self, key: Key, until: int) -> None:
        """Let `key` expire at `until` (epoch milliseconds), or before when it expires before."""
        if key.until == api_key.FOREVER or until < key.until:
            self._limits.set_override(caller_of(key.name), {f"{KEY}{key.id}": until})
            self._change(key, "until", until)

    def _change(self, key: Key, field: str, value: int) -> None:
        update = Update(self._limits.name, {"pk": api_key.PARTITION, "sk": key.id})
        update.require_present("pk")
        update.set(field, value)
        self._limits.store.call("UpdateItem", update.request())
