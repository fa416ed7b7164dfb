"""The environments this repository deploys: the file to edit. `cdk_app/config/` says what each field means and allows.

`make synth ENV=prod` checks the values without calling AWS.
"""

from __future__ import annotations

from cdk_app.config import check as _check
from cdk_app.config.caller_policies import CallerGroup, CallerPolicies, CallerPolicy
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.config.environment import AGENT_TOOLS, Environment, RequestPolicy, Waiver
from cdk_app.options.alarm_options import AlarmOptions
from cdk_app.options.api_options import ApiOptions, TokenIssuer

# All that an environment may be made of; not every environment needs all.
__all__ = [
    "AGENT_TOOLS",
    "ENVIRONMENTS",
    "AlarmOptions",
    "ApiOptions",
    "CallerGroup",
    "CallerPolicies",
    "CallerPolicy",
    "EdgeOptions",
    "Environment",
    "RequestPolicy",
    "TokenIssuer",
    "Waiver",
    "find",
]

ENVIRONMENTS = (
    Environment(
        name="dev",
        invokers=(),  # such as "arn:aws:iam::123456789012:role/my-service"
        # A new account has ten concurrent executions in all, of which none can be reserved.
        reserved_concurrency=None,
        waivers=(
            Waiver(
                rule="no-concurrency-cap",
                reason="dev deploys on a new account, whose quota of ten is a cap; the callers' budgets hold anywhere",
            ),
        ),
        log_retention_days=7,
        monitoring="off",
        # For developers, whose coding agents bring tools of their own.
        requests=RequestPolicy(tools=(*AGENT_TOOLS, "namespace")),
        callers=CallerPolicies(default=CallerPolicy(requests_per_minute=60, concurrent=5, usd_per_day=2)),
        # A budget refuses pictures of current models, because OpenAI publishes no largest one. These are assumptions: the
        # output is nearly four times the dearest that others have published (docs/prices.md), the input is a guess.
        prices={
            "gpt-image-2": {
                "input": 5,
                "image_input": 8,
                "output": 30,
                "image_tokens": 10_000,
                "output_per_image": 50_000,
            }
        },
        on_destroy="delete",
    ),
    Environment(
        name="staging",
        region="eu-central-1",
        edge="required",
        invokers=(),
        reserved_concurrency=10,
        log_retention_days=30,
        callers=CallerPolicies(default=CallerPolicy(requests_per_minute=60, concurrent=5, usd_per_day=5)),
        on_destroy="delete",
    ),
    Environment(
        name="prod",
        region="eu-central-1",
        edge="required",
        # WAF has to let through what the callers below may send, and several of them from one address.
        edge_options=EdgeOptions(requests_per_session=1000, requests_per_ip=5000),
        invokers=(),
        timeout_seconds=600,
        reserved_concurrency=50,
        log_retention_days=90,
        # For everybody who is not named in `rules`, such as rules={"123456789012:role/ci-*": CallerPolicy(...)}.
        callers=CallerPolicies(
            default=CallerPolicy(requests_per_minute=120, concurrent=20, usd_per_day=20, usd_per_month=200)
        ),
    ),
)


def find(name: str) -> Environment:
    """The environment of that name, checked. Raises ConfigurationError when it is unknown or a value is not allowed."""
    return _check.find(name, ENVIRONMENTS)
