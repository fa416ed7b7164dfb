"""Every example asks for the same model, which stands in one place: `clients.EXAMPLE_MODEL`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clients import EXAMPLE_MODEL
from tests.support.synthesis import ROOT

# What looks like the name of one of OpenAI's chat models. A dated snapshot of the example is the example.
MODEL = re.compile(r"(?<![\w./-])(?:gpt-\d[\w.]*(?:-[a-z]\w*)*|o\d(?:-[a-z]+)?)(?![\w/])")
# Figures of measured runs, a table that tests write, and the page that is about models.
MEASURED = {"performance.md", "faults.md", "prices.md"}


def _pages() -> list[Path]:
    pages = [ROOT / "README.md", ROOT / "Makefile", ROOT / "app.py", ROOT / "clients" / "README.md"]
    pages += [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in MEASURED]
    for folder in ("clients", "cdk_app", "operate", "emulator", "price_lists"):
        code = sorted((ROOT / folder).rglob("*.py")) + sorted((ROOT / folder).rglob("*.mjs"))
        pages += [path for path in code if "fakes" not in path.parts]
    return pages


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_example_names_another_model(page: Path, pytestconfig: pytest.Config) -> None:
    text = page.read_text()
    if pytestconfig.getoption("--accept-snapshots"):
        text = MODEL.sub(EXAMPLE_MODEL, text)
        page.write_text(text)
    assert set(MODEL.findall(text)) <= {EXAMPLE_MODEL}, "pytest tests/docs/test_example_model.py --accept-snapshots"


def test_the_examples_are_there() -> None:
    for page in ("README.md", "clients/README.md", "cdk_app/relay/stack.py"):
        assert EXAMPLE_MODEL in ROOT.joinpath(page).read_text()


@pytest.mark.parametrize("name", ["gpt-5", "gpt-4o-mini", "gpt-4.1", "o3", "o4-mini", "gpt-6-nano"])
def test_other_models_would_be_noticed(name: str) -> None:
    for text in (f'"model":"{name}"', f"model=`{name}`,", f"--model {name}"):
        assert MODEL.findall(text) == [name]


@pytest.mark.parametrize("text", ["gpt-5-mini-2025-08-07", "ft:gpt-5-mini:x", '"gpt-5-mini"'])
def test_the_example_is_known_in_every_form(text: str) -> None:
    assert MODEL.findall(text) == ["gpt-5-mini"]
