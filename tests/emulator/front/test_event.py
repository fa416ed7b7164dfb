"""The event: payload format 2.0, field by field, as a signed request becomes one."""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any

import pytest

from emulator.front.event import Door, function_url_event
from emulator.signing.identities import Identity
from emulator.signing.signature import SignedRequest

CALLER = Identity(
    access_key="ASIAEXAMPLE",
    secret_key="s",
    session_token="t",
    account="111122223333",
    unique_id="AROAEXAMPLE:me",
    arn="arn:aws:sts::111122223333:assumed-role/service/me",
    organisation=None,
)
DOOR = Door(
    url_id="abc",
    domain="abc.lambda-url.eu-central-1.on.aws",
    trace_id="Root=1-2-3",
    request_id="r-1",
    source_ip="192.0.2.7",
    now=datetime.datetime(2026, 11, 3, 4, 5, 6, tzinfo=datetime.UTC),
)


def event(
    *, target: str = "/v1/x", body: bytes = b"", headers: tuple[tuple[str, str], ...] = (), method: str = "POST"
) -> dict[str, Any]:
    request = SignedRequest(method=method, target=target, headers=headers, body=body)
    made: dict[str, Any] = json.loads(function_url_event(request, CALLER, DOOR))
    return made


def test_the_whole_event() -> None:
    assert event(target="/v1/a%2Fb?x=1&y=a%20b&x=2", headers=(("Host", "h"), ("User-Agent", "curl/8"))) == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/v1/a%2Fb",
        "rawQueryString": "x=1&y=a%20b&x=2",
        "headers": {
            "host": "h",
            "user-agent": "curl/8",
            "x-amzn-trace-id": "Root=1-2-3",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": {"x": "1,2", "y": "a b"},
        "requestContext": {
            "accountId": "111122223333",
            "apiId": "abc",
            "authentication": None,
            "authorizer": {
                "iam": {
                    "accessKey": "ASIAEXAMPLE",
                    "accountId": "111122223333",
                    "callerId": "AROAEXAMPLE:me",
                    "cognitoIdentity": None,
                    "principalOrgId": None,
                    "userArn": "arn:aws:sts::111122223333:assumed-role/service/me",
                    "userId": "AROAEXAMPLE:me",
                }
            },
            "domainName": "abc.lambda-url.eu-central-1.on.aws",
            "domainPrefix": "abc",
            "http": {
                "method": "POST",
                "path": "/v1/a/b",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8",
            },
            "requestId": "r-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "03/Nov/2026:04:05:06 +0000",
            "timeEpoch": 1793678706000,
        },
        "isBase64Encoded": False,
    }


def test_headers_are_lower_case_and_joined_and_a_caller_cannot_forge_the_doors_own() -> None:
    made = event(headers=(("X-A", "1"), ("x-a", "2"), ("X-Forwarded-For", "10.0.0.1"), ("Authorization", "AWS4 x")))
    assert made["headers"]["x-a"] == "1,2"
    assert made["headers"]["x-forwarded-for"] == "192.0.2.7"
    assert "authorization" not in made["headers"]


def test_cookies_have_a_list_of_their_own() -> None:
    made = event(headers=(("Cookie", "a=1; b=2"), ("cookie", "c=3")))
    assert made["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookie" not in made["headers"]
    assert "cookies" not in event()


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "TEXT/PLAIN", "application/xml"]
)
def test_text_arrives_as_text(kind: str) -> None:
    made = event(body="{\u00e9}".encode(), headers=(("Content-Type", kind),))
    assert (made["body"], made["isBase64Encoded"]) == ("{\u00e9}", False)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/octet-stream", "audio/mpeg", ""])
def test_everything_else_arrives_as_base64(kind: str) -> None:
    made = event(body=b"a=1", headers=(("content-type", kind),))
    assert (made["body"], made["isBase64Encoded"]) == (base64.b64encode(b"a=1").decode(), True)


def test_text_that_is_no_utf8_arrives_as_base64() -> None:
    made = event(body=b"\xff", headers=(("content-type", "application/json"),))
    assert made["isBase64Encoded"] is True


def test_without_a_body_there_is_none() -> None:
    made = event(method="GET")
    assert "body" not in made
    assert made["isBase64Encoded"] is False
