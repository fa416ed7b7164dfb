"""What `cdk` runs in a local deployment: the environment's own stage, in the one region there is, with the edge in front.

Run by the CDK's CLI with the environment's name as its context; see `deployment`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from cdk_app import environments
from cdk_app.bundle import build
from cdk_app.config.environment import Environment
from cdk_app.stage import RelayStage
from emulator.local_deploy.ministack_account import REGION
from emulator.signing.identities import ACCOUNT

# What this version of MiniStack cannot make: deployments with them would fail as a whole.
NOT_IN_THE_CLOUD = frozenset(
    {
        "AWS::Budgets::Budget",
        "AWS::Logs::Delivery",
        "AWS::Logs::DeliveryDestination",
        "AWS::Logs::DeliverySource",
        "AWS::WAFv2::IPSet",
        "AWS::WAFv2::LoggingConfiguration",
    }
)


def main() -> int:
    app = cdk.App(performance_reporting=False)
    environment = localised(environments.find(app.node.get_context("env")), update=app.node.try_get_context("update"))
    with tempfile.TemporaryDirectory() as scratch:
        code = build.write(Path(scratch, "lambda"), interpreter=build.compiler())
        RelayStage(app, environment.name, environment=environment, bundle=code)
    left_out = sorted(_leave_out(app))
    print(f"left out, as MiniStack has none: {', '.join(left_out)}", file=sys.stderr)
    app.synth()
    return 0


def localised(environment: Environment, *, update: str | None) -> Environment:
    """The environment as it is but for its place and what only its owner has; `update` is what a change looks like."""
    options = replace(environment.edge_options, domain=None, certificate=None, networks=(), countries=())
    changed = replace(environment, account=ACCOUNT, region=REGION, edge="required", edge_options=options)
    # It has to be possible to destroy what was deployed here.
    changed = replace(changed, on_destroy="delete", monitoring="on")
    changed = replace(changed, alarms=replace(changed.alarms, emails=(), stop_at_usd_per_day=100))
    if not update:
        return changed
    options = replace(options, origin_secret_version=options.origin_secret_version + 1)
    return replace(changed, edge_options=options, log_level="DEBUG")


def _leave_out(scope: Construct) -> set[str]:
    gone = set()
    for construct in scope.node.find_all():
        if isinstance(construct, cdk.CfnResource) and construct.cfn_resource_type in NOT_IN_THE_CLOUD:
            parent = construct.node.scope
            assert parent is not None
            parent.node.try_remove_child(construct.node.id)
            gone.add(construct.cfn_resource_type)
    return gone


if __name__ == "__main__":
    sys.exit(main())
