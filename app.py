"""What `cdk` runs: the chosen environment's stage, synthesised. Calls no AWS API and needs no credentials."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import aws_cdk as cdk
import cdk_nag

from cdk_app import bundle, environments
from cdk_app.config import ConfigurationError
from cdk_app.stage import RelayStage


def main() -> int:
    app = cdk.App()
    try:
        environment = environments.find(app.node.try_get_context("env") or "dev")
        with tempfile.TemporaryDirectory() as scratch:
            code = bundle.write(Path(scratch, "lambda"))
            RelayStage(app, environment.name, environment=environment, bundle=code)
    except (ConfigurationError, bundle.BundleError) as problem:
        print("\n".join(f"error: {line}" for line in str(problem).splitlines()), file=sys.stderr)
        return 1
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as failure:
        if "ValidationFailed" not in str(failure):
            raise
        return 1  # the findings are on the screen already, each with its construct
    return 0


if __name__ == "__main__":
    sys.exit(main())
