"""One admitted request until it is settled: what it may cost, what is known of its bill, and what it is settled at.

Only what is certain is settled at less than the upper bound. Pricing stands here and nowhere else. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from relay.frozen import EMPTY
from relay.limits.cost_bound import Bound
from relay.limits.report import HEADER
from relay.models import Usage
from relay.pricing.prices import Price

NO_USAGE = Usage()
"""Nothing was billed."""

Book = Callable[[Usage | None, int, str], int]
"""Books what a request came to: its usage (None: not known), its cost in pico-USD and its outcome. Returns how many warnings
this raised. Never raises."""


class Settlement:
    """Leave to send one request, and what it has come to so far: nothing, something that nobody has counted, or what
    OpenAI says it billed. `book` None: nothing is counted.

    `over` are observed limits that the request exceeds; `warnings` is how many limits were warned of when it was settled.
    """

    def __init__(
        self,
        bound: Bound,
        price: Price | None,
        *,
        limits: Mapping[str, str] = EMPTY,
        over: Sequence[str] = (),
        book: Book | None = None,
    ) -> None:
        self.over = over
        self.warnings = 0
        self._bound = bound
        self._price = price
        self._limits = limits
        self._book = book
        self._usage: Callable[[], Usage | None] = _unknown
        self._may_be_billed = False
        self._cost: int | None = None

    def headers(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """`theirs`, with what is left of the caller's own limits in place of those of the whole organisation."""
        ours = any(name.startswith(HEADER) for name in self._limits)
        kept = {name: text for name, text in theirs.items() if not (ours and name.startswith(HEADER))}
        return {**kept, **self._limits}

    def sending(self) -> None:
        """From here on OpenAI may bill, whether or not a response comes."""
        self._may_be_billed = True

    def free(self) -> None:
        """OpenAI has certainly billed nothing: never reached, or it refused the request."""
        self._may_be_billed = False

    def metered(self, usage: Callable[[], Usage | None]) -> None:
        """A response comes. `usage` gives what it says it used, once it has said so."""
        self._usage = usage

    def close(self, outcome: str) -> int:
        """Settles, once however often it is called, and returns the cost in pico-USD. Never raises.

        A response that does not say what it used costs the upper bound, and so does one that broke off before.
        """
        if self._cost is None:
            usage = self._usage()
            if usage is None and not self._may_be_billed:
                usage = NO_USAGE
            self._cost = self._priced(usage)
            if self._book is not None:
                self.warnings = self._book(usage, self._cost, outcome)
        return self._cost

    def _priced(self, usage: Usage | None) -> int:
        if usage is None:
            return self._bound.usd
        if self._price is None or usage == NO_USAGE:
            return 0
        if not self._price.has_rates_for(usage):
            return self._bound.usd
        if usage.cache_write_12h is None and self._bound.long_cache:
            usage = usage.changed(cache_write_12h=usage.cache_write)
        return self._price.cost(usage, self._bound.tier, self._bound.characters)


def _unknown() -> Usage | None:
    return None
