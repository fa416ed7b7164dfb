"""What `cdk` runs: the chosen environment's stage, synthesised and checked. Calls no AWS API, needs no credentials.

The day is asked for warnings alone: the templates of a commit are the same on every day.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import aws_cdk as cdk
import cdk_nag

from cdk_app import environments
from cdk_app.bundle import build
from cdk_app.bundle.errors import BundleError
from cdk_app.checks import endings, guards
from cdk_app.config.environment import ConfigurationError, Environment
from cdk_app.stage import RelayStage


def main(today: date, change: Callable[[Environment], Environment] = lambda environment: environment) -> int:
    """Synthesise the chosen environment, `change`d where a local tool asks for it. Returns the exit code."""
    # A slow synth would leave its timings beside the templates, and no two runs would be alike.
    app = cdk.App(performance_reporting=False)
    try:
        environment = change(environments.find(app.node.try_get_context("env") or "dev"))
        with tempfile.TemporaryDirectory() as scratch:
            code = build.write(Path(scratch, "lambda"), interpreter=build.compiler())
            RelayStage(app, environment.name, environment=environment, bundle=code)
    except (ConfigurationError, BundleError) as problem:
        return refuse(str(problem).splitlines())
    warn(endings.warning(environment, today))
    return refuse(synthesise(app, environment))


def synthesise(app: cdk.App, environment: Environment) -> list[str]:
    """Write the templates and return the problems to fix before a deployment, one line each."""
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    try:
        assembly = app.synth()
    except RuntimeError as failure:
        if "ValidationFailed" not in str(failure):
            raise
        return ["the findings above: fix them, or acknowledge each on its own resource with a reason"]
    stacks = assembly.stacks_recursively
    lines = [
        f"{stack.display_name}: {problem}"
        for stack in stacks
        for problem in guards.problems(stack.template, environment)
    ]
    return lines + guards.unused_waivers([stack.template for stack in stacks], environment)


def warn(text: str) -> None:
    """Print a warning for whoever runs the CDK CLI; "" is none.

    Not an annotation of the CDK's, which would write its stack trace beside the templates: they are the same on every
    machine and on every day. Nothing for the local Lambda, which runs this file by itself and deploys nothing.
    """
    if text and "CDK_CLI_VERSION" in os.environ:
        print(f"warning: {text}", file=sys.stderr)


def refuse(problems: list[str]) -> int:
    """Print one line for each problem and return the exit code: 1 when there are any."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(datetime.now(UTC).date()))
