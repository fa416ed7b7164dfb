"""The contract between the stack and the relay: what one sets, the other reads, and README says so."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from relay.doors import origin_secret
from relay.settings import Settings

from cdk_app.config.environment import Environment
from tests.support.synthesis import Synthesised

# What Lambda itself sets; the rest is the stack's.
OF_LAMBDA = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_REGION": "eu-central-1"}


class Reading(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def variables(synthesised: Synthesised) -> dict[str, str]:
    """The function's own variables; references to resources become a text."""
    functions = [
        resource["Properties"]["Environment"]["Variables"]
        for template in synthesised.stacks.values()
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 1
    return {name: value if isinstance(value, str) else "resource" for name, value in functions[0].items()}


@pytest.mark.parametrize("name", ["dev", "staging", "prod", "everything"])
def test_the_relay_understands_the_environment_that_the_stack_writes(
    templates: dict[str, Synthesised], name: str
) -> None:
    synthesised = templates[name]
    settings = Settings.from_environ(OF_LAMBDA | variables(synthesised))
    configured = synthesised.environment
    assert settings.openai_base_url == configured.openai_base_url
    assert settings.heartbeat_seconds == configured.heartbeat_seconds
    assert settings.deadline_reserve_seconds == configured.deadline_reserve_seconds
    assert settings.max_body_bytes == configured.max_body_bytes
    assert settings.edge == configured.edge
    assert vars(settings.request_policy) == asdict(configured.requests)


def test_the_relay_reads_every_variable_that_the_stack_sets(templates: dict[str, Synthesised]) -> None:
    written = variables(templates["everything"])
    environ = Reading(OF_LAMBDA | written)
    Settings.from_environ(environ)
    assert set(written) - environ.asked == {"AWS_LAMBDA_EXEC_WRAPPER"}
    # And the other way: what is configured arrives. The rest are Lambda's own and those of the API's door.
    assert {name for name in environ.asked - set(written) if not name.startswith(("AWS_", "API_"))} == set()


def test_the_distribution_sends_the_header_that_the_relay_reads() -> None:
    from cdk_app.edge.distribution import ORIGIN_HEADER  # not above: it imports the CDK, which starts Node

    assert ORIGIN_HEADER == origin_secret.HEADER


def test_both_sides_start_from_the_same_defaults() -> None:
    """A relay started by hand behaves like a deployed one."""
    environment = Environment(name="dev", reserved_concurrency=1, log_retention_days=7)
    bare = Settings.from_environ(OF_LAMBDA | {"OPENAI_SECRET_ARN": "name"})
    assert vars(bare.request_policy) == asdict(environment.requests)
    assert bare.edge == environment.edge
    assert bare.openai_base_url == environment.openai_base_url
    assert (bare.heartbeat_seconds, bare.deadline_reserve_seconds) == (10, 3)
    assert bare.max_body_bytes == environment.max_body_bytes
