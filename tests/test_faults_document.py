"""docs/faults.md says what the tests play, row by row."""

from __future__ import annotations

import pytest

from tests.harness import table


def test_the_tables_are_those_of_the_tests(pytestconfig: pytest.Config) -> None:
    document = table.DOCUMENT.read_text()
    filled = table.filled(document)
    if pytestconfig.getoption("--accept-snapshots"):
        table.DOCUMENT.write_text(filled)
    else:
        assert document == filled, "pytest tests/test_faults_document.py --accept-snapshots writes them anew"


def test_every_file_of_faults_is_in_a_table() -> None:
    listed = {name for names in table.SECTIONS.values() for name in names}
    there = {path.stem for path in (table.DOCUMENT.parent.parent / "tests").glob("test_faults_*.py")}
    assert there - {"test_faults_document"} == {name for name in listed if name.startswith("test_faults_")}
