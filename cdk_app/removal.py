"""What becomes of what holds data when its stack goes: the one place where an environment's `on_destroy` is read."""

from __future__ import annotations

import aws_cdk as cdk

from cdk_app.config.environment import Environment


def policy(environment: Environment) -> cdk.RemovalPolicy:
    """For logs and secrets. What is kept is kept when it was ever in use: a first deployment that fails takes its empty ones
    back, so that the next finds nothing in its way."""
    return {
        "delete": cdk.RemovalPolicy.DESTROY,
        "keep": cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    }[environment.on_destroy]


def of_the_table(environment: Environment) -> cdk.RemovalPolicy:
    """For the table, which is protected where it is kept: it cannot be taken back, and a rollback that tried would fail. An
    empty one with a name of its own is left, in nobody's way."""
    return {
        "delete": cdk.RemovalPolicy.DESTROY,
        "keep": cdk.RemovalPolicy.RETAIN,
    }[environment.on_destroy]
