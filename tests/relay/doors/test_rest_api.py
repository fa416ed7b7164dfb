"""Events of the REST API: who gets in is what its authorizer says, and nothing else in the event changes that."""

from __future__ import annotations

import base64
import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.doors import DOORS, to_request
from relay.doors.rest_api import Api, Issuer, IssuersError, parse_issuers
from relay.errors import ErrorKind, NotHttpError, RelayError
from relay.models import Caller, Request
from relay.request import endpoints

API = Api(
    id="abcde12345",
    stage="relay",
    issuers=(
        Issuer(alias="corp", url="https://id.example.com/"),
        Issuer(alias="ci", url="https://token.actions.example.com", claim="repository"),
    ),
)
ALL = (*DOORS, API.door())
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:relay"
KEY_ID = "0123456789abcdef"
KEY = {"principalId": "key:ci-bot", "name": "ci-bot", "keyId": KEY_ID, "integrationLatency": 12}
CLAIMS = {"iss": "https://id.example.com/", "sub": "auth0|7", "aud": "relay", "exp": 1_800_000_000, "roles": ["a"]}

# As docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html shows it.
EVENT: dict[str, Any] = {
    "resource": "/v1/{proxy+}",
    "path": "/v1/chat/completions",
    "httpMethod": "POST",
    "headers": {"Content-Type": "application/json", "Authorization": "Bearer sk-relay-planted", "X-A": "2"},
    "multiValueHeaders": {
        "Content-Type": ["application/json"],
        "Authorization": ["Bearer sk-relay-planted"],
        "X-A": ["1", "2"],
    },
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": {"proxy": "chat/completions"},
    "stageVariables": None,
    "requestContext": {
        "resourceId": "2gxmpl",
        "resourcePath": "/v1/{proxy+}",
        "httpMethod": "POST",
        "path": "/relay/v1/chat/completions",
        "accountId": "123456789012",
        "protocol": "HTTP/1.1",
        "stage": "relay",
        "domainPrefix": "abcde12345",
        "requestId": "id",
        "identity": {"accountId": None, "caller": None, "sourceIp": "203.0.113.1", "userArn": None, "userAgent": "x"},
        "domainName": "abcde12345.execute-api.eu-central-1.amazonaws.com",
        "apiId": "abcde12345",
        "authorizer": KEY,
    },
    "body": '{"model":"gpt-5","messages":[]}',
    "isBase64Encoded": False,
}


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The event with other values at dotted paths; REMOVED takes one out."""
    event = copy.deepcopy(EVENT)
    for path, value in changes:
        *above, last = path.split(".")
        here = event
        for step in above:
            here = here[step]
        if value is REMOVED:
            here.pop(last, None)
        else:
            here[last] = value
    return event


REMOVED = "(removed)"


def token_event(claims: object = CLAIMS, **more: Any) -> dict[str, Any]:
    return changed(
        ("resource", "/sso/v1/{proxy+}"),
        ("path", "/sso/v1/chat/completions"),
        ("requestContext.resourcePath", "/sso/v1/{proxy+}"),
        ("requestContext.authorizer", {"claims": claims, **more}),
    )


def request(event: dict[str, Any], function_arn: str = f"{FUNCTION}:api") -> Request:
    return to_request(json.dumps(event).encode(), "id", ALL, function_arn=function_arn)


def outcome(event: dict[str, Any], function_arn: str = f"{FUNCTION}:api") -> Caller | ErrorKind | type[NotHttpError]:
    try:
        return request(event, function_arn).caller
    except RelayError as error:
        return error.kind
    except NotHttpError:
        return NotHttpError


HOLDER = Caller(account="key", principal="ci-bot", arn="key:ci-bot", key_id=KEY_ID)


def test_an_event_with_a_key_is_read() -> None:
    assert request(EVENT) == Request(
        id="id",
        method="POST",
        path="/v1/chat/completions",
        headers={"content-type": "application/json", "x-a": "1,2"},
        body=b'{"model":"gpt-5","messages":[]}',
        caller=HOLDER,
        through_api=True,
    )


def test_an_event_with_a_token_is_read() -> None:
    read = request(token_event())
    assert read.path == "/v1/chat/completions"
    assert read.caller == Caller(account="oidc/corp", principal="auth0|7", arn="oidc:corp:auth0|7")
    claims = {"iss": "https://token.actions.example.com", "sub": "repo:x", "repository": "acme/app"}
    assert request(token_event(claims)).caller.key == "oidc/ci/acme/app"


def test_a_body_comes_as_text_or_base64() -> None:
    event = changed(("body", base64.b64encode(b"\x00\xff").decode()), ("isBase64Encoded", True))
    assert request(event).body == b"\x00\xff"
    assert request(changed(("body", None))).body == b""
    assert outcome(changed(("body", "!"), ("isBase64Encoded", True))) is ErrorKind.BAD_REQUEST


def test_the_bearer_does_not_come_through_the_door() -> None:
    headers = {"AUTHORIZATION": ["Bearer a"], "Cookie": ["b"], "X-Api-Key": ["c"], "x-b": ["d"]}
    assert request(changed(("multiValueHeaders", headers))).headers == {"x-b": "d"}


@pytest.mark.parametrize(
    "arn", ["", FUNCTION, f"{FUNCTION}:$LATEST", f"{FUNCTION}:7", f"{FUNCTION}:apis", "api", f"{FUNCTION}:"]
)
@pytest.mark.parametrize("event", [EVENT, token_event()], ids=["key", "token"])
def test_a_forged_event_stays_a_direct_event(event: dict[str, Any], arn: str) -> None:
    """Whoever may invoke the function itself can write any event, but not the name by which it was invoked."""
    assert outcome(event, arn) is NotHttpError


def test_the_alias_opens_no_other_door() -> None:
    iam = {"accountId": "123456789012", "userId": "AIDA", "userArn": "arn:aws:iam::123456789012:user/x"}
    event = {"rawPath": "/v1/models", "requestContext": {"http": {"method": "GET"}, "authorizer": {"iam": iam}}}
    assert isinstance(outcome(event, FUNCTION), Caller)
    assert outcome(event) is NotHttpError
    assert outcome({**EVENT, **event}) is NotHttpError


ELSEWHERE: list[tuple[str, Any]] = [
    *(("requestContext.apiId", value) for value in ("abcde12346", "ABCDE12345", "", None, REMOVED, ["abcde12345"], 0)),
    *(("requestContext.stage", value) for value in ("prod", "Relay", "", None, REMOVED, "relay ", ["relay"])),
    *(("requestContext.resourcePath", value) for value in ("/", "/{proxy+}", "/sso/v1/{proxy+}", "/v1/{proxy}", "")),
    *(("resource", value) for value in ("/", "/sso/v1/{proxy+}", None, REMOVED, "/v1/models")),
]
NO_KEYS: list[Any] = [
    *(REMOVED, None, {}, [], "key:ci-bot", {"principalId": "key:ci-bot"}, {"claims": CLAIMS}, {"iam": KEY}, [KEY]),
    *(
        {**KEY, "name": name}
        for name in ("", "other", "*", "ci bot", "CI-BOT", "key:ci-bot", None, 7, ["ci-bot"], "a" * 64)
    ),
    *(
        {**KEY, "keyId": id}
        for id in ("", "0123", KEY_ID.upper(), KEY_ID + "0", None, 7, [KEY_ID], "../../etc/passwd0")
    ),
    *({**KEY, "principalId": id} for id in ("", "ci-bot", "key:other", None, "oidc:corp:x", "key:ci-bot ")),
    *({**KEY, "name": name, "principalId": f"key:{name}"} for name in ("*", "a/b", "../x", "ci bot", "", "é", "A")),
    {**KEY, "claims": CLAIMS},
    {**KEY, "claims": None},
]
NO_TOKENS: list[Any] = [
    *(None, {}, [], "x", 1, {"sub": "auth0|7"}, {"iss": CLAIMS["iss"]}, json.dumps(CLAIMS)),
    *(
        {**CLAIMS, "iss": issuer}
        for issuer in (
            *(
                "https://id.example.com",
                "https://id.example.com//",
                "http://id.example.com/",
                "https://ID.example.com/",
            ),
            *("https://id.example.com/ ", "https://evil.example.com/", "", None, 1, ["https://id.example.com/"]),
        )
    ),
    *(
        {**CLAIMS, "sub": sub}
        for sub in ("", " ", "a b", "a\n", "é", "\u202e", "a" * 256, None, 7, True, ["a"], {"a": 1})
    ),
    {"iss": "https://token.actions.example.com", "sub": "repo:x"},
]


@pytest.mark.parametrize("change", ELSEWHERE, ids=str)
def test_another_api_stage_or_resource_lets_nobody_in(change: tuple[str, Any]) -> None:
    assert outcome(changed(change)) in (ErrorKind.NO_IDENTITY, NotHttpError)


@pytest.mark.parametrize("authorizer", NO_KEYS, ids=str)
def test_a_context_that_our_authorizer_does_not_write_lets_nobody_in(authorizer: Any) -> None:
    assert outcome(changed(("requestContext.authorizer", authorizer))) is ErrorKind.NO_IDENTITY


@pytest.mark.parametrize("claims", NO_TOKENS, ids=str)
def test_claims_without_a_configured_issuer_and_a_name_let_nobody_in(claims: Any) -> None:
    assert outcome(token_event(claims)) is ErrorKind.NO_IDENTITY


def test_claims_are_no_key_and_a_key_is_no_claims() -> None:
    assert outcome(changed(("requestContext.authorizer", {"claims": CLAIMS, **CLAIMS}))) is ErrorKind.NO_IDENTITY
    event = token_event()
    event["requestContext"]["authorizer"] = KEY
    assert outcome(event) is ErrorKind.NO_IDENTITY


FORGED = (
    "x-relay-caller",
    "x-amzn-oidc-identity",
    "x-principal-id",
    "authorization",
    "x-amz-security-token",
    "keyid",
    "name",
)


def spoiled() -> Iterator[dict[str, Any]]:
    """Events with claims of identity in every place but the authorizer's context."""
    for header in FORGED:
        for value in ("key:admin", "admin", KEY_ID, "oidc:corp:root", "123456789012:role/admin"):
            yield changed(("multiValueHeaders", {header: [value]}), ("headers", {header: value}))
    for place, claimed in itertools.product(
        ("queryStringParameters", "pathParameters", "stageVariables"),
        ({"name": "admin", "keyId": "f" * 16}, {"principalId": "key:admin"}, {"authorizer": {"name": "admin"}}),
    ):
        yield changed((place, claimed))
    for field in ("caller", "userArn", "user", "accessKey", "apiKey", "cognitoIdentityId"):
        yield changed((f"requestContext.identity.{field}", "admin"))
    yield changed(("body", json.dumps({"user": "admin", "name": "admin", "keyId": "f" * 16})))
    yield changed(("authorizer", {"name": "admin", "principalId": "key:admin", "keyId": "f" * 16}))
    yield changed(("requestContext.principalId", "key:admin"), ("principalId", "key:admin"))


def test_nothing_else_in_the_event_names_the_caller() -> None:
    events = list(spoiled())
    assert len(events) > 50
    assert {outcome(event) for event in events} == {HOLDER}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([("requestContext", "authorizer"), ("multiValueHeaders",), ("requestContext",), ("body",)]), JSON
)
def test_whatever_an_event_holds_the_outcome_is_a_request_or_a_refusal(path: tuple[str, ...], value: Any) -> None:
    found = outcome(changed((".".join(path), value)))
    assert found == HOLDER or found in (ErrorKind.NO_IDENTITY, ErrorKind.BAD_REQUEST, NotHttpError)


def test_issuers_are_read_from_json() -> None:
    text = '{"corp": {"issuer": "https://a"}, "ci": {"issuer": "https://b", "claim": "repository"}}'
    assert parse_issuers(text) == (
        Issuer(alias="corp", url="https://a"),
        Issuer(alias="ci", url="https://b", claim="repository"),
    )
    assert parse_issuers("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "[]", "1", '{"a": "https://a"}', '{"a": {}}', '{"a": {"issuer": 1}}', '{"A": {"issuer": "https://a"}}',
        '{"a": {"issuer": "https://a", "claim": 1}}', '{"a": {"issuer": "https://a"}, "b": {"issuer": "https://a"}}',
        '{"a": {"issuer": ""}}', '{"a": {"issuer": "x", "claim": ""}}',
    ],
)  # fmt: skip
def test_issuers_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(IssuersError):
        parse_issuers(text)


@pytest.mark.parametrize("headers", [{}, {"Sec-WebSocket-Key": ["eA=="]}, {"Upgrade": ["websocket"]}], ids=str)
def test_a_websocket_is_told_426_here_too(headers: dict[str, list[str]]) -> None:
    """API Gateway cannot refuse it itself: a resource of its own would take the path from all other methods."""
    event = changed(("httpMethod", "GET"), ("path", "/v1/responses"), ("body", None), ("multiValueHeaders", headers))
    asked = request(event)
    with pytest.raises(RelayError) as caught:
        endpoints.match(asked.method, asked.path, asked.headers)
    assert (caught.value.kind, caught.value.kind.spec.status) == (ErrorKind.NO_WEBSOCKETS, 426)
