"""The report of a check: what a person reads, what goes into an issue, and what goes into neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients import report
from clients.report import Redaction, Result, judged, observed, skipped

KEPT = judged("a is so", True, "seen a", "not shown", first_ms=12.34567)
BROKEN = judged("b is so", False, "seen b", "do b")
SKIPPED = skipped("c is so", "no rights", "get them")
OBSERVED = observed("what d does", "this")
PLAIN = Redaction()
SECRETS = (
    "wJalrXUtnFEMI/K7MDENG",
    "FwoGZXIvYXdzEXAMPLETOKEN",
    "sk-proj-abcdefghij",
    "Signature=0123456789abcdef0123456789abcdef",
)
NAMES = (
    "AKIAIOSFODNN7EXAMPLE",
    "arn:aws:iam::123456789012:role/x",
    "abcdefghijklmnop.lambda-url.eu-central-1.on.aws",
    "d111111abcdef8.cloudfront.net",
    "openai.example.com",
    "org-AbCdEfGhIjKl",
)


@pytest.mark.parametrize(
    ("findings", "code", "last"),
    [
        ([KEPT, OBSERVED], 0, "all 1 promises are kept by URL"),
        ([KEPT, SKIPPED], 0, "all 1 promises are kept by URL; 1 could not be checked"),
        ([KEPT, BROKEN, SKIPPED], 1, "1 of 2 promises are broken; 1 could not be checked"),
        ([SKIPPED, OBSERVED], 2, "nothing could be checked at URL"),
        ([], 2, "nothing could be checked at URL"),
    ],
)
def test_the_outcome(findings: list[report.Finding], code: int, last: str) -> None:
    assert report.exit_code(findings) == code
    assert report.summary(findings, "URL") == last


def test_the_lines_say_what_to_do_only_where_something_is_wrong() -> None:
    assert report.lines(KEPT, PLAIN) == "ok    a is so\n      seen a"
    assert report.lines(BROKEN, PLAIN) == "FAIL  b is so\n      seen b\n      do b"
    assert report.lines(SKIPPED, PLAIN) == "skip  c is so\n      no rights\n      get them"
    assert report.lines(OBSERVED, PLAIN) == "see   what d does\n      this"


def test_the_file_holds_every_finding_with_its_figures(tmp_path: Path) -> None:
    report.write(tmp_path / "r.json", [KEPT, BROKEN, SKIPPED, OBSERVED], {"region": "eu-central-1"}, PLAIN)
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["format"] == 1
    assert written["region"] == "eu-central-1"
    assert written["exit_code"] == 1
    assert written["counts"] == {result.value: 1 for result in Result}
    assert written["findings"][0] == {
        "promise": "a is so", "result": "kept", "seen": "seen a", "figures": {"first_ms": 12.3457}
    }  # fmt: skip


@pytest.mark.parametrize("identify", [False, True])
def test_no_secret_is_ever_written_and_names_only_when_asked_for(tmp_path: Path, identify: bool) -> None:
    redaction = Redaction(secrets=SECRETS[:2], hosts=["openai.example.com"], identify=identify)
    text = " ".join((*SECRETS, *NAMES))
    finding = judged(text, False, text, text)
    report.write(tmp_path / "r.json", [finding], {"url": text}, redaction)
    for shown in ((tmp_path / "r.json").read_text(), report.lines(finding, redaction)):
        assert [secret for secret in SECRETS if secret in shown] == []
        assert all((name in shown) is identify for name in NAMES)
        assert "eu-central-1" in shown


def test_figures_of_time_are_not_taken_for_account_numbers() -> None:
    text = "1795000000123 ms, 0.123456789012 s, id 12345678-1234-1234-1234-123456789012"
    assert PLAIN.text(text) == text
