"""The table of docs/faults.md, made from the tests themselves: one row per fault that is played.

python -m tests.support.harness.faults_table        writes the tables into docs/faults.md
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parent.parent.parent.parent / "docs" / "faults.md"

# Heading in the document -> the test files whose faults are listed below it.
SECTIONS = {
    "Upstream breaks off": ("faults.test_stream", "faults.test_dialects", "faults.test_audio"),
    "Upstream sends something else": ("faults.test_response",),
    "Upstream is slow, or comes in odd pieces": ("faults.test_pace", "faults.test_split"),
    "Upstream cannot be reached": ("faults.test_connect",),
    "The Runtime API, deadlines and signals": ("faults.test_runtime",),
    "Secrets Manager": ("faults.test_secrets",),
    "DynamoDB": ("end_to_end.test_limits",),
    "The caller, and a long life": ("faults.test_process",),
}

Row = tuple[str, str, str]


def fault(name: str, when: str, outcome: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a test as one row: what goes wrong, when, and what becomes of it."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test.__dict__["fault_row"] = (name, when, outcome)
        return test

    return mark


def rows(module_name: str) -> Iterator[Row]:
    """The rows of one test file: its CASES, then its tests that are marked."""
    module: Any = importlib.import_module(f"tests.{module_name}")
    for case in getattr(module, "CASES", ()):
        yield case.row
    for thing in vars(module).values():
        row = getattr(thing, "fault_row", None)
        if row is not None:
            yield row


def table(module_names: tuple[str, ...]) -> str:
    """Markdown. Rows that differ only in `when` and lead to the same outcome become one."""
    merged: dict[tuple[str, str], list[str]] = {}
    for module_name in module_names:
        for name, when, outcome in rows(module_name):
            merged.setdefault((name, outcome), []).append(when)
    lines = ["| fault | when | outcome |", "|---|---|---|"]
    lines += [
        f"| {name} | {'; '.join(dict.fromkeys(whens))} | {outcome} |" for (name, outcome), whens in merged.items()
    ]
    return "\n".join(lines)


def filled(document: str) -> str:
    """`document` with the table below each of its headings replaced by what the tests say."""
    for heading, module_names in SECTIONS.items():
        place = re.compile(rf"(?m)(^## {re.escape(heading)}\n(?:(?!\||## ).*\n)*)(?:^\|.*\n)*")
        if not place.search(document):
            raise ValueError(f"{DOCUMENT.name} has no heading {heading!r}")
        made = table(module_names)
        document = place.sub(lambda found, made=made: f"{found[1]}{made}\n", document, count=1)  # type: ignore[misc]
    return document
