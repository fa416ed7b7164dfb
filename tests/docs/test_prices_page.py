"""docs/prices.md says of the price list what the relay reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

from relay.pricing import prices, rates

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
