"""The names of what is deployed, each written once: stacks, roles, tags. Knows nothing of the CDK."""

from __future__ import annotations

PROJECT = "openai-lambda-relay"
"""Begins every name, and is the value of the tag `application`."""

PIPELINES_STACK = f"{PROJECT}-pipelines"


EDGE_REGION = "us-east-1"
"""Where CloudFront's web ACLs, certificates, metrics and log deliveries live, wherever the relay is."""

API_ALIAS = "api"
"""The alias of the function that the REST API invokes, and nobody else."""


def relay_stack(environment: str) -> str:
    """The stack with function, key and table; also the name of the environment's dashboard and the start of its alarms'."""
    return f"{PROJECT}-{environment}"


def edge_stack(environment: str) -> str:
    """The stack in us-east-1; also the name of its web ACL's metrics and of its log deliveries."""
    return f"{relay_stack(environment)}-edge"


def api(environment: str) -> str:
    """The REST API; also the name of its web ACL's metrics and the end of its log group's."""
    return f"{relay_stack(environment)}-api"


def monitoring_stack(environment: str) -> str:
    """The stack with dashboard, alarms and spend watch."""
    return f"{relay_stack(environment)}-monitoring"


def is_anothers(environment: str) -> bool:
    """Whether the environment's own stack would have the name of another one: of the edge or the monitoring of an environment
    with a shorter name, or of the pipelines. To deploy it would replace that one, and `make leftovers` would delete it."""
    shorter = environment.rpartition("-")[0]
    return relay_stack(environment) in (edge_stack(shorter), monitoring_stack(shorter), PIPELINES_STACK)


def deploy_role(environment: str) -> str:
    """The role with which GitHub Actions deploys the environment."""
    return f"{PROJECT}-deploy-{environment}"
