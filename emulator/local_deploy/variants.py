"""The ways in which one environment is deployed in the course of a local deployment: the values of each, and no construct."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from cdk_app.config.environment import Environment
from emulator.local_deploy.ministack_account import REGION
from emulator.signing.identities import ACCOUNT

CALLERS = tuple(f"team-{number:02}" for number in range(60))
"""Names of the roles that may call: more than the function's own policy would hold."""


class Variant(StrEnum):
    """Each is a stage of the app, by this name."""

    FIRST = "first"
    UPDATED = "updated"  # another log level, and the origin secret learnt anew
    BESIDE = "beside"  # under a second name
    WITHOUT_EDGE = "without-edge"
    BROKEN = "broken"  # keeps its data, and cannot be deployed to the end


def localised(environment: Environment, variant: Variant) -> Environment:
    """The environment as it is but for its place and what only its owner has, and what `variant` changes."""
    options = replace(environment.edge_options, domain=None, certificate=None, networks=(), countries=())
    options = replace(options, ai_rules="off", ai_guardrails_role=None, plan="by-use")
    invokers = tuple(f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in CALLERS)
    changed = replace(environment, account=ACCOUNT, region=REGION, edge="required", edge_options=options)
    # It has to be possible to destroy what was deployed here.
    # MiniStack knows neither streamed integrations nor JWT authorizers.
    changed = replace(changed, api=None, on_destroy="delete", monitoring="on", invokers=invokers, direct_invokers=())
    changed = replace(changed, alarms=replace(changed.alarms, emails=(), stop_at_usd_per_day=100))
    match variant:
        case Variant.UPDATED:
            options = replace(options, origin_secret_version=options.origin_secret_version + 1)
            return replace(changed, edge_options=options, log_level="DEBUG")
        case Variant.BESIDE:
            return replace(changed, name=f"{environment.name}-b")
        case Variant.WITHOUT_EDGE:
            return replace(changed, edge="off", log_level="DEBUG")
        case Variant.BROKEN:
            return replace(changed, on_destroy="keep")
    return changed
