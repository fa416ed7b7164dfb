"""One secret: what is asked for, and that a failure says what an operator can do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from relay.aws import client as aws
from relay.aws.client import Client
from relay.aws.errors import SecretError
from relay.aws.secrets_manager import SecretsManager
from relay.aws.signing import Credentials

from emulator.fakes.raw_upstream import RawUpstream, Stall, json_answer

NAME = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf"


@pytest.fixture
def server() -> Iterator[RawUpstream]:
    with RawUpstream(path="") as running:
        yield running


@pytest.fixture
def secret(server: RawUpstream) -> Iterator[SecretsManager]:
    fixed = Credentials(access_key="AKIA", secret_key="secret")
    client = Client(aws.SECRETS_MANAGER, url=server.url, region="x", credentials=lambda: fixed, tls_context=None)
    yield SecretsManager(client, NAME)
    client.close()


def test_reads_the_current_text_and_the_one_before(server: RawUpstream, secret: SecretsManager) -> None:
    server.answer(*json_answer(200, {"SecretString": "sk-x"}))
    assert (secret.read(), secret.read_previous()) == ("sk-x", "sk-x")
    bodies = [json.loads(request.body) for request in server.requests]
    assert bodies == [{"SecretId": NAME}, {"SecretId": NAME, "VersionStage": "AWSPREVIOUS"}]


def test_a_secret_without_text_is_said_so(server: RawUpstream, secret: SecretsManager) -> None:
    server.answer(*json_answer(200, {"SecretBinary": "AAAA"}))
    with pytest.raises(SecretError, match="no text value"):
        secret.read()


@pytest.mark.parametrize(
    ("code", "message", "cause"),
    [
        ("ResourceNotFoundException", "Secrets Manager can't find it.", "does not exist in this account and region"),
        ("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/x is not", "role may not read the secret"),
        ("DecryptionFailure", "", "KMS key"),
        ("InvalidRequestException", "marked for deletion", "scheduled for deletion"),
        ("ThrottlingException", "Rate exceeded", "more often than AWS allows"),
        ("ExpiredTokenException", "the token ASIAEXAMPLE has expired", "credentials have expired"),
    ],
)
def test_a_failure_names_the_secret_and_the_cause(
    server: RawUpstream, secret: SecretsManager, code: str, message: str, cause: str
) -> None:
    server.answer(*json_answer(400, {"__type": code, "Message": message}))
    with pytest.raises(SecretError) as caught:
        secret.read()
    assert str(caught.value).startswith(f"Secrets Manager: {code} for {NAME}: ")
    assert cause in str(caught.value)


def test_the_message_of_a_failure_is_not_repeated(server: RawUpstream, secret: SecretsManager) -> None:
    server.answer(*json_answer(400, {"__type": "InternalServiceError", "Message": "no session-token"}))
    with pytest.raises(SecretError) as caught:
        secret.read()
    assert str(caught.value) == f"Secrets Manager: InternalServiceError for {NAME}"


def test_no_previous_version_is_none_and_other_failures_are_raised(server: RawUpstream, secret: SecretsManager) -> None:
    server.answer(*json_answer(400, {"__type": "ResourceNotFoundException"}))
    assert secret.read_previous() is None
    server.answer(*json_answer(400, {"__type": "AccessDeniedException"}))
    with pytest.raises(SecretError):
        secret.read_previous()


def test_a_read_is_over_when_its_time_is(server: RawUpstream, secret: SecretsManager) -> None:
    server.answer(Stall())
    started = time.monotonic()
    with pytest.raises(SecretError, match="no response in time"):
        secret.read(started + 0.3)
    assert time.monotonic() - started < 1.1  # without a time of its own it would take 1.2 s
