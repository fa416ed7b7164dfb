"""docs/prices.md says of the price list what the relay reads."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from relay.pricing import prices, rates

from tests.support.judged_requests import differences
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


def _differences() -> str:
    """The table between the markers: every figure that genai-prices states otherwise."""
    lines = [f"| model | figure | here | genai-prices {version('genai-prices')} |", "|---|---|---|---|"]
    lines += [f"| {each.model} | {each.what} | {each.here} | {each.there} |" for each in differences()]
    return "\n" + "\n".join(lines) + "\n"


def test_the_differences_are_those_of_the_tests(pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text()
    begin, end = re.search(r"<!-- differences: .*-->\n", text), text.index("<!-- end of differences -->")
    assert begin
    filled = text[: begin.end()] + _differences() + text[end:]
    if pytestconfig.getoption("--accept-snapshots"):
        PAGE.write_text(filled)
    else:
        assert text == filled, "pytest tests/docs/test_prices_page.py --accept-snapshots writes it anew"
