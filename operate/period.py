"""Periods of UTC, in which usage is read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Whole UTC days, in epoch milliseconds; `end` is not part of it."""

    name: str
    start: int
    end: int

    @classmethod
    def day(cls, now: int) -> Period:
        """Return the UTC day in which `now` (epoch milliseconds) lies."""
        first = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(name=f"{first:%Y-%m-%d}", start=_milliseconds(first), end=_milliseconds(first + timedelta(days=1)))

    @classmethod
    def month(cls, now: int) -> Period:
        """Return the UTC month in which `now` (epoch milliseconds) lies."""
        today = datetime.fromtimestamp(now / 1000, UTC)
        first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return cls(name=f"{first:%Y-%m}", start=_milliseconds(first), end=_milliseconds(following))


def _milliseconds(date: datetime) -> int:
    return int(date.timestamp()) * 1000
