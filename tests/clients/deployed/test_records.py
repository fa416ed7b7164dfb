"""The records and metrics that a run leaves, whole and with parts missing, against an account of MiniStack's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clients.deployed import records
from clients.deployed.records import FIELDS, Notes
from clients.report import Result
from tests.clients.deployed.conftest import Site, results

ID, LEFT, CUT = (f"{number}f3b1a52-0000-4000-8000-000000000000" for number in (1, 2, 3))
RECORDED = "each request leaves its record in the log"
WHOLE = "a record has its fields"
SILENT = "the log holds nothing of a prompt"
COUNTED = "Lambda counts a stream that was cut as an error"
MEASURED = "the requests of this run arrive as metrics"


def record(id: str, **fields: Any) -> str:
    return json.dumps({**dict.fromkeys(FIELDS, 1), "event": "request", "requestId": id, **fields})


def report(id: str, status: str) -> str:
    return json.dumps({"type": "platform.report", "record": {"requestId": id, "status": status}})


def test_records_that_are_whole(site: Site, notes: Notes) -> None:
    notes.ids = {"stream": ID, "left": LEFT, "cut": CUT}
    site.write(record(ID), record(LEFT, outcome="ok"), record(CUT), report(CUT, "error"), "not JSON")
    seen = results(records.log(site.deployed, notes))
    assert {RECORDED, WHOLE, SILENT, COUNTED} == {one for one, result in seen.items() if result is Result.KEPT}
    assert seen["what a stream whose caller has left comes to"] is Result.OBSERVED


@pytest.mark.parametrize(
    ("lines", "promise"),
    [
        ([record(LEFT)], RECORDED),
        ([json.dumps({"event": "request", "requestId": ID})], WHOLE),
        ([record(ID), json.dumps({"event": "bug", "text": "it said canary0123456789"})], SILENT),
    ],
)
def test_a_log_that_lacks_or_tells_something_is_noticed(
    site: Site, notes: Notes, lines: list[str], promise: str
) -> None:
    notes.ids = {"stream": ID}
    site.write(*lines)
    assert results(records.log(site.deployed, notes))[promise] is Result.BROKEN


def test_a_cut_stream_that_lambda_takes_for_a_success_is_noticed(site: Site, notes: Notes) -> None:
    notes.ids = {"cut": CUT}
    site.write(record(CUT), report(CUT, "success"))
    assert results(records.log(site.deployed, notes))[COUNTED] is Result.BROKEN


def test_a_record_that_comes_late_is_waited_for(site: Site, notes: Notes) -> None:
    notes.ids = {"stream": ID}
    written: list[int] = []

    def find() -> int | None:
        if not written:
            site.write(record(ID))
            written.append(1)
            return None
        return 1

    assert site.deployed.patiently(find) == 1
    assert results(records.log(site.deployed, notes))[RECORDED] is Result.KEPT


def test_metrics_that_arrive_and_metrics_that_do_not(site: Site, notes: Notes) -> None:
    notes.ids = {"stream": ID, "left": LEFT}
    site.measure("Requests", 1)
    assert results(records.metrics(site.deployed, notes)) == {MEASURED: Result.BROKEN}
    site.measure("Requests", 1)
    site.measure("TimeToFirstByte", 420.0)
    assert results(records.metrics(site.deployed, notes)) == {MEASURED: Result.KEPT}


def test_without_a_request_nothing_is_looked_for(site: Site, notes: Notes) -> None:
    assert set(results(records.log(site.deployed, notes)).values()) == {Result.SKIPPED}
    assert set(results(records.metrics(site.deployed, notes)).values()) == {Result.SKIPPED}
