"""app.py with an API in whatever environment is asked for: run as a process, never imported.

An environment's own API stays as it is; one without gets keys, and tokens of an issuer that is nobody's.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime

import app
from cdk_app.config.check import check
from cdk_app.config.environment import Environment
from cdk_app.options.api_options import ApiOptions, TokenIssuer

LOCAL_ISSUER = "https://issuer.invalid/"  # RFC 2606: a name that can never be somebody's


def with_api(environment: Environment) -> Environment:
    """The environment with an API. Raises ConfigurationError where something in it forbids one."""
    if environment.api is not None:
        return environment
    local = TokenIssuer(alias="local", issuer=LOCAL_ISSUER, audiences=("relay",))
    changed = replace(environment, api=ApiOptions(tokens=(local,)))
    check(changed)
    return changed


if __name__ == "__main__":
    sys.exit(app.main(datetime.now(UTC).date(), with_api))
