"""The function at the edge that answers WebSockets: run by Node as CloudFront runs it, one event in and one result out."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from relay.errors import ErrorKind

from cdk_app.edge.distribution import NO_WEBSOCKETS
from tests.support.synthesis import EVERYTHING, Synthesised
from tests.support.template_mutations import of

HANDSHAKE = {"sec-websocket-key": {"value": "dGhlIHNhbXBsZSBub25jZQ=="}, "sec-websocket-version": {"value": "13"}}
# docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/edge-function-restrictions-all.html: with one of these in its
# response, CloudFront answers 502 instead.
DISALLOWED = {"connection", "upgrade", "expect", "keep-alive", "trailer", "transfer-encoding", "via"}


def result(headers: dict[str, Any], method: str = "GET") -> dict[str, Any]:
    request = {"method": method, "uri": "/v1/responses", "querystring": {}, "headers": headers, "cookies": {}}
    event = {"version": "1.0", "context": {"eventType": "viewer-request"}, "request": request}
    code = f"{NO_WEBSOCKETS.read_text()}\nconsole.log(JSON.stringify(handler({json.dumps(event)})))"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_handshake_is_answered_as_the_relay_would() -> None:
    response = result({**HANDSHAKE, "authorization": {"value": "AWS4-HMAC-SHA256 Credential=..."}})
    spec = ErrorKind.NO_WEBSOCKETS.spec
    assert response["statusCode"] == spec.status == 426
    error = json.loads(response["body"]["data"])["error"]
    assert error == {"message": spec.text, "type": spec.type, "param": None, "code": spec.code}
    assert response["headers"]["x-should-retry"] == {"value": "false"}
    assert not DISALLOWED & response["headers"].keys()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_other_request_goes_on_as_it_is(method: str) -> None:
    headers = {"authorization": {"value": "AWS4-HMAC-SHA256 Credential=..."}, "content-type": {"value": "text/plain"}}
    passed = result(headers, method)
    assert (passed["method"], passed["headers"]) == (method, headers)


@pytest.mark.parametrize("name", ["staging", "prod", EVERYTHING.name])
def test_each_distribution_asks_it_before_the_origin(name: str, templates: dict[str, Synthesised]) -> None:
    stack = templates[name].stacks["edge"]
    (distribution,) = of(stack, "AWS::CloudFront::Distribution")
    (association,) = distribution["DistributionConfig"]["DefaultCacheBehavior"]["FunctionAssociations"]
    (function,) = of(stack, "AWS::CloudFront::Function")
    assert association["EventType"] == "viewer-request"
    assert function["AutoPublish"] is True
    assert function["FunctionCode"] == NO_WEBSOCKETS.read_text()
    assert len(NO_WEBSOCKETS.read_bytes()) < 10_240  # CloudFront's limit
    assert len(function["Name"]) <= 64
