"""docs/prices.md says of the price list what the relay reads."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import pytest
from relay.pricing import prices, rates
from relay.pricing.money import PICO

from tests.support.judged_requests import all_judged, differences
from tests.support.synthesis import ROOT

PAGE = ROOT / "docs" / "prices.md"
LIST = json.loads(Path(prices.__file__).with_name("prices.json").read_text())


def test_every_field_of_the_format_has_its_row() -> None:
    table = PAGE.read_text().split("\n## ")[1]
    described = {name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`(\w+)`", row)}
    known = {*rates.RATES, "character", *rates.WHOLE, *prices._FIGURES, "tiers", "shutdown", "snapshots"}
    assert described == known


def test_the_top_of_the_list_is_described() -> None:
    text = PAGE.read_text()
    assert all(f"`{name}`" in text for name in LIST)
    assert all(isinstance(reason, str) and reason for reason in LIST["left_out"].values())
    assert not LIST["left_out"].keys() & LIST["models"].keys()


def _judgement() -> str:
    """The two tables between the markers: what genai-prices bills for requests of each model, and what it says otherwise."""
    by_model = defaultdict(list)
    for each in all_judged():
        by_model[each.model].append(each)
    count = sum(map(len, by_model.values()))
    equal = sum(each.settled == each.billed * PICO for requests in by_model.values() for each in requests)
    lines = [
        f"{count} requests; genai-prices {version('genai-prices')} and the settlement agree to the pico-dollar in {equal}.",
        "",
        "| model | requests | judged by genai-prices | settled, USD | billed, USD |",
        "|---|---|---|---|---|",
    ]
    for model, requests in by_model.items():
        judges = sum(each.judge == "genai-prices" for each in requests)
        sums = (sum(each.settled for each in requests), sum(each.billed for each in requests) * PICO)
        figures = " | ".join(f"{float(amount) / PICO:.6f}" for amount in sums)
        lines.append(f"| {model} | {len(requests)} | {judges} | {figures} |")
    lines += ["", "| model | figure | here | genai-prices |", "|---|---|---|---|"]
    lines += [f"| {each.model} | {each.what} | {each.here} | {each.there} |" for each in differences()]
    return "\n" + "\n".join(lines) + "\n"


def test_the_judgement_is_that_of_the_tests(pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text()
    begin, end = re.search(r"<!-- judgement: .*-->\n", text), text.index("<!-- end of judgement -->")
    assert begin
    filled = text[: begin.end()] + _judgement() + text[end:]
    if pytestconfig.getoption("--accept-snapshots"):
        PAGE.write_text(filled)
    else:
        assert text == filled, "pytest tests/docs/test_prices_page.py --accept-snapshots writes it anew"
