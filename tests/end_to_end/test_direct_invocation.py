"""The other way in: boto3's InvokeWithResponseStream and Invoke against the real relay, past the Function URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cdk_app.bundle import target_python
from emulator.fakes.raw_upstream import RawUpstream
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from emulator.signing.identities import Identity, local_role_session, local_user
from tests.support.doubles import openai_api
from tests.support.doubles.secrets_manager import SecretsManager

TRUSTED, OTHER = local_role_session("batch", number=7), local_user("other", number=8)
REQUEST = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
IAM = {
    "accessKey": "AKIASTATED",
    "accountId": "123456789012",
    "callerId": "AIDASTATED",
    "cognitoIdentity": None,
    "principalOrgId": "o-example",
    "userArn": "arn:aws:iam::123456789012:user/stated",
    "userId": "AIDASTATED",
}


def event(**changes: Any) -> dict[str, Any]:
    """An event shaped like a Function URL's, as a direct invoker writes it."""
    http = {"method": "POST", "path": "/v1/chat/completions", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}
    whole = {
        "version": "2.0",
        "rawPath": "/v1/chat/completions",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": http, "accountId": "123456789012", "authorizer": {"iam": IAM}},
        "body": json.dumps(REQUEST),
        "isBase64Encoded": False,
    }
    return whole | changes


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as running:
        running.answer_with(openai_api.answer)
        yield running


@pytest.fixture(scope="module")
def local(bundle: Path, upstream: RawUpstream) -> Iterator[LocalLambda]:
    with SecretsManager() as secrets:
        environment = {
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_SECRET_ARN": "openai",
            "AWS_ENDPOINT_URL": secrets.url,
        }
        function = Function.of_bundle(bundle, python=target_python.find(), environment=environment, timeout=10)
        with LocalLambda(function, identities=(TRUSTED, OTHER), direct_invokers=(TRUSTED,)) as running:
            yield running


def sdk(local: LocalLambda, identity: Identity) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=local.invoke_url,
        region_name=local.region,
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret_key,
        aws_session_token=identity.session_token or None,
        config=Config(retries={"total_max_attempts": 1}),
    )


def streamed(local: LocalLambda, payload: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    answer = sdk(local, TRUSTED).invoke_with_response_stream(FunctionName="local", Payload=json.dumps(payload))
    body, end = b"", dict[str, Any]()
    for each in answer["EventStream"]:
        body += each.get("PayloadChunk", {}).get("Payload", b"")
        end = each.get("InvokeComplete", end)
    return body, end


def test_streams_prelude_and_body_to_the_sdk(local: LocalLambda) -> None:
    body, end = streamed(local, event())
    prelude, _, stream = body.partition(b"\0" * 8)
    assert json.loads(prelude)["statusCode"] == 200
    assert stream == b"".join(openai_api.chat_events("Hé", "llo ✓", usage=False))
    assert "ErrorCode" not in end


def test_gives_the_whole_answer_to_a_plain_invoke(local: LocalLambda) -> None:
    answer = sdk(local, TRUSTED).invoke(FunctionName="local", Payload=json.dumps(event()))
    assert answer["Payload"].read().endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "context",
    [
        {"http": {"method": "POST"}},
        {"http": {"method": "POST"}, "authorizer": {"iam": {**IAM, "userId": ""}}},
        {"http": {"method": "POST"}, "authorizer": {"iam": {k: v for k, v in IAM.items() if k != "accountId"}}},
    ],
    ids=["no IAM context", "no user", "no account"],
)
def test_refuses_an_event_without_a_full_iam_context(
    local: LocalLambda, upstream: RawUpstream, context: dict[str, Any]
) -> None:
    before = len(upstream.requests)
    body, _ = streamed(local, event(requestContext=context))
    assert json.loads(body.partition(b"\0" * 8)[0])["statusCode"] == 403
    assert len(upstream.requests) == before


def test_an_event_that_is_no_http_request_is_a_function_error(local: LocalLambda, upstream: RawUpstream) -> None:
    before = len(upstream.requests)
    body, end = streamed(local, {"hello": "world"})
    assert (body, end["ErrorCode"]) == (b"", "Function.NotAnHttpEvent")
    assert len(upstream.requests) == before
    assert streamed(local, event())[0].endswith(b"data: [DONE]\n\n")


def test_nobody_else_may_invoke(local: LocalLambda) -> None:
    with pytest.raises(ClientError, match="AccessDeniedException"):
        sdk(local, OTHER).invoke(FunctionName="local", Payload=json.dumps(event()))
