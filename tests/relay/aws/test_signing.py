"""Every signature is the one that botocore makes; credentials come from the environment on Lambda, from boto3 elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st
from relay.aws.signing import Credentials, Scope, Signer, credential_source

from emulator.fakes.raw_upstream import RawUpstream, json_answer

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
HEADERS = {"content-type": "application/x-amz-json-1.0", "host": "service.example", "x-amz-target": "A.B"}
SECRETS = st.text("ABCDEFabcdef0123456789/+", min_size=1, max_size=60)


@given(SECRETS, SECRETS, st.one_of(st.just(""), SECRETS), NAMES, NAMES, st.binary(max_size=200), st.integers(0, 2**32))
def test_signs_as_botocore_does(
    access_key: str, secret_key: str, token: str, service: str, region: str, data: bytes, at: int
) -> None:
    credentials = Credentials(access_key=access_key, secret_key=secret_key, token=token)
    scope = Scope(service=service, region=region)
    assert signed(Signer(scope, lambda: credentials), data, at) == by_botocore(scope, data, credentials, at)


@given(st.lists(st.tuples(st.sampled_from(["secret", "other"]), st.integers(0, 5 * 86_400)), min_size=2, max_size=8))
def test_one_signer_signs_on_as_days_and_credentials_change(moments: list[tuple[str, int]]) -> None:
    scope = Scope(service="dynamodb", region="eu-central-1")
    signer = Signer(scope, lambda: credentials)
    for secret, at in moments:
        credentials = Credentials(access_key="AKIA", secret_key=secret)
        assert signed(signer, b"{}", at) == by_botocore(scope, b"{}", credentials, at)


def signed(signer: Signer, data: bytes, at: int) -> str:
    headers = signer.sign(HEADERS, data, at=at)
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


def test_credentials_of_the_environment_are_used_as_they_are() -> None:
    credentials = credential_source("a", "b", "c")
    assert credentials() == Credentials(access_key="a", secret_key="b", token="c")


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
        credentials = credential_source("", "", "")
        assert credentials() == Credentials(access_key="ASIA", secret_key="s", token="t")
        assert credentials().access_key == "ASIA"
        assert len(running.requests) == 1
