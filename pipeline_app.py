"""What `make deploy-roles` runs: the pipelines' roles in the account of one environment, for all that share it."""

from __future__ import annotations

import sys

import aws_cdk as cdk

from app import refuse, synthesise
from cdk_app import environments
from cdk_app.config.environment import ConfigurationError
from cdk_app.pipelines import repository
from cdk_app.pipelines.roles import PipelineRoles


def main() -> int:
    app = cdk.App(performance_reporting=False)
    try:
        chosen = environments.find(app.node.try_get_context("env") or "dev")
        repository.check(repository.PIPELINE)
    except ConfigurationError as problem:
        return refuse(str(problem).splitlines())
    neighbours = [one for one in environments.ENVIRONMENTS if one.account == chosen.account]
    PipelineRoles(app, "pipelines", pipeline=repository.PIPELINE, environments=neighbours)
    return refuse(synthesise(app, chosen))


if __name__ == "__main__":
    sys.exit(main())
