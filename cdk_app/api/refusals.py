"""What API Gateway itself responds when it refuses or fails, in OpenAI's error shape. Names no construct.

Types: docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html. A body is text without
variables: what a client sent must not come back in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from constructs import Construct

_REQUEST, _SERVER, _RATE = "invalid_request_error", "api_error", "rate_limit_error"
_NO_BEARER = "You didn't provide a valid API key or token. Send it as 'Authorization: Bearer ...'."
_NOT_LET_IN = "The API key or token is not valid here: it is unknown, revoked or expired, or lacks a scope."
_UNKNOWN = "Unknown path. The relay serves OpenAI's paths below /v1; with a token, below /sso/v1."
# Type of the response: status, type and code of the error, its text, whether to try again.
RESPONSES: dict[str, tuple[int, str, str, str, bool]] = {
    "UNAUTHORIZED": (401, _REQUEST, "invalid_api_key", _NO_BEARER, False),
    # A key that the authorizer denies. OpenAI's clients know a wrong key by 401.
    "ACCESS_DENIED": (401, _REQUEST, "invalid_api_key", _NOT_LET_IN, False),
    "EXPIRED_TOKEN": (401, _REQUEST, "invalid_api_key", _NOT_LET_IN, False),
    "INVALID_API_KEY": (401, _REQUEST, "invalid_api_key", _NOT_LET_IN, False),
    "INVALID_SIGNATURE": (401, _REQUEST, "invalid_api_key", _NO_BEARER, False),
    # What API Gateway calls a missing token is a path that it does not know.
    "MISSING_AUTHENTICATION_TOKEN": (404, _REQUEST, "unknown_url", _UNKNOWN, False),
    "RESOURCE_NOT_FOUND": (404, _REQUEST, "unknown_url", _UNKNOWN, False),
    "AUTHORIZER_FAILURE": (503, _SERVER, "authorizer_failed", "Temporarily unable to check the API key.", True),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, _SERVER, "authorizer_failed", "The relay cannot check API keys.", False),
    "REQUEST_TOO_LARGE": (413, _REQUEST, "request_too_large", "The request body is too large.", False),
    "UNSUPPORTED_MEDIA_TYPE": (415, _REQUEST, "unsupported_media_type", "This content type is not accepted.", False),
    "BAD_REQUEST_BODY": (400, _REQUEST, "invalid_request", "The request is invalid.", False),
    "BAD_REQUEST_PARAMETERS": (400, _REQUEST, "invalid_request", "The request is invalid.", False),
    "THROTTLED": (429, _RATE, "rate_limit_exceeded", "Too many requests to the relay at once.", True),
    "QUOTA_EXCEEDED": (429, _RATE, "rate_limit_exceeded", "Too many requests to the relay.", True),
    "WAF_FILTERED": (
        403,
        _REQUEST,
        "request_blocked",
        "The request was refused by the web application firewall.",
        False,
    ),
    "INTEGRATION_TIMEOUT": (504, _SERVER, "deadline_exceeded", "The relay did not respond in time.", False),
    "INTEGRATION_FAILURE": (502, _SERVER, "relay_failed", "The relay did not respond.", True),
    "API_CONFIGURATION_ERROR": (500, _SERVER, "internal_error", "Internal error.", False),
    "DEFAULT_4XX": (400, _REQUEST, "invalid_request", "The request is invalid.", False),
    "DEFAULT_5XX": (500, _SERVER, "internal_error", "Internal error.", False),
}
# Of DEFAULT_*, whose status stays what it would have been.
_ANY_STATUS = ("DEFAULT_4XX", "DEFAULT_5XX")
_RETRY_SECONDS = "1"


def add(scope: Construct, api: apigateway.IRestApi, origins: Sequence[str]) -> list[object]:
    """Add a response of each type, and return what a deployment of the API has to notice changes of.

    With one of `origins` pages there may read the refusals; a gateway's response cannot choose among several.
    """
    fixed = list(_responses(origins))
    for kind, properties in fixed:
        response = cdk.CfnResource(
            scope, kind.title().replace("_", ""), type="AWS::ApiGateway::GatewayResponse", properties=properties
        )
        response.add_property_override("RestApiId", api.rest_api_id)
    return list(fixed)


def _responses(origins: Sequence[str]) -> Iterator[tuple[str, dict[str, object]]]:
    for kind, (status, type, code, text, retry) in RESPONSES.items():
        headers = {"x-should-retry": "true" if retry else "false"}
        if status == 429:
            headers["retry-after"] = _RETRY_SECONDS
        if len(origins) == 1:
            headers["access-control-allow-origin"] = origins[0]
        body = {"error": {"message": text, "type": type, "param": None, "code": code}}
        yield (
            kind,
            {
                "ResponseType": kind,
                **({} if kind in _ANY_STATUS else {"StatusCode": str(status)}),
                "ResponseParameters": {
                    f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()
                },
                "ResponseTemplates": {"application/json": json.dumps(body)},
            },
        )
