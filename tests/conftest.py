"""What several test files need and what takes seconds to make: the templates and the real bundle, once per session."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from cdk_app.bundle import build as bundling
from cdk_app.bundle import target_python
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import RelayFixture
from tests.support.harness.relay_fixture import relay_fixture as make_relay_fixture
from tests.support.synthesis import Synthesised, synthesise_once

# No time limit per example: a busy machine is no bug. The same examples each time: a gate that fails by chance is none.
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True)
hypothesis.settings.load_profile("gate")


@pytest.fixture(scope="session")
def templates(shared_folder: Path) -> dict[str, Synthesised]:
    """The templates of every environment by name ("dev", "staging", "prod", and "everything").

    Synthesised by the first worker that needs them, because the CDK takes seconds to start; the others read its files.
    """
    with locked(shared_folder / "templates.lock"):
        return synthesise_once(shared_folder / "templates")


@pytest.fixture(scope="session")
def bundle(shared_folder: Path) -> Path:
    """The real bundle, as `make bundle` writes it; the workers of one run share it.

    Needs the network once per lock file, like the command.
    """
    built = shared_folder / "lambda"
    with locked(shared_folder / "lambda.lock"):
        return built if built.exists() else bundling.write(built, interpreter=bundling.compiler())


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One temporary folder for all workers of this run, for what is slow to make."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a file lock against the other workers; waits for it without a limit of its own."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def lambda_python() -> Path:
    """The Lambda's own Python when this machine has it."""
    return target_python.find() or Path(sys.executable)


@pytest.fixture(scope="session")
def node() -> Iterator[EventSourceParser]:
    """npm's eventsource-parser."""
    with EventSourceParser() as parser:
        yield parser


class SharedRelay:
    """The relay process that many tests pass through: a new one only when the last test has left it unfit."""

    def __init__(self, make: Callable[[], AbstractContextManager[RelayFixture]]) -> None:
        self._make = make
        self._stack = ExitStack()
        self._fixture: RelayFixture | None = None

    def fit(self) -> RelayFixture:
        """One whose relay waits for work."""
        if self._fixture is None or not self._fixture.relay.alive or not self._fixture.api.wait_idle(10.0):
            self.close()
            self._fixture = self._stack.enter_context(self._make())
            self._fixture.assert_serves()
        return self._fixture

    def close(self) -> None:
        """Ends the process."""
        self._fixture = None
        self._stack.close()


@pytest.fixture(scope="session")
def _shared_relay(bundle: Path, lambda_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRelay]:
    shared = SharedRelay(
        lambda: make_relay_fixture(bundle, lambda_python, tmp_path_factory.mktemp("relay") / "process")
    )
    yield shared
    shared.close()


@pytest.fixture
def relay_fixture(_shared_relay: SharedRelay) -> Iterator[RelayFixture]:
    """One relay process that many faults pass through, each of which has to leave it as good as new (I7, I8)."""
    relay_fixture = _shared_relay.fit()
    before = relay_fixture.relay.wait_footprint(lambda now: now.threads == 1)
    relay_fixture.start_watch()
    yield relay_fixture
    # One connection upstream may have been kept, or given up.
    after = relay_fixture.relay.wait_footprint(
        lambda now: abs(now.descriptors - before.descriptors) <= 1 and now.threads <= before.threads
    )
    assert abs(after.descriptors - before.descriptors) <= 1
    assert after.threads <= before.threads
    relay_fixture.assert_no_leak()


@pytest.fixture
def new_relay(
    bundle: Path, lambda_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., AbstractContextManager[RelayFixture]]:
    """Makes relay fixtures, each with a process of their own, for faults that end it and for other settings."""

    def make(**given: Any) -> AbstractContextManager[RelayFixture]:
        code = given.pop("bundle", bundle)
        return make_relay_fixture(code, lambda_python, tmp_path_factory.mktemp("relay") / "process", **given)

    return make


# Files that take minutes on a busy machine, slowest first. They start first, so that the last worker is not left with one.
SLOW_FILES = (
    "tests/emulator/local_deploy/test_deployment.py",
    "tests/cdk_app/checks/test_template_diff.py",
    "tests/cdk_app/test_stage.py",
    "tests/cdk_app/pipelines/test_trust.py",
    "tests/emulator/test_machine.py",
    "tests/cdk_app/bundle/test_machines.py",
    "tests/load/test_contention.py",
    "tests/relay/ledger/test_ledger.py",
    "tests/clients/test_signing_proxy.py",
    "tests/end_to_end/test_every_model.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0]
        return SLOW_FILES.index(file) if file in SLOW_FILES else len(SLOW_FILES)

    items.sort(key=rank)


def pytest_configure() -> None:
    # A shell starts background commands (`make test &`, nohup) with SIGINT ignored, and children inherit that: programs
    # that are ended by Ctrl-C would stay. A handler of one's own is not inherited.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept-snapshots", action="store_true", help="take the templates as they are now for right")
    parser.addoption("--thorough", action="store_true", help="repeat what promises a number of rounds that often")
