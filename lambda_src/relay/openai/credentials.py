"""The OpenAI keys: read when needed, kept for a while, replaced without a restart. Knows the secret's shape, not its store."""

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


class ApiKeys:
    """The OpenAI key to use now. `fetch` reads the secret's text by a given time (time.monotonic()'s clock), or raises
    SecretError. `warn` is told when the secret cannot be read anew.

    The secret is one key, or {"keys": ["sk-...", ...]}, so that an old and a new key overlap while they are rotated. The
    first is used until OpenAI refuses it, then the next, and after the last the first again: whichever works is found
    within as many requests as there are keys, and is used until it is refused itself.
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
        self._listed: tuple[str, ...] = ()
        # The same keys, those that were refused last at the end.
        self._in_turn: list[str] = []
        self._fresh_until = -math.inf
        self._not_read_before = -math.inf

    def current(self, *, until: float = math.inf, meanwhile: Callable[[], None] = lambda: None) -> str:
        """The key that OpenAI has not refused, or not for the longest time. Raises RelayError(KEY_UNAVAILABLE).

        `meanwhile` is called before the secret is waited for, if it has to be, which ends at `until` at the latest
        (time.monotonic()'s clock).
        """
        if self._clock() >= self._fresh_until:
            meanwhile()
            self._refresh(until)
        return self._in_turn[0]

    def refuse(self, key: str) -> None:
        """Puts `key`, to which OpenAI has answered 401, behind all others. The next request reads the secret again.

        While the secret stays as it is, refusals have it read once in 15 seconds and no more.
        """
        if key in self._in_turn:
            self._in_turn.remove(key)
            self._in_turn.append(key)
        self._fresh_until = min(self._fresh_until, self._not_read_before)
        self._not_read_before = max(self._not_read_before, self._clock() + _BACKOFF_SECONDS)

    def _refresh(self, until: float) -> None:
        try:
            keys = parse(self._fetch(until))
        except SecretError as error:
            if not self._listed:
                raise RelayError(ErrorKind.KEY_UNAVAILABLE, log=str(error)) from error
            # An older key most likely still works; a store's outage need not become ours, but somebody should know.
            self._warn(str(error))
            self._fresh_until = self._clock() + _BACKOFF_SECONDS
            return
        if keys != self._listed:
            # A key that was put back is worth a new try, and a new one that is refused another look.
            self._listed, self._in_turn = keys, list(keys)
            self._not_read_before = -math.inf
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
