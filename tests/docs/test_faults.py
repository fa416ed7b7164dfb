"""docs/faults.md says what the tests play, row by row."""

from __future__ import annotations

import pytest

from tests.support.harness import faults_table

# What the ledger does under kills and lost replies is told in docs/ledger.md, not as rows.
NO_ROWS = {"faults.test_crashes", "faults.test_ledger"}


def test_the_tables_are_those_of_the_tests(pytestconfig: pytest.Config) -> None:
    document = faults_table.DOCUMENT.read_text()
    filled = faults_table.filled(document)
    if pytestconfig.getoption("--accept-snapshots"):
        faults_table.DOCUMENT.write_text(filled)
    else:
        assert document == filled, "pytest tests/docs/test_faults.py --accept-snapshots writes them anew"


def test_every_file_of_faults_is_in_a_table() -> None:
    listed = {name for names in faults_table.SECTIONS.values() for name in names}
    folder = faults_table.DOCUMENT.parent.parent / "tests" / "faults"
    there = {f"faults.{path.stem}" for path in folder.glob("test_*.py")}
    assert there - NO_ROWS == {name for name in listed if name.startswith("faults.")}
