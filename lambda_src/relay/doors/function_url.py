"""The Function URL's door: events of payload format 2.0, signed with SigV4. Pure.

Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html. The event is trusted only as far as AWS wrote it:
identity comes from requestContext.authorizer.iam and from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from relay.doors.door import Door
from relay.doors.event_fields import body, object_at
from relay.errors import ErrorKind, RelayError
from relay.models import Caller, Json, Request

# docs.aws.amazon.com/IAM/latest/APIReference: UserId is \w+ of at most 128 characters, account ids are twelve digits.
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:[!-~]{1,2048}")
_PRINCIPAL = re.compile(r"\w{1,128}", re.ASCII)


def takes(event: Mapping[str, Json]) -> bool:
    """Whether it has a `rawPath` and a `requestContext.http.method`."""
    return isinstance(event.get("rawPath"), str) and isinstance(_http(event).get("method"), str)


def to_request(event: Mapping[str, Json], request_id: str) -> Request:
    """The HTTP request in `event`.

    Raises RelayError: NO_IDENTITY when it has no IAM context, BAD_REQUEST when its body cannot be decoded.
    """
    caller = _caller(object_at(event, "requestContext", "authorizer", "iam"))
    return Request(
        id=request_id,
        method=str(_http(event)["method"]),
        path=str(event["rawPath"]),
        headers=_headers(object_at(event, "headers")),
        body=body(event),
        caller=caller,
    )


DOOR = Door(takes=takes, to_request=to_request)


def _http(event: Mapping[str, Json]) -> Mapping[str, Json]:
    return object_at(event, "requestContext", "http")


def _headers(fields: Mapping[str, Json]) -> dict[str, str]:
    return {name.lower(): text for name, text in fields.items() if isinstance(text, str)}


def _caller(iam: Mapping[str, Json]) -> Caller:
    account, user_id, arn = iam.get("accountId"), iam.get("userId"), iam.get("userArn")
    if not (isinstance(account, str) and isinstance(user_id, str) and isinstance(arn, str)):
        raise RelayError(ErrorKind.NO_IDENTITY, log="no IAM context in the event")
    # An assumed role's id is "AROA...:session"; the session name is the caller's own choice, so it identifies nobody.
    principal = user_id.partition(":")[0]
    if not (_ACCOUNT.fullmatch(account) and _PRINCIPAL.fullmatch(principal) and _ARN.fullmatch(arn)):
        raise RelayError(ErrorKind.NO_IDENTITY, log="the IAM context in the event is not one that AWS writes")
    return Caller(account=account, principal=principal, arn=arn)
