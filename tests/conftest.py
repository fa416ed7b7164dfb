"""What several test files need and what takes seconds to make: the templates and the real bundle, once per session."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from cdk_app import bundle as bundling
from cdk_app import target_python
from tests.harness.parsers import EventSourceParser
from tests.harness.rig import Rig
from tests.harness.rig import rig as make_rig
from tests.synthesis import Synthesised, synthesise

# No time limit per example: a busy machine is no bug. The same examples each time: a gate that fails by chance is none.
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True)
hypothesis.settings.load_profile("gate")


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Synthesised]:
    """The templates of every environment by name ("dev", "staging", "prod", and "everything").

    Mark a file that uses it with `pytestmark = pytest.mark.xdist_group("stacks")`, so that one process makes them.
    """
    code = tmp_path_factory.mktemp("bundle")
    code.joinpath("bootstrap").write_text("#!/bin/sh\n")
    return synthesise(bundle=code, out=tmp_path_factory.mktemp("cdk.out"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real bundle, as `make bundle` writes it; the workers of one run share it.

    Needs the network once per lock file, like the command.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    built = shared / "lambda"
    with (shared / "lambda.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return built if built.exists() else bundling.write(built, interpreter=bundling.compiler())


@pytest.fixture(scope="session")
def lambda_python() -> Path:
    """The Lambda's own Python when this machine has it."""
    return target_python.find() or Path(sys.executable)


@pytest.fixture(scope="session")
def node() -> Iterator[EventSourceParser]:
    """npm's eventsource-parser."""
    with EventSourceParser() as parser:
        yield parser


@pytest.fixture(scope="session")
def _shared_rig(bundle: Path, lambda_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with make_rig(bundle, lambda_python, tmp_path_factory.mktemp("relay") / "process") as made:
        yield made


@pytest.fixture
def rig(_shared_rig: Rig) -> Iterator[Rig]:
    """One relay process that many faults pass through, each of which has to leave it as good as new (I7, I8)."""
    if not _shared_rig.api.next_calls:
        _shared_rig.assert_serves()
    before = _shared_rig.relay.footprint()
    yield _shared_rig
    after = _shared_rig.relay.footprint()
    # One connection upstream may have been kept, or given up.
    assert abs(after.descriptors - before.descriptors) <= 1
    assert after.threads <= before.threads
    _shared_rig.assert_no_leak()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept-snapshots", action="store_true", help="take the templates as they are now for right")
