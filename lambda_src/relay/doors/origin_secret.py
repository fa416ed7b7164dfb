"""Whether a request came through the distribution: by a secret that CloudFront adds and nobody else knows.

Knows the header, the modes and how a secret is rotated. Knows nothing of where it is stored, nor of the caller, whose
signature AWS has verified before, here as at the Function URL itself.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from relay.aws.errors import SecretError
from relay.errors import ErrorKind, RelayError
from relay.models import EdgeMode

HEADER = "x-relay-origin-secret"
"""What the distribution adds; what a caller sends under this name, CloudFront replaces."""

Through = Literal["edge", "direct"]

# How long the secret is used before it is read again. A rotation is noticed sooner, by a value that is not known.
_LIFETIME_SECONDS = 300.0
# How soon an unknown value makes the relay look again: a caller who guesses must not buy a store call with each guess.
_LOOK_AGAIN_SECONDS = 10.0
# Shorter ones could be guessed. The stack has AWS generate 64 letters and digits.
_SHORTEST = 32


class OriginSecretCheck:
    """Lets requests pass by the mode: "off" asks nothing, "optional" refuses wrong secrets, "required" missing ones too.

    `read` returns the value that the distribution sends, or is about to send; `read_previous` the one before it, which
    the distribution may still send, or None. Both take the time by which they have to be over (time.monotonic()'s
    clock) and raise SecretError. `clock` counts seconds.
    """

    def __init__(
        self,
        mode: EdgeMode,
        *,
        read: Callable[[float], str],
        read_previous: Callable[[float], str | None],
        clock: Callable[[], float],
    ) -> None:
        self._mode = mode
        self._read = read
        self._read_previous = read_previous
        self._clock = clock
        self._known: tuple[bytes, ...] = ()
        self._fresh_until = float("-inf")
        self._look_again_at = float("-inf")

    def admit(self, headers: Mapping[str, str], *, until: float = math.inf) -> Through:
        """Which way the request came, known by `until` (time.monotonic()'s clock).

        Raises RelayError(EDGE_REQUIRED), or EDGE_UNAVAILABLE when that cannot be told.
        """
        presented = headers.get(HEADER, "") if self._mode != "off" else ""
        if not presented:
            if self._mode == "required":
                raise RelayError(ErrorKind.EDGE_REQUIRED, log="no origin secret")
            return "direct"
        if not self._is_known(presented.encode("utf-8", "surrogatepass"), until):
            raise RelayError(ErrorKind.EDGE_REQUIRED, log="wrong origin secret")
        return "edge"

    def _is_known(self, presented: bytes, until: float) -> bool:
        now = self._clock()
        if now >= self._fresh_until:
            self._learn(now, partial(self._read, until))
        if self._matches(presented):
            return True
        if now < self._look_again_at:
            return False
        # Either the distribution is ahead of this process, or the secret has moved on before the distribution has.
        self._look_again_at = now + _LOOK_AGAIN_SECONDS
        self._learn(now, partial(self._read, until), partial(self._read_previous, until))
        return self._matches(presented)

    def _matches(self, presented: bytes) -> bool:
        """In constant time, and always against all: neither how much is right nor which one it is can be measured."""
        matches = False
        for known in self._known:
            matches |= hmac.compare_digest(presented, known)
        return matches

    def _learn(self, now: float, *reads: Callable[[], str | None]) -> None:
        try:
            values = [read() for read in reads]
        except SecretError as error:
            if not self._known:
                raise RelayError(ErrorKind.EDGE_UNAVAILABLE, log=str(error)) from error
            # What is known most likely still holds; a store's outage need not become ours.
            self._fresh_until = now + _LOOK_AGAIN_SECONDS
            return
        known = tuple(value.encode() for value in values if value is not None and len(value) >= _SHORTEST)
        if not known:
            raise RelayError(
                ErrorKind.EDGE_UNAVAILABLE, log=f"the origin secret is shorter than {_SHORTEST} characters"
            )
        self._known = known
        self._fresh_until = now + _LIFETIME_SECONDS
