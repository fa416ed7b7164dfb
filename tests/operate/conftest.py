"""One stand-in for DynamoDB per file, and a desk with a new table per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import dynamo
from tests.support.operator_desk import Desk, environment


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with dynamo.ministack() as url:
        yield url


@pytest.fixture
def desk(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Where the operator's own environment points at the stand-in."""
    for name, text in environment(url).items():
        monkeypatch.setenv(name, text)
    return Desk(url, capsys)
