"""Bound and bill of requests of every listed model, with genai-prices as an independent judge of what they cost."""

from __future__ import annotations

import csv
from collections import Counter

import pytest
from relay.pricing.money import PICO, dollars

from tests.support.billed_bodies import LIST
from tests.support.judged_requests import Judged, all_judged, differences
from tests.support.synthesis import ROOT


@pytest.fixture(scope="module")
def requests() -> list[Judged]:
    return all_judged()


def test_no_bill_exceeds_what_was_reserved(requests: list[Judged]) -> None:
    """All of them, with what was reserved, settled and billed, stand in build/judged-requests.csv."""
    table = ROOT / "build" / "judged-requests.csv"
    table.parent.mkdir(exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "path", "tier", "judge", "reserved_usd", "settled_usd", "billed_usd"])
        for each in requests:
            amounts = [dollars(each.bound), dollars(each.settled), str(float(each.billed))]
            writer.writerow([each.model, each.path, each.tier, each.judge, *amounts])
    for each in requests:
        assert each.billed * PICO <= each.bound, each
        assert each.settled <= each.bound, each


def test_the_settlement_is_the_bill_to_the_pico_dollar_where_the_sources_agree(requests: list[Judged]) -> None:
    """Where they do not, the relay books the dearer of the two, and every such model is among the differences listed."""
    differ = {each.model for each in differences()}
    equal = 0
    for each in requests:
        if each.settled == each.billed * PICO:
            equal += 1
        else:
            assert each.model in differ, each
            assert each.settled > each.billed * PICO, each
    assert equal > len(requests) * 0.8


def test_every_model_tier_and_endpoint_is_judged(requests: list[Judged]) -> None:
    assert len(requests) > 500
    assert {each.model for each in requests} == LIST.keys()
    assert {each.tier for each in requests} == {"default", "flex", "priority", "ultrafast"}
    assert len({each.path for each in requests}) == 9
    by_judge = Counter(each.judge for each in requests)
    assert by_judge["genai-prices"] > 500, by_judge
