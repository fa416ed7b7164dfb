"""A table on a terminal of any width: every figure stays whole. Knows rich; shows text exactly as it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

WORDS, FIGURE = "words", "figure"
LEAST_WORDS = 10
"""Columns of a terminal below which words are folded too often to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Rows under `columns`, of which each holds WORDS or a FIGURE. Cells are plain text, never markup.

    Where the terminal is too narrow for one line per row, each cell gets a line of its own.
    """

    title: str
    columns: Mapping[str, str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] = ()
    caption: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table() if self._least_width() <= options.max_width else self._list()

    def _all(self) -> list[Sequence[str]]:
        return [*self.rows, *([self.total] if self.total else [])]

    def _least_width(self) -> int:
        """Columns of the terminal that the table needs when its words are folded."""
        widths = [
            max([*map(len, heading.split("\n")), *(len(row[index]) for row in self._all())])
            if kind == FIGURE
            else max(LEAST_WORDS, len(heading))
            for index, (heading, kind) in enumerate(self.columns.items())
        ]
        return sum(widths) + len(widths) + 1

    def _table(self) -> Table:
        table = Table(
            title=Text(self.title), caption=Text(self.caption) if self.caption else None, box=box.SIMPLE_HEAD,
            padding=0, pad_edge=False,
        )  # fmt: skip
        for heading, kind in self.columns.items():
            if kind == FIGURE:
                table.add_column(Text(heading), justify="right", no_wrap=True)
            else:
                table.add_column(Text(heading), overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        if self.total:
            table.add_section()
            table.add_row(*map(Text, self.total), style="bold")
        return table

    def _list(self) -> Group:
        headings = [heading.replace("\n", " ") for heading in self.columns]
        width = max(map(len, headings))
        lines = [Text(self.title, style="italic")]
        for row in self._all():
            lines.append(Text(""))
            cells = zip(headings, row, strict=True)
            lines += [Text(f"{heading:<{width}} {text}", overflow="fold") for heading, text in cells if text]
        return Group(*lines, *([Text(""), Text(self.caption, style="italic")] if self.caption else []))
