"""docs/faults.md says what the tests play, row by row."""

from __future__ import annotations

from tests.harness import table


def test_the_tables_are_those_of_the_tests() -> None:
    document = table.DOCUMENT.read_text()
    assert document == table.filled(document), "python -m tests.harness.table writes them anew"


def test_every_file_of_faults_is_in_a_table() -> None:
    listed = {name for names in table.SECTIONS.values() for name in names}
    there = {path.stem for path in (table.DOCUMENT.parent.parent / "tests").glob("test_faults_*.py")}
    assert there - {"test_faults_document"} == listed
