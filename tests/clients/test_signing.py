"""Signatures, and what botocore's and AWS's errors are told as."""

from __future__ import annotations

import json
import shutil
import subprocess

import httpx
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError, SSOTokenLoadError

from clients.signed_openai import client
from clients.signing import Signer, endpoint, openai_error, signer
from tests.support.signed_door import CHAT, REGION, SECRET, Door, unsigned


@pytest.mark.parametrize("query", ["a=b&a=a", "b=%2F&a=x%20y", "empty=", "u=%C3%A9&t=~-._"])
def test_query_is_signed_canonically(door: Door, query: str) -> None:
    url = f"{door.url}/v1/models?{query}"
    signed = signer(door.url).sign("GET", url, b"")
    assert httpx.get(url, headers=signed).status_code == 404


def test_path_with_escapes_is_signed(door: Door) -> None:
    url = f"{door.url}/v1/models/ft%3Agpt%20x"
    assert httpx.get(url, headers=signer(door.url).sign("GET", url, b"")).status_code == 404


def test_region_is_read_from_the_function_url() -> None:
    assert signer("https://abc.lambda-url.ap-south-1.on.aws/").region == "ap-south-1"
    assert signer("https://d1.cloudfront.net", sign_host="abc.lambda-url.us-east-2.on.aws").region == "us-east-2"
    assert signer("https://relay.example.com").region == REGION
    assert signer("https://abc.lambda-url.ap-south-1.on.aws/", region="eu-west-1").region == "eu-west-1"


def test_missing_credentials_and_region_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(NoRegionError):
        signer("https://relay.example.com")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NoCredentialsError):
        signer("https://abc.lambda-url.ap-south-1.on.aws/")


@pytest.mark.parametrize("url", ["https://h", "https://h/", "https://h/v1", "https://h/v1/"])
def test_endpoint_is_found_in_every_way_of_writing_it(url: str) -> None:
    assert endpoint(url) == "https://h"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_signs_the_way_the_readme_says(door: Door) -> None:
    door.go.release(4)
    command = [
        "curl", "-sN", "--aws-sigv4", f"aws:amz:{REGION}:lambda", "--user", f"AKIAEXAMPLE:{SECRET}",
        "-H", "x-amz-security-token: a-session-token", "-H", "content-type: application/json",
        "-d", json.dumps(unsigned()), door.url + CHAT,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "url",
    ["", "foo", "abc.lambda-url.eu-central-1.on.aws", "ftp://h", "https://", "https:///v1", "http://[::1", "https://h:0",
     "https://h:x", "https://user@h", "https://h/v1?a=b", "https://h/#x", "h:9000"],
)  # fmt: skip
def test_what_is_no_url_is_told_in_one_line(url: str) -> None:
    for use in (endpoint, signer, client):
        with pytest.raises(
            ValueError, match=r"^the URL is .*; allowed: one with scheme and host, such as https://[^\n]*$"
        ):
            use(url)


@pytest.mark.parametrize("written", ["https://abc.lambda-url.us-east-2.on.aws/", "ABC.lambda-url.us-east-2.on.aws"])
def test_the_signing_host_may_be_written_as_a_url(written: str) -> None:
    signs = signer("https://d1.cloudfront.net", sign_host=written)
    assert (signs.host, signs.region) == ("abc.lambda-url.us-east-2.on.aws", "us-east-2")


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ("The security token included in the request is expired", "aws sso login"),
        ("The security token included in the request is invalid.", "AWS_SESSION_TOKEN"),
        ("Credential should be scoped to a valid region (eu-central-1).", "region"),
        ("Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z", "clock"),
        ("Signature not yet current: 20260101T000000Z is still later", "clock"),
        ("The request signature we calculated does not match the signature you provided.", "AWS_SECRET_ACCESS_KEY"),
        ("Missing Authentication Token", "Authorization"),
        (
            "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws",
            "InvokeFunctionUrl",
        ),
        ("User: arn:aws:iam::1:role/x is not authorized to perform: lambda:InvokeFunction", "lambda:InvokeFunction."),
        ("Rate Exceeded.", "reserved_concurrency"),
    ],
)
def test_awss_refusals_are_told_with_the_cure(message: str, cure: str) -> None:
    for name in ("Message", "message"):
        told = openai_error(json.dumps({name: message}).encode(), "AccessDeniedException:http://x")
        assert told is not None
        error = json.loads(told)["error"]
        assert error["message"].startswith(f"AWS: {message}")
        assert cure in error["message"]
        assert (error["type"], error["param"], error["code"]) == ("aws_error", None, "AccessDeniedException")


@pytest.mark.parametrize(
    "body", [b"", b"Internal Server Error", b"[]", b"{}", b'{"Message": null}', b'{"error": {"message": "x"}}', b"\xff"]
)
def test_other_bodies_are_not_awss(body: bytes) -> None:
    assert openai_error(body) is None


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"AWS_PROFILE": "gone"}, "AWS_PROFILE"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_CONFIG_FILE": __file__}, "AWS_CONFIG_FILE"),
    ],
)
def test_settings_that_do_not_work_are_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], cure: str
) -> None:
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(BotoCoreError) as raised:
        signer("https://abc.lambda-url.ap-south-1.on.aws/")
    assert cure in str(raised.value)
    assert "\n" not in str(raised.value)


def test_single_sign_on_that_is_over_is_told_when_signing() -> None:
    class Expired(Credentials):  # type: ignore[misc]
        def get_frozen_credentials(self) -> Credentials:
            raise SSOTokenLoadError(error_msg="Token for x does not exist")

    with pytest.raises(SSOTokenLoadError, match="aws sso login"):
        Signer(credentials=Expired("", ""), region=REGION).sign("GET", "https://h/v1/models", b"")
