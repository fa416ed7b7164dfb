"""Tables on terminals of any width: every figure stays whole."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from operate.sheet import FIGURE, WORDS, Sheet

FIGURES = ("123,456,789", "1,234,567", "124,691,356", "1,234.000000", "17", "3,141")
SHEET = Sheet(
    title="Usage",
    columns={"caller": WORDS, "model": WORDS, **{f"figure\n{number}": FIGURE for number in range(6)}},
    rows=[("123456789012:role/ci-deploy", "gpt-5-mini", *FIGURES)],
    total=("all", "", *FIGURES),
    caption="figures: made up",
)


def printed(sheet: Sheet, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(sheet)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_figure_is_whole_at_every_width() -> None:
    for width in range(24, 201):
        output = printed(SHEET, width)
        assert "…" not in output
        assert all(output.split().count(figure) == 2 for figure in FIGURES)
        assert all(len(line.rstrip()) <= width for line in output.splitlines())


@pytest.mark.parametrize("width", [60, 200])
def test_words_are_complete(width: int) -> None:
    assert "123456789012:role/ci-deploy" in "".join(printed(SHEET, width).split())


def test_a_narrow_terminal_gets_a_line_per_cell() -> None:
    assert "caller   123456789012:role/ci-deploy\nmodel    gpt-5-mini\nfigure 0 123,456,789\n" in printed(SHEET, 60)


def test_a_wide_terminal_gets_a_line_per_row() -> None:
    row = " ".join(printed(SHEET, 200).splitlines()[5].split())
    assert row == " ".join(("123456789012:role/ci-deploy", "gpt-5-mini", *FIGURES))


def test_an_empty_table_has_its_head() -> None:
    empty = Sheet(title="Usage", columns={"caller": WORDS, "USD": FIGURE}, rows=[])
    assert "caller" in printed(empty, 60)
    assert "Usage" in printed(empty, 20)
