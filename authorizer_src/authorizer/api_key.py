"""A key of the relay's own: its form, its hash, and whether what is stored under the hash still holds. Pure.

A key is "sk-relay-", 43 letters and digits that carry 256 random bits, and 6 that check them, so that a typing error is
refused without a look-up. Only its SHA-256 is kept: of 256 random bits nobody finds the key by trying, so a slow hash
would protect nothing. In the table a key is one item, read by its id, the beginning of that hash:

    pk      sk    attributes
    keys    ID    hash (hexadecimal), name (who is let in), at, until, off (created, valid until, revoked: epoch ms),
                  owner, labels, used (the last day with a request, UTC, and late by up to one)
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Mapping
from typing import Any

PREFIX = "sk-relay-"
PARTITION = "keys"
"""The partition of the table in which all keys lie; the only one that the authorizer may touch."""
ID_LENGTH = 16
FOREVER = 0
"""`until` of a key that does not expire."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Whom a key lets in, "ci-bot": what policies know as "key:ci-bot"."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BITS, _SECRET, _CHECK = 256, 43, 6
FORM = rf"{PREFIX}[0-9A-Za-z]{{{_SECRET + _CHECK}}}"
"""What every key looks like, as a regular expression; API Gateway asks it before it asks anybody."""


def create() -> str:
    """A new key."""
    secret = _base62(secrets.randbits(_BITS), _SECRET)
    return f"{PREFIX}{secret}{_check_of(secret)}"


def is_well_formed(key: str) -> bool:
    """Whether `key` has the form of a key and its check part fits. What does not was never issued."""
    if not re.fullmatch(FORM, key):
        return False
    secret, check = key[len(PREFIX) : -_CHECK], key[-_CHECK:]
    return hmac.compare_digest(check, _check_of(secret))


def digest(key: str) -> str:
    """What is kept of `key`: 64 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def id_of(key: str) -> str:
    """Under which id `key` is kept and shown: 16 hexadecimal digits, which do not give it away."""
    return digest(key)[:ID_LENGTH]


def is_valid(key: str, stored: Mapping[str, Any], now: int) -> bool:
    """Whether `key` is the one `stored`, neither revoked nor expired at `now` (epoch milliseconds).

    The hashes are compared in constant time. What is stored in another way than `fields` gives it is not valid.
    """
    kept, name = stored.get("hash"), stored.get("name")
    same = isinstance(kept, str) and hmac.compare_digest(kept.encode(), digest(key).encode())
    named = isinstance(name, str) and NAME.fullmatch(name) is not None
    return same and named and state(stored, now) == "valid"


def state(stored: Mapping[str, Any], now: int) -> str:
    """ "valid", "expired" or "revoked"."""
    if stored.get("off"):
        return "revoked"
    until = stored.get("until")
    if not isinstance(until, int) or isinstance(until, bool) or (until != FOREVER and until <= now):
        return "expired"
    return "valid"


def fields(key: str, *, name: str, now: int, until: int, owner: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """What is kept of a new `key`: the item's attributes beside its keys. `until` is FOREVER or epoch milliseconds."""
    return {"hash": digest(key), "name": name, "at": now, "until": until, "owner": owner, "labels": dict(labels)}


def _check_of(secret: str) -> str:
    return _base62(zlib.crc32(f"{PREFIX}{secret}".encode()), _CHECK)


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
