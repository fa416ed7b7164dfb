"""What `cdk` runs in a local deployment: the environment's own stage in each of its variants, in the one region there is.

Run by the CDK's CLI with the environment's name as its context; see `deployment`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from cdk_app import environments
from cdk_app.bundle import build
from cdk_app.stage import RelayStage
from emulator.local_deploy.variants import Variant, localised

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
    environment = environments.find(app.node.get_context("env"))
    left_out: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch:
        code = build.write(Path(scratch, "lambda"), interpreter=build.compiler())
        for variant in Variant:
            stage = RelayStage(app, variant, environment=localised(environment, variant), bundle=code)
            left_out |= _leave_out(stage)
            if variant is Variant.BROKEN:
                _break(stage.relay)
    print(f"left out, as MiniStack has none: {', '.join(sorted(left_out))}", file=sys.stderr)
    app.synth()
    return 0


def _break(stack: cdk.Stack) -> None:
    """Adds something that cannot be created, after everything else: a signal that nobody gives. On AWS it would be a quota, a
    policy of the organisation, a name that is taken."""
    resources = [each for each in stack.node.find_all() if isinstance(each, cdk.CfnResource)]
    handle = cdk.CfnWaitConditionHandle(stack, "Handle")
    signal = cdk.CfnWaitCondition(stack, "Broken", count=1, handle=handle.ref, timeout="1")
    for resource in resources:
        signal.add_resource_dependency(resource)


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
