"""The values of an environment's alarms, and what is allowed for each. Knows nothing of the CDK."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmOptions:
    """When somebody is told, and who. Counts are in five minutes."""

    # Who gets an e-mail; each has to confirm it once. Others subscribe to the topic (output AlarmTopic) by themselves.
    emails: tuple[str, ...] = ()
    # Answers that failed, and not because of the caller; streams that broke off after they had begun.
    failures: int = 5
    stream_cuts: int = 5
    # Requests that found all environments busy: `reserved_concurrency` is too low, or somebody is too eager.
    throttles: int = 10
    # The 95th percentile of the time until an answer begins, three times in a row.
    first_token_ms: int = 15_000
    # What all callers together have been booked since midnight UTC. None: no such alarm.
    usd_per_day: int | None = None
    # At this much the relay is stopped, until an operator lets it go on: docs/monitoring.md, "The kill switch".
    stop_at_usd_per_day: int | None = None


def problems(options: AlarmOptions) -> Iterator[str]:
    """One line for each value that is not allowed: field, value, what is allowed."""
    for name in ("failures", "stream_cuts", "throttles", "first_token_ms"):
        value = getattr(options, name)
        if type(value) is not int or value < 1:
            yield f"{name} is {value!r}; allowed: a whole number from 1"
    for name in ("usd_per_day", "stop_at_usd_per_day"):
        value = getattr(options, name)
        if value is not None and (type(value) is not int or value < 1):
            yield f"{name} is {value!r}; allowed: whole US dollars from 1, or None"
    if not isinstance(options.emails, tuple):
        yield f"emails is {options.emails!r}; allowed: a tuple, such as ('team@example.com',)"
        return
    for email in options.emails:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
            yield f"emails has {email!r}; allowed: addresses such as 'team@example.com'"
