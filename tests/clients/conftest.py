"""A door for each test, and credentials that it knows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tests.support.signed_door import REGION, SECRET, Door


@pytest.fixture
def door() -> Iterator[Door]:
    door, ready = Door(), threading.Event()
    thread = threading.Thread(target=door.run, args=(ready,))
    thread.start()
    assert ready.wait(10)
    yield door
    door.stop()
    thread.join(10)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
