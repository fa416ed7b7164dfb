"""The environments this repository deploys: the file to edit. What each field means and allows is in `config.py`.

`make synth ENV=prod` checks the values without calling AWS.
"""

from __future__ import annotations

from cdk_app.config import ConfigurationError, Environment, check

ENVIRONMENTS = (
    Environment(
        name="dev",
        invokers=(),  # such as "arn:aws:iam::123456789012:role/my-service"
        reserved_concurrency=5,
        log_retention_days=7,
        on_destroy="delete",
    ),
    Environment(
        name="staging",
        invokers=(),
        reserved_concurrency=10,
        log_retention_days=30,
        on_destroy="delete",
    ),
    Environment(
        name="prod",
        invokers=(),
        timeout_seconds=600,
        reserved_concurrency=50,
        log_retention_days=90,
    ),
)


def find(name: str) -> Environment:
    """The environment of that name, checked. Raises ConfigurationError when it is unknown or a value is not allowed."""
    known = {environment.name: environment for environment in ENVIRONMENTS}
    if name not in known:
        raise ConfigurationError(f'unknown environment "{name}"; known: {", ".join(known)}')
    check(known[name])
    return known[name]
