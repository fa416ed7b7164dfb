"""Function URL events: whatever is in them, the outcome is a request or one of three refusals."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.doors import DOORS, to_request
from relay.doors.door import Door
from relay.errors import ErrorKind, NotHttpError, RelayError
from relay.models import Caller, Request
from relay.request import upstream_request
from relay.request.policy import RequestPolicy

IAM = {
    "accessKey": "ASIAEXAMPLE",
    "accountId": "123456789012",
    "callerId": "AROAEXAMPLE:ann@example.com",
    "cognitoIdentity": None,
    "principalOrgId": "o-abcdefghij",
    "userArn": "arn:aws:sts::123456789012:assumed-role/app/ann@example.com",
    "userId": "AROAEXAMPLE:ann@example.com",
}
# As docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html shows it.
EVENT: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/v1/chat/completions",
    "rawQueryString": "parameter1=value1&parameter1=value2",
    "cookies": ["cookie1", "cookie2"],
    "headers": {"Content-Type": "application/json", "header2": "value1,value2", "x-forwarded-for": "203.0.113.1"},
    "queryStringParameters": {"parameter1": "value1,value2"},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "<urlid>",
        "authentication": None,
        "authorizer": {"iam": IAM},
        "domainName": "<url-id>.lambda-url.us-west-2.on.aws",
        "domainPrefix": "<url-id>",
        "http": {
            "method": "POST",
            "path": "/v1/chat/completions",
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.1",
            "userAgent": "agent",
        },
        "requestId": "id",
        "routeKey": "$default",
        "stage": "$default",
        "time": "12/Mar/2026:19:03:58 +0000",
        "timeEpoch": 1583348638390,
    },
    "body": '{"model":"gpt-5","messages":[]}',
    "pathParameters": None,
    "isBase64Encoded": False,
    "stageVariables": None,
}


def encoded(fields: Any) -> bytes:
    return json.dumps(fields).encode()


def changed(*path: str, to: Any) -> bytes:
    fields = copy.deepcopy(EVENT)
    here = fields
    for step in path[:-1]:
        here = here[step]
    if to is REMOVED:
        del here[path[-1]]
    else:
        here[path[-1]] = to
    return encoded(fields)


REMOVED = object()
RETYPED: list[Any] = [
    REMOVED,
    None,
    True,
    False,
    0,
    -1,
    10**40,
    1.5,
    "",
    "?",
    "\ud800",
    "\0",
    "a\r\nb: c",
    [],
    ["x"],
    {},
    {"x": {}},
]


def paths(fields: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for name, value in fields.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths(value, *above, name)


def outcome(event: bytes) -> Request | ErrorKind | type[NotHttpError]:
    """What becomes of `event`, all the way to what would be sent."""
    try:
        request = to_request(event, "id")
        identifier = upstream_request.caller_identifier(request.caller, "arn")
        upstream_request.prepare(request, RequestPolicy(), max_body_bytes=1 << 20, identifier=identifier).body()
    except RelayError as error:
        return error.kind
    except NotHttpError:
        return NotHttpError
    return request


def test_a_real_event_is_read() -> None:
    assert to_request(encoded(EVENT), "id") == Request(
        id="id",
        method="POST",
        path="/v1/chat/completions",
        headers={"content-type": "application/json", "header2": "value1,value2", "x-forwarded-for": "203.0.113.1"},
        body=b'{"model":"gpt-5","messages":[]}',
        caller=Caller(account="123456789012", principal="AROAEXAMPLE", arn=str(IAM["userArn"])),
    )


@pytest.mark.parametrize("path", list(paths(EVENT)), ids=".".join)
def test_no_change_to_an_event_is_a_bug(path: tuple[str, ...]) -> None:
    allowed = {
        ErrorKind.NO_IDENTITY,
        ErrorKind.BAD_REQUEST,
        ErrorKind.BAD_JSON,
        ErrorKind.NOT_FOUND,
        ErrorKind.METHOD_NOT_ALLOWED,
        NotHttpError,
    }
    outcomes = [outcome(changed(*path, to=value)) for value in RETYPED]
    assert all(isinstance(each, Request) or each in allowed for each in outcomes)


@pytest.mark.parametrize(
    "path", [("requestContext",), ("requestContext", "http"), ("requestContext", "http", "method"), ("rawPath",)]
)
def test_without_method_or_path_it_is_no_request(path: tuple[str, ...]) -> None:
    for value in (REMOVED, None, 1, [], ["POST"]):
        assert outcome(changed(*path, to=value)) is NotHttpError


IDENTITY = [(), ("iam",), ("iam", "accountId"), ("iam", "userId"), ("iam", "userArn")]


@pytest.mark.parametrize("path", IDENTITY, ids=".".join)
def test_without_a_whole_identity_nobody_is_let_in(path: tuple[str, ...]) -> None:
    for value in RETYPED:
        assert outcome(changed("requestContext", "authorizer", *path, to=value)) is ErrorKind.NO_IDENTITY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accountId", "12345678901"),
        ("accountId", "1234567890123"),
        ("accountId", "12345678901\n"),
        ("accountId", "\u0661" * 12),
        ("accountId", "123456789012/X"),
        ("userId", ":session"),
        ("userId", "A/B"),
        ("userId", "A B"),
        ("userId", "AROAEXAMPLE\n:x"),
        ("userId", "\uff21ROA"),
        ("userId", "A" * 129),
        ("userArn", "arn:"),
        ("userArn", "arn:aws:iam::1:user/a b"),
        ("userArn", "arn:aws:iam::1:user/\u00e9"),
        ("userArn", "x" * 3000),
        ("userArn", "arn:aws:iam::1:user/a\n"),
    ],
)
def test_an_identity_that_aws_does_not_write_is_none(name: str, value: str) -> None:
    assert outcome(changed("requestContext", "authorizer", "iam", name, to=value)) is ErrorKind.NO_IDENTITY


def test_the_session_name_is_not_part_of_the_identity() -> None:
    event = changed("requestContext", "authorizer", "iam", "userId", to="AROAEXAMPLE:other:name")
    assert to_request(event, "id").caller.key == "123456789012/AROAEXAMPLE"


@pytest.mark.parametrize("place", ["headers", "queryStringParameters", "stageVariables", "pathParameters"])
def test_identity_comes_from_nowhere_else(place: str) -> None:
    fields = copy.deepcopy(EVENT)
    fields["requestContext"]["authorizer"] = None
    fields[place] = {
        **IAM,
        "authorizer": {"iam": IAM},
        "x-amzn-request-context": json.dumps({"authorizer": {"iam": IAM}}),
    }
    fields["requestContext"] |= {"identity": IAM, "iam": IAM}
    assert outcome(encoded(fields)) is ErrorKind.NO_IDENTITY


def test_identity_is_asked_before_the_body_is_looked_at() -> None:
    fields = {**EVENT, "body": 5, "requestContext": {**EVENT["requestContext"], "authorizer": {}}}
    assert outcome(encoded(fields)) is ErrorKind.NO_IDENTITY


FOREIGN = [
    b'{"source":"aws.events"}',
    b'{"Records":[]}',
    b'{"version":"1.0","httpMethod":"GET"}',
    b"[%s]" % (b"1" * 5000),
]


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{",
        b"\xff",
        b'{"rawPath":"/"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        *FOREIGN,
    ],
)
def test_other_events_are_no_requests(event: bytes) -> None:
    assert outcome(event) is NotHttpError


@given(
    st.binary()
    | st.recursive(st.none() | st.text(), lambda below: st.dictionaries(st.sampled_from([*EVENT]), below)).map(encoded)
)
def test_no_event_is_a_bug(event: bytes) -> None:
    assert outcome(event) in (NotHttpError, ErrorKind.NO_IDENTITY)


# ---- bodies


def with_body(body: Any, base64: Any = True) -> ErrorKind | bytes:
    try:
        return to_request(encoded({**EVENT, "body": body, "isBase64Encoded": base64}), "id").body
    except RelayError as error:
        return error.kind


@pytest.mark.parametrize("data", [b"", b"x", b"\0\xff" * 1000, b"a" * 5, "é😀".encode()])
def test_bodies_in_base64_are_decoded(data: bytes) -> None:
    assert with_body(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize("text", ["", "x", '{"a":"é😀\\u0000"}', "YQ=="])
def test_other_bodies_are_text(text: str) -> None:
    assert with_body(text, False) == text.encode()


def test_no_body_is_an_empty_one() -> None:
    assert with_body(None, True) == with_body(None, False) == b""


@pytest.mark.parametrize(
    "text", ["YQ", "YQ=", "Y===", "YWI-", "YWI_", "YW I=", "YWI=\n", "YQ==YQ==", "é", "\0", "Y", "=", "YQ==="]
)
def test_broken_base64_is_refused(text: str) -> None:
    assert with_body(text) is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize("body", [1, True, [], {}, ["x"], 1.5])
def test_a_body_that_is_no_text_is_refused(body: Any) -> None:
    assert with_body(body) is with_body(body, False) is ErrorKind.BAD_REQUEST


def test_half_a_surrogate_pair_is_no_utf8() -> None:
    assert with_body("\ud800", False) is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize("flag", ["true", 1, "True", [], None, {}])
def test_only_true_says_base64(flag: Any) -> None:
    assert with_body("YQ==", flag) == b"YQ=="


# ---- headers


def test_two_hundred_headers_and_one_of_64_kilobytes_are_only_data() -> None:
    headers = {f"X-Header-{n}": "x" * 300 for n in range(200)} | {
        "content-type": "application/json",
        "x-long": "x" * 65_536,
    }
    request = outcome(changed("headers", to=headers))
    assert isinstance(request, Request)
    assert len(request.headers) == 202


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\0", "\ud800", "", "é", "a" * 100_000])
@pytest.mark.parametrize(
    "name", ["content-type", "accept", "upgrade", "connection", "transfer-encoding", "x-amzn-trace-id"]
)
def test_no_header_value_is_a_bug_and_none_is_sent_on(name: str, value: str) -> None:
    request = outcome(changed("headers", to={name: value}))
    assert isinstance(request, Request)
    wanted = upstream_request.prepare(request, RequestPolicy(), max_body_bytes=1 << 20, identifier="hash")
    sent = wanted.headers(key="sk-key", content_type="application/json", request_id="id")
    assert set(sent) == {
        "authorization",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-client-request-id",
        "content-type",
    }
    assert not value or value not in sent.values()


# ---- several doors


def test_a_second_door_is_its_entry_and_nothing_else() -> None:
    other = Door(takes=lambda event: event.get("kind") == "other", to_request=lambda event, id: OTHER)
    assert to_request(encoded({"kind": "other"}), "id", (*DOORS, other)) is OTHER
    assert to_request(encoded(EVENT), "id", (*DOORS, other)) == to_request(encoded(EVENT), "id")


@pytest.mark.parametrize("order", [1, -1])
def test_an_event_that_two_doors_would_take_is_no_request(order: int) -> None:
    """Whoever may invoke the function writes the event: it must not choose the door that believes it."""
    other = Door(takes=lambda event: event.get("kind") == "other", to_request=lambda event, id: OTHER)
    with pytest.raises(NotHttpError):
        to_request(encoded({**EVENT, "kind": "other"}), "id", (*DOORS, other)[::order])


OTHER = Request(id="id", method="GET", path="/", caller=Caller(account="1", principal="p", arn="arn:x"))
