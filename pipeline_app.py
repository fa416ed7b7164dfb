"""What `make deploy-roles` runs: the deploy roles of all environments that share the account of one."""

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
    neighbours = [other for other in environments.ENVIRONMENTS if other.account == chosen.account]
    PipelineRoles(app, "pipelines", pipeline=repository.PIPELINE, environments=neighbours)
    return refuse(synthesise(app, chosen))


if __name__ == "__main__":
    sys.exit(main())
