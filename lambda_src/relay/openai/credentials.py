"""The OpenAI key: read when needed, kept for a while, replaced without a restart. Knows the secret's shape, not its store."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable

from relay.aws.errors import SecretError
from relay.errors import ErrorKind, RelayError

# How long a key is used before the secret is read again: the time within which a rotation is noticed by itself.
_LIFETIME_SECONDS = 300.0
# How soon a failed refresh is tried again while an older key is still at hand.
_BACKOFF_SECONDS = 15.0
# OpenAI's keys start with "sk-"; anything else in the secret (a generated password, a pasted command) is a mistake
# that should be said at once instead of being sent to OpenAI.
_SHAPE = re.compile(r"sk-[A-Za-z0-9_\-]{8,500}")


class Keys:
    """The key to use now. `fetch` reads the secret's text by a given time (time.monotonic()'s clock), or raises SecretError.

    The secret is one key, or {"keys": ["sk-...", ...]}: the first is used, the next when OpenAI has refused the first,
    so that an old and a new key overlap while they are rotated. `warn` is told when the secret cannot be read anew.
    """

    def __init__(
        self,
        fetch: Callable[[float], str],
        clock: Callable[[], float] = time.monotonic,
        *,
        warn: Callable[[str], None] = lambda cause: None,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._warn = warn
        self._keys: tuple[str, ...] = ()
        self._refused: set[str] = set()
        self._fresh_until = 0.0

    def current(self, *, until: float = math.inf, meanwhile: Callable[[], None] = lambda: None) -> str:
        """A key that OpenAI has not refused, if there is one. Raises RelayError(KEY_UNAVAILABLE).

        `meanwhile` is called before the secret is waited for, if it has to be, which ends at `until` at the latest
        (time.monotonic()'s clock).
        """
        if self._clock() >= self._fresh_until:
            meanwhile()
            self._refresh(until)
        return next((key for key in self._keys if key not in self._refused), self._keys[0])

    def refused(self, key: str) -> None:
        """OpenAI has answered 401 to `key`: the next request reads the secret again."""
        self._refused.add(key)
        self._fresh_until = 0.0

    def _refresh(self, until: float) -> None:
        try:
            keys = parse(self._fetch(until))
        except SecretError as error:
            if not self._keys:
                raise RelayError(ErrorKind.KEY_UNAVAILABLE, log=str(error)) from error
            # An older key most likely still works; a store's outage need not become ours, but somebody should know.
            self._warn(str(error))
            self._fresh_until = self._clock() + _BACKOFF_SECONDS
            return
        if keys != self._keys:
            # A key that was put back is worth a new try.
            self._refused.clear()
        self._keys = keys
        self._fresh_until = self._clock() + _LIFETIME_SECONDS


def parse(text: str) -> tuple[str, ...]:
    """The keys in the secret's text. Raises SecretError that says what is wrong without quoting any of it."""
    text = text.strip()
    keys = _listed(text) if text.startswith("{") else [text]
    if not keys or not all(isinstance(key, str) and _SHAPE.fullmatch(key) for key in keys):
        raise SecretError('the secret holds no OpenAI key: it has to be "sk-..." or {"keys": ["sk-...", ...]}')
    return tuple(keys)


def _listed(text: str) -> list[str]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return []
    keys = fields.get("keys")
    return keys if isinstance(keys, list) else []
