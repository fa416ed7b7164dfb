"""Every kind of limit, one entry each. Pure.

An entry is all that there is to a limit: the policies' field, the condition in the ledger's write, the counter that is
booked, the refusal's words, `GET /v1/usage`, the `x-ratelimit` headers and the operator's `override` follow from it. To
add one, add an entry and its field in `Limits`, and the field of `Terms` in cdk_app/config/terms.py.

Neither room owns it: a limit holds in the ledger's conditional write, and `limits` says which figures hold. Both import it,
and neither the other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from relay.frozen import Frozen

MOST_CONCURRENT = 500
"""A reservation takes some 150 bytes of the caller's one item and its record 350 more until it is moved out of it;
500 of both are 250 KB of the 400 KB that DynamoDB allows."""


class Unit(Enum):
    """What is counted. The value is the last part of a counter's name in the table."""

    REQUESTS = "req"
    TOKENS = "tok"
    USD = "usd"  # in pico-USD


BOUNDED: Mapping[Unit, str] = MappingProxyType({})
"""Of what is bounded in every unit: no unit has a reason why it is not."""


class Window(Enum):
    """For how long is counted. All are UTC's, so that every process and every operator mean the same day."""

    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"
    NOW = "now"  # not counted over time: what is open at this moment


class Windows(Frozen):
    """The names of the windows in which a moment lies, as counters in the table begin: "m:29401234", "d:2026-11-23",
    "M:2026-11"."""

    minute: str
    day: str
    month: str

    @staticmethod
    def at(milliseconds: int) -> Windows:
        """The windows of an epoch time."""
        return _windows(milliseconds // 60_000)

    def counter(self, window: Window, unit: Unit) -> str:
        """The attribute in which `unit` is counted during `window`."""
        if window is Window.MINUTE:
            return self.minute if unit is Unit.REQUESTS else f"{self.minute}:{unit.value}"
        return f"{self.day if window is Window.DAY else self.month}:{unit.value}"

    def counters(self, pairs: Iterable[tuple[Window, Unit]]) -> list[tuple[str, Unit]]:
        """The attributes of several windows and units, each with its unit."""
        return [(self.counter(window, unit), unit) for window, unit in pairs]


# A request asks for those of its minute some ten times.
@lru_cache(maxsize=8)
def _windows(minute: int) -> Windows:
    date = utc_date(minute * 60_000)
    return Windows(minute=f"m:{minute}", day=f"d:{date}", month=f"M:{date[:7]}")


def utc_date(milliseconds: int) -> str:
    """ "2026-11-23", the UTC date of an epoch time. strftime would take five times as long."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:10]


class LimitKind(Frozen):
    """One kind of limit.

    `name` is its field in `Limits`, the `param` of a refusal, its name in `GET /v1/usage`, and stored as "over:NAME"
    when an operator overrides it. `setting` is its field in a policy, and with "-" for "_" its option of
    `operate override`. `header` is its place in the x-ratelimit headers, "" for none. `most` is the highest figure that
    can be set, and what holds where none is set.
    """

    name: str
    setting: str
    window: Window
    unit: Unit
    header: str = ""
    most: int | None = None


LIMIT_KINDS = (
    LimitKind(name="usd_per_month", setting="usd_month", window=Window.MONTH, unit=Unit.USD),
    LimitKind(name="usd_per_day", setting="usd_day", window=Window.DAY, unit=Unit.USD),
    LimitKind(name="tokens_per_day", setting="tokens_day", window=Window.DAY, unit=Unit.TOKENS, header="tokens"),
    LimitKind(name="requests_per_minute", setting="rpm", window=Window.MINUTE, unit=Unit.REQUESTS, header="requests"),
    LimitKind(name="concurrent", setting="concurrent", window=Window.NOW, unit=Unit.REQUESTS, most=MOST_CONCURRENT),
)
"""In the order in which they are judged: the most lasting first, because it is the one worth knowing of."""


class Limits(Frozen):
    """The figures of one caller: one field for each entry of LIMIT_KINDS. None is "no limit"; money is in pico-USD."""

    usd_per_month: int | None = None
    usd_per_day: int | None = None
    tokens_per_day: int | None = None
    requests_per_minute: int | None = None
    concurrent: int = MOST_CONCURRENT

    def of(self, kind: LimitKind) -> int | None:
        """The figure of one kind."""
        figure: int | None = getattr(self, kind.name)
        return figure

    def figures(self) -> list[tuple[LimitKind, int]]:
        """Each kind that has a figure, in the order in which they are judged."""
        return [(kind, figure) for kind in LIMIT_KINDS if (figure := self.of(kind)) is not None]

    @property
    def in_tokens(self) -> bool:
        """Whether a bound in tokens has to be known before a request can be admitted."""
        return self._has(Unit.TOKENS) or self._has(Unit.USD)

    @property
    def in_usd(self) -> bool:
        """Whether a bound in money has to be known before a request can be admitted."""
        return self._has(Unit.USD)

    def _has(self, unit: Unit) -> bool:
        return any(kind.unit is unit and self.of(kind) is not None for kind in LIMIT_KINDS)


LASTING = tuple((window, unit) for window in (Window.DAY, Window.MONTH) for unit in Unit)
"""Counters that every request is booked in, and that are corrected when it is settled: they are the account of usage."""

PASSING = tuple({(kind.window, kind.unit) for kind in LIMIT_KINDS if kind.window is Window.MINUTE})
"""Counters of a minute: booked with the bound at admission and never corrected, because the minute is over by then."""
