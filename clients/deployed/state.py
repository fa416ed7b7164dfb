"""What AWS says is deployed, held against the templates: references, replica, grants, concurrency."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from cdk_app.config import names
from clients.deployed.account import UnavailableError
from clients.deployed.deployment import Deployment
from clients.report import Finding, judged, observed, skipped


def references(deployed: Deployment) -> Iterator[Finding]:
    """The edge's stack points to this Function URL, and the origin secret is where CloudFront's stack reads it."""
    if deployed.edge is None:
        yield skipped("the edge's stack refers to this Function URL", "there is no edge")
        return
    host = urlsplit(deployed.relay.output("FunctionUrl")).netloc
    known = deployed.edge.outputs.get("SignHost", "")
    cure = "Raise origin_secret_version in edge_options and deploy: the reference is resolved anew."
    yield judged("the edge's stack refers to this Function URL", known == host, f"SignHost is {known}", cure)
    yield from _replica(deployed)


def _replica(deployed: Deployment) -> Iterator[Finding]:
    if deployed.account.region == names.EDGE_REGION:
        return
    secret = deployed.relay.output("OriginSecretArn")
    found = deployed.account.call("secretsmanager", "describe_secret", SecretId=secret)
    states = {one["Region"]: one.get("Status", "") for one in found.get("ReplicationStatus", [])}
    yield judged(
        f"the origin secret is replicated to {names.EDGE_REGION}",
        states.get(names.EDGE_REGION) == "InSync",
        f"replicas: {states}",
        "aws secretsmanager replicate-secret-to-regions --force-overwrite-replica-secret, then deploy again.",
    )


def grants(deployed: Deployment) -> Iterator[Finding]:
    """Neither the function's own policy nor that of the API's alias opens a second door."""
    promise = "the function's policy lets in nobody but signed callers, through the URL"
    statements = _policy(deployed)
    open_ones = [statement["Sid"] for statement in statements if _is_open(statement)]
    past_url = [statement["Sid"] for statement in statements if _is_past_url(statement)]
    yield judged(promise, not open_ones, f"{len(statements)} statements; open to everybody: {open_ones}", "Remove it.")
    if past_url:
        yield observed("statements that let somebody invoke the function itself", f"{len(past_url)}: direct_invokers")

    through_alias = _policy(deployed, Qualifier=names.API_ALIAS)
    others = [statement["Sid"] for statement in through_alias if not _is_the_api(statement)]
    # Who invokes the alias says who its caller is: the relay believes what comes that way.
    yield judged(
        "the policy of the alias `api` lets in nobody but an API of this account",
        not others,
        f"{len(through_alias)} statements; others: {others}",
        "Remove it: whoever it names can pass for any holder of a key or token.",
    )


def _policy(deployed: Deployment, **qualifier: str) -> list[dict[str, Any]]:
    """The statements on the function or on one of its aliases; none where there is no policy or no alias."""
    try:
        text = deployed.account.call("lambda", "get_policy", FunctionName=deployed.function, **qualifier)["Policy"]
    except UnavailableError as error:
        if "ResourceNotFound" not in str(error):
            raise
        return []
    statements: list[dict[str, Any]] = json.loads(text)["Statement"]
    return statements


def _is_the_api(statement: Mapping[str, Any]) -> bool:
    source = json.dumps(statement.get("Condition", {}))
    return statement.get("Principal") == {"Service": "apigateway.amazonaws.com"} and "arn:aws:execute-api:" in source


def _is_open(statement: Mapping[str, Any]) -> bool:
    """Whether it names everybody without a condition that says who, or lets unsigned calls in."""
    conditions = {key: value for each in statement.get("Condition", {}).values() for key, value in each.items()}
    unsigned = conditions.get("lambda:FunctionUrlAuthType") == "NONE"
    narrowed = any(key.lower().startswith(("aws:principal", "aws:source")) for key in conditions)
    return unsigned or (statement.get("Principal") in ("*", {"AWS": "*"}) and not narrowed)


def _is_past_url(statement: Mapping[str, Any]) -> bool:
    conditions = json.dumps(statement.get("Condition", {}))
    return statement.get("Action") == "lambda:InvokeFunction" and "InvokedViaFunctionUrl" not in conditions


def concurrency(deployed: Deployment) -> Iterator[Finding]:
    """What is reserved now is what the template says, also after a stop and an update."""
    functions = {name: id for id, name in deployed.account.resources(deployed.relay, "AWS::Lambda::Function")}
    function = deployed.account.template(deployed.relay)[functions[deployed.function]]
    wanted = function["Properties"].get("ReservedConcurrentExecutions")
    reserved = deployed.reserved()
    yield judged(
        "the reserved concurrency is the template's",
        reserved == wanted,
        f"reserved now: {reserved}, in the template: {wanted}",
        "The spend watch or a person has set it: the output ResumeCommand takes it back. A deployment does not.",
    )
    state = deployed.configuration()
    yield judged(
        "the last update of the function has succeeded",
        state.get("LastUpdateStatus", "Successful") == "Successful",
        f"{state.get('LastUpdateStatus')} {state.get('LastUpdateStatusReason', '')}".strip(),
    )
