"""The values of an environment's alarms, and what is allowed for each. Knows nothing of the CDK."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cdk_app import mistakes
from cdk_app.options.checks import matches, whole


@mistakes.noted
@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmOptions(mistakes.Noted):
    """When somebody is notified, and who. Counts are per five minutes."""

    # Addresses that get an e-mail; each has to confirm it once. Others subscribe to the topic (output AlarmTopic).
    emails: tuple[str, ...] = ()
    # Responses that failed, and not because of the caller; streams that broke off after they had begun.
    failures: int = 5
    stream_cuts: int = 5
    # Requests that found all environments busy: `reserved_concurrency` is too low, or a caller has no `concurrent` limit.
    throttles: int = 10
    # Milliseconds. The 95th percentile of the time until a response begins, three times in a row.
    first_token_ms: int = 15_000
    # US dollars that all callers together have been booked since midnight UTC. None: no such alarm.
    usd_per_day: int | None = None
    # US dollars since midnight UTC at which the relay is stopped, until an operator resumes it: docs/monitoring.md,
    # "The spend watch". It costs about a dollar a month, and so does the alarm above; both together cost it once.
    stop_at_usd_per_day: int | None = None


def problems(options: AlarmOptions) -> Iterator[str]:
    """One line for each field that is unknown or has a value that is not allowed."""
    yield from mistakes.of(options)
    for name in ("failures", "stream_cuts", "throttles", "first_token_ms"):
        value = getattr(options, name)
        if not whole(1, 10**9)(value):
            yield f"{name} is {value!r}; allowed: a whole number from 1"
    for name in ("usd_per_day", "stop_at_usd_per_day"):
        value = getattr(options, name)
        if value is not None and not whole(1, 10**9)(value):
            yield f"{name} is {value!r}; allowed: whole US dollars from 1, or None"
    if not isinstance(options.emails, tuple):
        yield f"emails is {options.emails!r}; allowed: a tuple, such as ('team@example.com',)"
        return
    for email in options.emails:
        if not matches(r"[^@\s]+@[^@\s]+\.[^@\s]+")(email):
            yield f"emails has {email!r}; allowed: addresses such as 'team@example.com'"
