"""A signed HTTP request becomes a Function URL event, payload format 2.0. Pure.

docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from emulator.signing.identities import Identity
from emulator.signing.signature import SignedRequest

# Text, by content type; everything else, also a form and a body without a type, arrives as base64.
TEXT_TYPES = ("application/json", "application/javascript", "application/xml", "application/vnd.api+json")
# Lambda's front end consumes the signature; what remains of a signed request's headers reaches the function.
NOT_PASSED = frozenset({"authorization", "connection", "cookie", "expect", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What the event says about the URL that was called."""

    url_id: str
    domain: str
    trace_id: str
    request_id: str
    source_ip: str
    now: datetime.datetime


def function_url_event(request: SignedRequest, caller: Identity, door: Door) -> bytes:
    path, _, query = request.target.partition("?")
    headers = joined(request.headers)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            **headers,
            "x-amzn-trace-id": door.trace_id,
            "x-forwarded-for": door.source_ip,
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": context(request, path, headers.get("user-agent", ""), caller, door),
        "isBase64Encoded": False,
    }
    cookies = [text for name, text in request.headers if name.lower() == "cookie"]
    if cookies:
        event["cookies"] = [cookie.strip() for line in cookies for cookie in line.split(";") if cookie.strip()]
    if query:
        event["queryStringParameters"] = query_parameters(query)
    if request.body:
        event |= encoded_body(request.body, request.header("content-type") or "")
    return json.dumps(event, separators=(",", ":")).encode()


def context(request: SignedRequest, path: str, user_agent: str, caller: Identity, door: Door) -> dict[str, Any]:
    return {
        "accountId": caller.account,
        "apiId": door.url_id,
        "authentication": None,
        "authorizer": {
            "iam": {
                "accessKey": caller.access_key,
                "accountId": caller.account,
                "callerId": caller.unique_id,
                "cognitoIdentity": None,
                "principalOrgId": caller.organisation,
                "userArn": caller.arn,
                "userId": caller.unique_id,
            }
        },
        "domainName": door.domain,
        "domainPrefix": door.url_id,
        "http": {
            "method": request.method,
            "path": unquote(path),
            "protocol": "HTTP/1.1",
            "sourceIp": door.source_ip,
            "userAgent": user_agent,
        },
        "requestId": door.request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": door.now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(door.now.timestamp() * 1000),
    }


def joined(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Lower-case names; the values of a repeated header joined by commas."""
    result: dict[str, str] = {}
    for name, text in headers:
        key = name.lower()
        if key not in NOT_PASSED:
            result[key] = f"{result[key]},{text}" if key in result else text
    return result


def query_parameters(query: str) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        result[name] = f"{result[name]},{text}" if name in result else text
    return result


def encoded_body(body: bytes, content_type: str) -> dict[str, Any]:
    kind = content_type.split(";")[0].strip().lower()
    if kind.startswith("text/") or kind in TEXT_TYPES:
        try:
            return {"body": body.decode("utf-8"), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(body).decode("ascii"), "isBase64Encoded": True}
