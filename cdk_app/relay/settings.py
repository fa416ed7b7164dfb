"""The part of the configuration that the relay reads, as environment variables. Knows nothing of the CDK.

The names are the relay's; README lists them, and a test holds both against what the relay reads.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from cdk_app.config import caller_policies
from cdk_app.config.environment import Environment


def of(environment: Environment) -> dict[str, str]:
    """The settings that are values. Those that name resources (the secret, the table) are the stack's to add."""
    return {
        "OPENAI_BASE_URL": environment.openai_base_url,
        "REQUEST_POLICY": json.dumps(asdict(environment.requests), separators=(",", ":")),
        "CALLER_POLICIES": caller_policies.encoded(environment.callers),
        "PRICES": caller_policies.encoded_prices(environment.prices),
        "SETTLE_FAILURE": environment.settle_failure,
        "USAGE_DAYS": str(environment.usage_days),
        "MAX_BODY_BYTES": str(environment.max_body_bytes),
        "HEARTBEAT_SECONDS": str(environment.heartbeat_seconds),
        "EDGE": environment.edge,
        "DEADLINE_RESERVE_SECONDS": str(environment.deadline_reserve_seconds),
    }
