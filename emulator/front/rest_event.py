"""An HTTP request becomes a REST API's proxy event, payload format 1.0. Pure.

docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from emulator.front.event import encoded_body


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """One request that the authorizer let in. `target` is the path with its query, as sent; `proxy` the part of the path
    that {proxy+} stands for; `authorizer` what the authorizer said."""

    api_id: str
    stage: str
    account: str
    resource: str
    method: str
    target: str
    proxy: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    authorizer: Mapping[str, Any]
    request_id: str
    source_ip: str
    now: datetime.datetime
    binary_types: Sequence[str]


def rest_event(call: ApiCall) -> bytes:
    path, _, query = call.target.partition("?")
    many = multi_value(call.headers)
    parameters: dict[str, list[str]] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        parameters.setdefault(name, []).append(text)
    event: dict[str, Any] = {
        "resource": call.resource,
        "path": path,
        "httpMethod": call.method,
        "headers": {name: texts[-1] for name, texts in many.items()} or None,
        "multiValueHeaders": many or None,
        "queryStringParameters": {name: texts[-1] for name, texts in parameters.items()} or None,
        "multiValueQueryStringParameters": parameters or None,
        "pathParameters": {"proxy": unquote(call.proxy)},
        "stageVariables": None,
        "requestContext": {
            "accountId": call.account,
            "apiId": call.api_id,
            "authorizer": dict(call.authorizer),
            "domainName": f"{call.api_id}.execute-api.local",
            "domainPrefix": call.api_id,
            "extendedRequestId": call.request_id.replace("-", "")[:16],
            "httpMethod": call.method,
            "identity": {
                **dict.fromkeys(("accessKey", "accountId", "apiKey", "caller", "cognitoIdentityId", "user", "userArn")),
                "sourceIp": call.source_ip,
                "userAgent": many.get("User-Agent", [None])[-1],
            },
            "path": f"/{call.stage}{path}",
            "protocol": "HTTP/1.1",
            "requestId": call.request_id,
            "requestTime": call.now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(call.now.timestamp() * 1000),
            "resourceId": "local1",
            "resourcePath": call.resource,
            "stage": call.stage,
        },
        **_body(call, many),
    }
    return json.dumps(event, separators=(",", ":")).encode()


def multi_value(headers: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Names as they were sent, each with all its values; the Authorization header, too."""
    result: dict[str, list[str]] = {}
    for name, text in headers:
        if name.lower() not in ("connection", "keep-alive", "transfer-encoding", "expect"):
            result.setdefault(name, []).append(text)
    return result


def _body(call: ApiCall, headers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Base64 where the type is one of the API's binary ones."""
    if not call.body:
        return {"body": None, "isBase64Encoded": False}
    kind = next((texts[-1] for name, texts in headers.items() if name.lower() == "content-type"), "")
    kind = kind.split(";")[0].strip().lower()
    if any(kind == each or (each.endswith("/*") and kind.startswith(each[:-1])) for each in call.binary_types):
        return {"body": base64.b64encode(call.body).decode(), "isBase64Encoded": True}
    return encoded_body(call.body, "text/plain")
