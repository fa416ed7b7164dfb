"""Signatures, and what botocore's and AWS's errors are told as."""

from __future__ import annotations

import json
import shutil
import subprocess

import httpx
import pytest
from botocore.exceptions import NoCredentialsError, NoRegionError

from clients.signing import endpoint, signer
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
