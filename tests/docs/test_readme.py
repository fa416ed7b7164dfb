"""What README says about settings, commands and endpoints is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from relay.request import endpoints
from relay.settings import ProcessSettings, Settings

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT.joinpath("README.md").read_text()
RELAY = ROOT / "lambda_src" / "relay"


class Asked(dict[str, str]):
    """Remembers the names it was asked for."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


def settings_table() -> dict[str, str]:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", README, re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def set_by_lambda() -> set[str]:
    sentence = re.search(r"^Lambda itself sets (.+?)\nNothing else is read\.", README, re.MULTILINE | re.DOTALL)
    assert sentence is not None
    return set(re.findall(r"`([A-Z_]+)`", sentence[1]))


def test_every_variable_that_the_bundle_reads_is_documented_and_no_other() -> None:
    environ = Asked({"OPENAI_SECRET_ARN": "x"})
    ProcessSettings.from_environ(environ)
    Settings.from_environ(environ)
    by_bootstrap = set(re.findall(r"\$\{?([A-Z_]{2,})", ROOT.joinpath("lambda_src", "bootstrap").read_text()))
    assert environ.names | by_bootstrap == set(settings_table()) | set_by_lambda()


def test_nothing_but_the_settings_reads_the_environment() -> None:
    """`app` hands the environment over; the loop writes one variable, for tracing libraries."""
    found = {}
    for path in RELAY.rglob("*.py"):
        lines = [line.strip() for line in path.read_text().splitlines() if re.search(r"\benviron\b|getenv", line)]
        if lines and path.name != "settings.py":
            found[path.name] = lines
    assert found == {
        "app.py": [
            "process = ProcessSettings.from_environ(os.environ)",
            "settings = Settings.from_environ(os.environ)",
        ],
        "loop.py": ['os.environ["_X_AMZN_TRACE_ID"] = invocation.trace_id'],
    }


def test_the_defaults_in_the_settings_table_are_the_defaults() -> None:
    bare = {"OPENAI_SECRET_ARN": "x"}
    given = {name: text for name, text in settings_table().items() if text not in ("required", "empty")}
    assert Settings.from_environ(bare | given) == Settings.from_environ(bare)


@pytest.mark.parametrize("endpoint", endpoints.TABLE, ids=lambda e: f"{e.method} {e.path}")
def test_every_endpoint_is_listed(endpoint: endpoints.Endpoint) -> None:
    assert f"`{endpoint.method} {endpoint.path}`" in README


def test_every_command_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets
