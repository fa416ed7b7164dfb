"""Who is let in, and in which shape the others are refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
from botocore.credentials import Credentials

from clients.report import Finding, Result, judged, skipped
from clients.signing import FUNCTION_URL_HOST, advice, is_loopback, openai_error
from clients.smoke.endpoint import CHAT, Endpoint, error_code, short

HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "eA==",
    "sec-websocket-version": "13",
}
URL_ACTION, FUNCTION_ACTION = "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"


def unsigned(at: Endpoint) -> Iterator[Finding]:
    """Nobody is let in without a signature, or with a wrong one."""
    for who, signs in (("an unsigned", None), ("a wrongly signed", at.stranger)):
        response = at.send(at.request(at.chat(), signs))
        yield judged(
            f"{who} request is refused with 403",
            response.status_code == 403,
            short(response),
            "Set the Function URL's AuthType to AWS_IAM: deploy the stack again, and look for changes made by hand.",
        )


def errors(at: Endpoint) -> Iterator[Finding]:
    """A rightly signed request is let in, and what the relay refuses has OpenAI's shape."""
    for promise, status, body, path in (
        ("an unknown path is a 404 in OpenAI's shape", 404, b"{}", "/v1/no-such-path"),
        ("a body that is not JSON is a 400 in OpenAI's shape", 400, b"{", CHAT),
    ):
        response = at.send(at.request(body, at.signer, path))
        if openai_error(response.content) is not None:
            yield _refused_by_aws(at, response)
            return
        yield judged(promise, response.status_code == status and bool(error_code(response)), short(response))
    response = at.send(at.request(b"", at.signer, "/v1/responses", method="GET", headers=HANDSHAKE))
    refused = (response.status_code, error_code(response)) == (426, "websockets_not_supported")
    yield judged("a WebSocket is refused with 426, on which Codex uses HTTP at once", refused, short(response))


def _refused_by_aws(at: Endpoint, response: httpx.Response) -> Finding:
    fields = response.json()
    message = str(fields.get("Message", fields.get("message")))
    cures = [advice(message)]
    if not at.signer.host and not FUNCTION_URL_HOST.match(response.request.url.host) and not is_loopback(at.url):
        cures.append(
            "The URL is not a Function URL's: behind CloudFront, give the Function URL's host with --sign-host."
        )
    return Finding(
        promise=f"a request signed for {at.signer.host or response.request.url.host} in {at.signer.region} is let in",
        result=Result.BROKEN, seen=f"{response.status_code} {message!r}", cure=" ".join(filter(None, cures)), final=True,
    )  # fmt: skip


def direct(at: Endpoint, edge: str) -> Iterator[Finding]:
    """Behind an edge the Function URL itself is locked. `edge` is the environment's mode, "" when it is not known."""
    promise = "past the edge, a signed request is refused with edge_required"
    if not at.is_behind_edge:
        yield skipped(promise, "the URL is the Function URL itself", "With an edge, give its URL, and --sign-host.")
        return
    response = at.direct.models()
    if edge == "optional":
        promise = "past an optional edge, a signed request is served"
        yield judged(promise, response.status_code == 200, short(response))
        return
    yield judged(
        promise,
        response.status_code == 403 and error_code(response) == "edge_required",
        short(response),
        'Where this environment has edge="optional" that is right: give --edge optional. Else deploy it again.',
    )


def permissions(at: Endpoint, role: str, session: boto3.Session) -> Iterator[Finding]:
    """One session of `role` for each of the two permissions, and one with both; alone, neither is enough."""
    promise = "a caller needs lambda:InvokeFunctionUrl and lambda:InvokeFunction, both"
    if not role:
        yield skipped(promise, "no role to try it with", "Give --role ARN: a role that may call, and you may assume.")
        return
    sts = session.client("sts", region_name=at.signer.region)
    tries = {(URL_ACTION,): False, (FUNCTION_ACTION,): False, (URL_ACTION, FUNCTION_ACTION): True}
    for actions, is_enough in tries.items():
        response = at.models(_as_role(at, sts, role, actions))
        by_aws = response.status_code == 403 and not error_code(response)
        what = " and ".join(actions)
        yield judged(
            f"with {what} a caller is let in" if is_enough else f"with {what} alone a caller is refused",
            by_aws is not is_enough,
            short(response),
            f"Who has only {what} should not be able to call: look at the function's policy and the role's."
            if not is_enough
            else "Name the role in `invokers`, or give it both permissions.",
        )


def _as_role(at: Endpoint, sts: Any, role: str, actions: tuple[str, ...]) -> Any:
    """A signer with a session of the role that may do no more than `actions`."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = sts.assume_role(RoleArn=role, RoleSessionName="smoke", Policy=policy, DurationSeconds=900)["Credentials"]
    credentials = Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    return dataclasses.replace(at.signer, credentials=credentials)
