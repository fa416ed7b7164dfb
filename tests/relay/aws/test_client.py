"""The two AWS services on the wire: signatures against botocore's, calls against a server on a real socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st
from relay.aws import client as aws
from relay.aws.client import AwsError, Client, Credentials, Scope, Signer
from relay.openai.credentials import SecretError

from emulator.fakes.raw_steps import Step
from emulator.fakes.raw_upstream import Close, RawUpstream, Send, Sleep, Stall, head, json_answer

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
HEADERS = {"content-type": "application/x-amz-json-1.0", "host": "service.example", "x-amz-target": "A.B"}
SECRETS = st.text("ABCDEFabcdef0123456789/+", min_size=1, max_size=60)


@given(SECRETS, SECRETS, st.one_of(st.just(""), SECRETS), NAMES, NAMES, st.binary(max_size=200), st.integers(0, 2**32))
def test_signs_as_botocore_does(
    access_key: str, secret_key: str, token: str, service: str, region: str, data: bytes, at: int
) -> None:
    credentials = Credentials(access_key=access_key, secret_key=secret_key, token=token)
    scope = Scope(service=service, region=region)
    assert signed(Signer(scope), data, credentials, at) == by_botocore(scope, data, credentials, at)


@given(st.lists(st.tuples(st.sampled_from(["secret", "other"]), st.integers(0, 5 * 86_400)), min_size=2, max_size=8))
def test_one_signer_signs_on_as_days_and_credentials_change(moments: list[tuple[str, int]]) -> None:
    scope = Scope(service="dynamodb", region="eu-central-1")
    signer = Signer(scope)
    for secret, at in moments:
        credentials = Credentials(access_key="AKIA", secret_key=secret)
        assert signed(signer, b"{}", credentials, at) == by_botocore(scope, b"{}", credentials, at)


def signed(signer: Signer, data: bytes, credentials: Credentials, at: int) -> str:
    headers = signer.sign(HEADERS, data, credentials=credentials, at=at)
    return headers["authorization"].rpartition("Signature=")[2]


def by_botocore(scope: Scope, data: bytes, credentials: Credentials, at: int) -> str:
    request = AWSRequest(method="POST", url=f"https://{HEADERS['host']}/", headers=dict(HEADERS), data=data)
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = stamp
    request.headers["x-amz-date"] = stamp
    if credentials.token:
        request.headers["x-amz-security-token"] = credentials.token
    theirs = BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    signer = SigV4Auth(theirs, scope.service, scope.region)
    canonical = signer.canonical_request(request)
    signature: str = signer.signature(signer.string_to_sign(request, canonical), request)
    return signature


@pytest.fixture
def server() -> Iterator[RawUpstream]:
    with RawUpstream(path="") as running:
        yield running


@pytest.fixture
def client(server: RawUpstream) -> Iterator[Client]:
    fixed = Credentials(access_key="AKIA", secret_key="secret", token="token")
    made = Client(
        aws.SECRETS_MANAGER, url=server.url, region="eu-central-1", credentials=lambda: fixed, tls_context=None
    )
    yield made
    made.close()


def test_calls_an_operation_and_returns_its_json(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {"SecretString": "sk-x"}))
    assert client.call("GetSecretValue", {"SecretId": "name"}) == {"SecretString": "sk-x"}
    sent = server.requests[0]
    assert json.loads(sent.body) == {"SecretId": "name"}
    assert sent.header("x-amz-target") == "secretsmanager.GetSecretValue"
    assert sent.header("x-amz-security-token") == "token"


def test_keeps_its_connection_and_drops_one_that_was_closed(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {}))
    client.call("A", {})
    client.call("A", {})
    assert [each.connection for each in server.requests] == [server.requests[0].connection] * 2
    server.answer_next(*json_answer(200, {}), Close())
    client.call("A", {})
    server.requests[-1].wait_over()
    client.call("A", {})
    assert server.requests[-1].connection != server.requests[0].connection


def test_drops_a_connection_that_has_brought_more_than_an_answer(server: RawUpstream, client: Client) -> None:
    """What is left over would be read as the answer to the next call."""
    one, two = head(200, [("content-length", "12")]) + b'{"which": 1}', head(200, []) + b'{"which": 2}'
    server.answer(Send(one + two))
    assert client.call("A", {}) == {"which": 1}
    server.answer(*json_answer(200, {"which": 3}))
    assert client.call("A", {}) == {"which": 3}
    assert server.requests[0].connection != server.requests[1].connection


def test_an_answer_that_trickles_is_given_up_in_time(server: RawUpstream, client: Client) -> None:
    """A socket's time-out holds for each read anew."""
    slowly: list[Step] = [Sleep(0.2), Send(b"a: b\r\n")]
    server.answer(Send(b"HTTP/1.1 200 OK\r\n"), *slowly * 20)
    started = time.monotonic()
    with pytest.raises(AwsError, match="Unreachable"):
        client.call("GetSecretValue", {})
    assert time.monotonic() - started < 1.5


def test_never_uses_a_connection_that_was_idle_for_long(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {}))
    client.call("A", {})
    client._used_at -= 60.0  # as after a freeze: the wall clock has moved on
    client.call("A", {})
    assert server.requests[0].connection != server.requests[1].connection


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (
            json_answer(400, {"__type": "com.amazonaws.x#ConditionalCheckFailedException"}),
            "ConditionalCheckFailedException",
        ),
        (json_answer(400, {"__type": "AccessDeniedException", "Message": "no"}), "AccessDeniedException"),
        (json_answer(500, b"<html>"), "Unreadable"),
        (json_answer(200, b"[]"), "Unreadable"),
        ([Close()], "Unreachable"),
        ([Send(b"garbage\r\n\r\n"), Close()], "Unreachable"),
    ],
)
def test_says_what_went_wrong(server: RawUpstream, client: Client, script: Any, code: str) -> None:
    server.answer(*script)
    with pytest.raises(AwsError) as caught:
        client.call("GetSecretValue", {})
    assert caught.value.code == code
    server.answer(*json_answer(200, {"fine": "again"}))
    assert client.call("GetSecretValue", {}) == {"fine": "again"}


def test_gives_up_on_silence_within_the_time_that_a_503_may_take(server: RawUpstream, client: Client) -> None:
    server.answer(Stall())
    started = time.monotonic()
    with pytest.raises(AwsError):
        client.call("GetSecretValue", {})
    assert time.monotonic() - started < 1.5


def test_reports_an_address_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        fixed = Credentials(access_key="a", secret_key="b")
        calls = Client(aws.DYNAMODB, url=url, region="x", credentials=lambda: fixed, tls_context=None)
        with pytest.raises(AwsError, match="Unreachable"):
            calls.call("UpdateItem", {})


def test_a_secret_without_text_is_said_so(server: RawUpstream, client: Client) -> None:
    server.answer(*json_answer(200, {"SecretBinary": "AAAA"}))
    with pytest.raises(SecretError, match="no text value"):
        aws.SecretsManager(client, "name").read()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AWS_REGION": "eu-central-1"}, "https://secretsmanager.eu-central-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "https://secretsmanager.cn-north-1.amazonaws.com.cn"),
        ({"AWS_REGION": "x", "AWS_ENDPOINT_URL": "http://a"}, "http://a"),
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://b"}, "http://b"),
    ],
)
def test_finds_the_endpoint_as_aws_sdks_do(environ: Mapping[str, str], expected: str) -> None:
    assert aws.endpoint(aws.SECRETS_MANAGER, environ) == expected


def test_credentials_of_the_environment_are_used_as_they_are() -> None:
    found = aws.credentials_from({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"})
    assert found() == Credentials(access_key="a", secret_key="b", token="c")


def test_credentials_of_a_container_endpoint_come_through_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """SnapStart: docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html, AWS_CONTAINER_CREDENTIALS_FULL_URI."""
    answer = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}
    with RawUpstream(path="/role") as running:
        running.answer(*json_answer(200, answer))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", running.url)
        found = aws.credentials_from({})
        assert found() == Credentials(access_key="ASIA", secret_key="s", token="t")
        assert found().access_key == "ASIA"
        assert len(running.requests) == 1
