"""What several test files need and what takes seconds to make: the templates and the real bundle, once per session."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

from cdk_app import bundle as bundling
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
    """The real bundle, as `make bundle` writes it. Needs the network once per lock file, like the command."""
    return bundling.write(tmp_path_factory.mktemp("real") / "lambda", interpreter=bundling.compiler())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept-snapshots", action="store_true", help="take the templates as they are now for right")
