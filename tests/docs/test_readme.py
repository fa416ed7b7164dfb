"""What README says about settings, commands and endpoints is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from relay.request import endpoints
from relay.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT.joinpath("README.md").read_text()
# Lambda's own, which are nobody's to set.
OF_LAMBDA = {"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_LEVEL", "AWS_REGION"}


class Asked(dict[str, str]):
    """Remembers the names it was asked for."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, key: str, default: object = None) -> str:
        self.names.add(key)
        return str(super().get(key, default))


def settings_table() -> dict[str, str]:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", README, re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def test_the_settings_table_names_every_setting_and_no_other() -> None:
    environ = Asked({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "OPENAI_SECRET_ARN": "x"})
    Settings.from_environ(environ)
    assert environ.names - OF_LAMBDA == set(settings_table())


def test_the_defaults_in_the_settings_table_are_the_defaults() -> None:
    bare = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "OPENAI_SECRET_ARN": "x"}
    given = {name: text for name, text in settings_table().items() if text not in ("required", "empty")}
    assert Settings.from_environ(bare | given) == Settings.from_environ(bare)


@pytest.mark.parametrize("endpoint", endpoints.TABLE, ids=lambda e: f"{e.method} {e.path}")
def test_every_endpoint_is_listed(endpoint: endpoints.Endpoint) -> None:
    assert f"`{endpoint.method} {endpoint.path}`" in README


def test_every_command_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= targets
