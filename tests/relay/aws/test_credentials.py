"""Where credentials come from: the environment on Lambda, boto3 anywhere else."""

from __future__ import annotations

import pytest
from relay.aws.credentials import Credentials, credential_source

from emulator.fakes.raw_upstream import RawUpstream, json_answer


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
