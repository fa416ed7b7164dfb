"""What is settled, by what happened to the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from relay.errors import ErrorKind, RelayError
from relay.limits.admission import Permit
from relay.limits.settlement import Settlement
from relay.models import Usage
from relay.request_log import RequestLog

USED = Usage(input=5, output=7)


class Line(RequestLog):
    """The record of a request, as far as a tab knows it."""

    def __init__(self) -> None:
        self.dollars = ""

    def cost(self, dollars: str) -> None:
        self.dollars = dollars


class Counted:
    """A meter that has read to the end."""

    def __init__(self, usage: Usage | None) -> None:
        self.usage = usage


def settled(
    work: Callable[[Settlement], object], failure: BaseException | None = None
) -> tuple[Usage | None, str, str]:
    """What the permit is settled with, the outcome and the cost written down."""
    got: list[tuple[Usage | None, str]] = []

    def settle(usage: Usage | None, outcome: str) -> int:
        got.append((usage, outcome))
        return 2_500_000_000

    line = Line()
    tab = Settlement(Permit(headers={}, settle=settle), line)
    work(tab)
    tab.close(failure)
    ((usage, outcome),) = got
    return usage, outcome, line.dollars


def metered(usage: Usage | None) -> Callable[[Settlement], object]:
    def work(tab: Settlement) -> None:
        tab.sending()
        meter: Any = Counted(usage)
        tab.metered(meter)

    return work


@pytest.mark.parametrize(
    ("work", "failure", "expected"),
    [
        (lambda tab: None, RelayError(ErrorKind.KEY_UNAVAILABLE), (Usage(), "key_unavailable")),
        (
            lambda tab: (tab.sending(), tab.free()),
            RelayError(ErrorKind.UPSTREAM_UNREACHABLE),
            (Usage(), "upstream_unreachable"),
        ),
        (lambda tab: tab.sending(), RelayError(ErrorKind.UPSTREAM_BROKEN), (None, "upstream_broken")),
        (metered(USED), None, (USED, "ok")),
        (metered(USED), RelayError(ErrorKind.SHUTDOWN), (USED, "shutdown")),
        (metered(None), RelayError(ErrorKind.DEADLINE), (None, "deadline")),
        (metered(None), None, (None, "ok")),
        (metered(None), ValueError(), (None, "bug")),
    ],
)
def test_only_what_is_certain_is_settled_below_the_bound(
    work: Callable[[Settlement], object], failure: BaseException | None, expected: tuple[Usage | None, str]
) -> None:
    assert settled(work, failure) == (*expected, "0.0025")


@pytest.mark.parametrize(
    ("own", "theirs", "both"),
    [
        ({}, {"x-ratelimit-limit-requests": "9"}, {"x-ratelimit-limit-requests": "9"}),
        (
            {"x-ratelimit-limit-requests": "2"},
            {"x-ratelimit-limit-requests": "9", "x-ratelimit-limit-tokens": "9", "content-type": "a/b"},
            {"x-ratelimit-limit-requests": "2", "content-type": "a/b"},
        ),
    ],
)
def test_the_callers_limits_stand_in_place_of_the_organisations(
    own: Mapping[str, str], theirs: Mapping[str, str], both: Mapping[str, str]
) -> None:
    tab = Settlement(Permit(headers=own, settle=lambda usage, outcome: 0), Line())
    assert tab.headers(theirs) == both


def test_what_is_free_is_settled_with_nobody() -> None:
    assert Permit.free().settle(None, "ok") == 0
