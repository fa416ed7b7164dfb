"""What an operator has set in one caller's or group's account, over its policy. Pure.

Attributes of the account:

    ver                    changes with each of the others, so that an admission notices
    stop, halt             why the caller, or everybody, is stopped
    over:day, over:LIMIT   other limits, on that day
    key:ID                 until when (epoch ms, 0: for ever) the key of that id lets this caller in
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.accounts.limit_kinds import LIMIT_KINDS, Limits, Windows
from relay.aws.update_expression import Item
from relay.frozen import EMPTY, Frozen

VERSION, STOPPED, HALTED, OVERRIDE, KEY = "ver", "stop", "halt", "over:", "key:"


class Overrides(Frozen):
    """What the operator set for one caller. `limits` replace the policy's figures on `day` ("d:2026-11-23") only.

    `stopped` and `halted` are the reasons given, "" for none given, and None when the caller is not stopped. `keys` are
    the caller's keys that are not revoked: by id, until when they are valid (epoch milliseconds, 0: for ever).
    """

    version: int | None = None
    stopped: str | None = None
    halted: str | None = None
    day: str = ""
    limits: Mapping[str, int] = EMPTY
    keys: Mapping[str, int] = EMPTY

    def over(self, limits: Limits, windows: Windows) -> Limits:
        """The limits that hold now. Kinds that this version does not know are left out."""
        if not self.limits or self.day != windows.day:
            return limits
        return limits.changed(**{kind.name: self.limits[kind.name] for kind in LIMIT_KINDS if kind.name in self.limits})

    def lets_in(self, key_id: str, now: int) -> bool:
        """Whether the caller's key of that id is valid at `now` (epoch milliseconds); "" is a caller without a key."""
        until = self.keys.get(key_id)
        return not key_id or (until is not None and (until == 0 or now < until))


def overrides_of(fields: Item) -> Overrides:
    """The overrides among an account's attributes."""
    limits = {name.removeprefix(OVERRIDE): value for name, value in fields.items() if name.startswith(OVERRIDE)}
    day = limits.pop("day", "")
    return Overrides(
        version=fields.get(VERSION),
        stopped=fields.get(STOPPED),
        halted=fields.get(HALTED),
        day=day,
        limits=limits,
        keys={name.removeprefix(KEY): value for name, value in fields.items() if name.startswith(KEY)},
    )
