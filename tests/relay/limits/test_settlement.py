"""What is settled, by what happened to the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from relay.limits.cost_bound import Bound
from relay.limits.settlement import Settlement
from relay.models import Usage
from relay.pricing.prices import Price
from relay.pricing.rates import Rates

USED = Usage(input=5, output=7, service_tier="default")
PRICE = Price(tiers={"default": Rates(input=100, output=1_000), "flex": Rates(input=50, output=500)})
BOUND = Bound(tokens_in=10, tokens_out=10, usd=11_000)
COST = 5 * 100 + 7 * 1_000
Work = Callable[[Settlement], object]


def settled(
    work: Work, outcome: str = "ok", bound: Bound = BOUND, price: Price | None = PRICE
) -> tuple[Usage | None, int, str]:
    """What is booked."""
    booked: list[tuple[Usage | None, int, str]] = []

    def book(usage: Usage | None, usd: int, outcome: str) -> int:
        booked.append((usage, usd, outcome))
        return 0

    settlement = Settlement(bound, price, book=book)
    work(settlement)
    cost = settlement.close(outcome)
    assert settlement.close("again") == cost
    ((usage, usd, told),) = booked
    assert usd == cost
    return usage, usd, told


def metered(usage: Usage | None) -> Work:
    def work(settlement: Settlement) -> None:
        settlement.sending()
        settlement.metered(lambda: usage)

    return work


def refused_late(settlement: Settlement) -> None:
    metered(None)(settlement)
    settlement.free()


@pytest.mark.parametrize(
    ("work", "outcome", "expected"),
    [
        (lambda settlement: None, "key_unavailable", (Usage(), 0)),
        (lambda settlement: (settlement.sending(), settlement.free()), "upstream_unreachable", (Usage(), 0)),
        (lambda settlement: settlement.sending(), "upstream_broken", (None, BOUND.usd)),
        (metered(USED), "ok", (USED, COST)),
        (metered(USED), "shutdown", (USED, COST)),
        (metered(None), "deadline", (None, BOUND.usd)),
        (metered(None), "ok", (None, BOUND.usd)),
        (metered(None), "bug", (None, BOUND.usd)),
        (refused_late, "upstream_error", (Usage(), 0)),
    ],
)
def test_only_what_is_certain_is_settled_below_the_bound(
    work: Work, outcome: str, expected: tuple[Usage | None, int]
) -> None:
    assert settled(work, outcome) == (*expected, outcome)


@pytest.mark.parametrize(
    ("asked", "named", "cost"),
    [
        ("flex", "flex", COST // 2),
        ("flex", "default", COST),
        ("flex", "", COST),  # OpenAI falls back to the default tier where it has no room
        ("flex", "scale", COST),
        ("default", "", COST),
        ("", "", COST),
    ],
)
def test_a_response_that_names_no_tier_costs_the_dearer_one(asked: str, named: str, cost: int) -> None:
    used = USED.changed(service_tier=named)
    assert settled(metered(used), bound=BOUND.changed(tier=asked))[1] == cost


def test_what_has_no_price_costs_nothing_that_can_be_told() -> None:
    assert settled(metered(USED), price=None)[1] == 0


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
    assert Settlement(BOUND, PRICE, limits=own).headers(theirs) == both


def test_where_nothing_is_counted_nothing_is_booked_and_the_cost_is_known() -> None:
    settlement = Settlement(BOUND, PRICE)
    metered(USED)(settlement)
    assert settlement.close("ok") == COST


BY_THE_SECOND = Price(tiers={"default": Rates(second=75)})


def test_sound_is_settled_by_its_seconds() -> None:
    assert settled(metered(Usage(seconds=4)), price=BY_THE_SECOND)[1] == 300


def test_tokens_that_have_no_price_cost_the_bound() -> None:
    assert settled(metered(Usage(input=4, output=4)), price=BY_THE_SECOND)[1] == BOUND.usd


def test_seconds_that_have_no_price_cost_the_bound() -> None:
    assert settled(metered(Usage(seconds=4)))[1] == BOUND.usd


CACHING = Price(tiers={"default": Rates(input=100, cache_write=125, cache_write_12h=250)})


@pytest.mark.parametrize(
    ("long_cache", "said", "cost"),
    [
        (False, None, 4 * 125),
        (True, None, 4 * 250),  # the response does not say: the dearer of what was asked for
        (True, 0, 4 * 125),
        (True, 3, 125 + 3 * 250),
    ],
)
def test_what_is_written_into_a_cache_is_settled_at_the_rate_that_is_certain(
    long_cache: bool, said: int | None, cost: int
) -> None:
    usage = Usage(input=4, cache_write=4, cache_write_12h=said)
    bound = BOUND.changed(long_cache=long_cache)
    assert settled(metered(usage), bound=bound, price=CACHING)[1] == cost
