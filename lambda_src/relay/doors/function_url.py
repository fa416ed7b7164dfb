"""Function URL events (payload format 2.0): event -> Request, status and headers -> prelude. Pure.

Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html. The event is trusted only as far as AWS wrote it:
identity comes from requestContext.authorizer.iam and from nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping

from relay.errors import ErrorKind, NotHttpError, RelayError
from relay.frozen import EMPTY
from relay.models import Caller, Json, Request

# The prelude ends with eight NUL bytes (docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html and AWS's own clients).
PRELUDE_END = b"\0" * 8

# Made once, because json.dumps with options makes one for each call.
_COMPACT = json.JSONEncoder(separators=(",", ":"))

# docs.aws.amazon.com/IAM/latest/APIReference: UserId is \w+ of at most 128 characters, account ids are twelve digits.
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:[!-~]{1,2048}")
_PRINCIPAL = re.compile(r"\w{1,128}", re.ASCII)


def to_request(event: bytes, request_id: str) -> Request:
    """The HTTP request in `event`.

    Raises NotHttpError when the event has not the shape of one, RelayError(NO_IDENTITY) when it has no IAM context,
    RelayError(BAD_REQUEST) when its body cannot be decoded.
    """
    fields = _load(event)
    context = _mapping(fields.get("requestContext"))
    http = _mapping(context.get("http"))
    method, path = http.get("method"), fields.get("rawPath")
    if not isinstance(method, str) or not isinstance(path, str):
        raise NotHttpError("the event has no requestContext.http.method or no rawPath")
    caller = _caller(context)
    return Request(
        id=request_id,
        method=method,
        path=path,
        headers=_headers(fields.get("headers")),
        body=_body(fields),
        caller=caller,
    )


def to_prelude(status: int, headers: Mapping[str, str]) -> bytes:
    """The JSON head of a streamed response and the NULs that end it. Header values are strings, without line breaks."""
    return _COMPACT.encode({"statusCode": status, "headers": dict(headers)}).encode() + PRELUDE_END


def _load(event: bytes) -> Mapping[str, Json]:
    try:
        fields: Json = json.loads(event)
    except (ValueError, RecursionError) as error:
        raise NotHttpError("the event is not JSON") from error
    if not isinstance(fields, dict):
        raise NotHttpError("the event is not a JSON object")
    return fields


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else EMPTY


def _headers(value: Json) -> dict[str, str]:
    return {name.lower(): text for name, text in _mapping(value).items() if isinstance(text, str)}


def _body(fields: Mapping[str, Json]) -> bytes:
    body = fields.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise RelayError(ErrorKind.BAD_REQUEST, "The request body could not be read.", log="body is not a string")
    encoded = fields.get("isBase64Encoded", False)
    if encoded is not True:
        try:
            return body.encode()
        except UnicodeEncodeError as error:
            raise RelayError(ErrorKind.BAD_REQUEST, "The request body is not valid UTF-8.") from error
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RelayError(ErrorKind.BAD_REQUEST, "The request body could not be read.", log="bad base64") from error


def _caller(context: Mapping[str, Json]) -> Caller:
    iam = _mapping(_mapping(context.get("authorizer")).get("iam"))
    account, user_id, arn = iam.get("accountId"), iam.get("userId"), iam.get("userArn")
    if not (isinstance(account, str) and isinstance(user_id, str) and isinstance(arn, str)):
        raise RelayError(ErrorKind.NO_IDENTITY, log="no IAM context in the event")
    # An assumed role's id is "AROA...:session"; the session name is the caller's own choice, so it identifies nobody.
    principal = user_id.partition(":")[0]
    if not (_ACCOUNT.fullmatch(account) and _PRINCIPAL.fullmatch(principal) and _ARN.fullmatch(arn)):
        raise RelayError(ErrorKind.NO_IDENTITY, log="the IAM context in the event is not one that AWS writes")
    return Caller(account=account, principal=principal, arn=arn)
