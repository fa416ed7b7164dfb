"""OpenAI's SDK against a door that verifies signatures from their specification, not with botocore."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import UnauthorizedSSOTokenError

from clients.signed_openai import AsyncSignedClient, LambdaAuth, SignedClient, async_client, client
from clients.signing import Signer
from tests.support.signed_door import MESSAGES, REGION, SECRET, SIGNED_HEADERS, Door

ROOT = Path(__file__).parent.parent.parent


def test_sdk_streams_event_by_event(door: Door) -> None:
    with client(door.url) as relay:
        events = relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        seen = []
        door.go.release()
        for event in events:
            # The next event does not exist yet: one that arrives has not waited for another.
            seen.append(event.choices[0].delta.content)
            door.go.release()
    assert seen == ["one", "two", "three", "four"]


def test_only_headers_that_no_hop_changes_are_signed(door: Door) -> None:
    door.go.release(4)
    with client(door.url) as relay:
        list(relay.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    authorization = door.requests[0].headers["authorization"]
    assert set(authorization.split("SignedHeaders=")[1].split(",")[0].split(";")) == SIGNED_HEADERS


def test_asyncio_sdk_is_signed_too(door: Door) -> None:
    door.go.release(4)

    async def ask() -> list[str | None]:
        async with async_client(door.url) as relay:
            events = await relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return [event.choices[0].delta.content async for event in events]

    assert asyncio.run(ask()) == ["one", "two", "three", "four"]


def test_signs_for_the_function_url_when_sent_to_a_distribution(door: Door) -> None:
    door.host = f"abc.lambda-url.{REGION}.on.aws"
    door.go.release(8)
    with client(door.url, sign_host=door.host) as relay:
        list(relay.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    with client(door.url) as relay, pytest.raises(openai.PermissionDeniedError):
        relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)


def test_each_try_is_signed_anew(door: Door) -> None:
    class Rotating(Credentials):  # type: ignore[misc]
        def get_frozen_credentials(self) -> Credentials:
            self.access_key = f"AKIA{len(door.requests)}"
            return Credentials(self.access_key, SECRET)

    signs = Signer(credentials=Rotating("", SECRET), region=REGION)
    door.go.release(8)
    with openai.DefaultHttpxClient(auth=LambdaAuth(signs)) as http:
        relay = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", http_client=http)
        for _ in range(2):
            list(relay.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    keys = [request.headers["authorization"].split("Credential=")[1].split("/")[0] for request in door.requests]
    assert keys == ["AKIA0", "AKIA1"]


def test_signature_headers_do_not_follow_a_redirect(door: Door) -> None:
    with client(door.url, region=REGION) as relay, pytest.raises(openai.APIStatusError) as raised:
        relay.chat.completions.create(model="gone", messages=MESSAGES)
    assert raised.value.status_code == 302


class Expired(Credentials):  # type: ignore[misc]
    def get_frozen_credentials(self) -> Credentials:
        raise UnauthorizedSSOTokenError


@pytest.mark.parametrize("asynchronous", [False, True])
def test_credentials_that_expire_are_told_at_once_and_with_the_cure(door: Door, asynchronous: bool) -> None:
    signs = LambdaAuth(Signer(credentials=Expired("", ""), region=REGION))
    base_url = f"{door.url}/v1"

    async def ask_asynchronously() -> None:
        http = AsyncSignedClient(auth=signs)
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", http_client=http) as relay:
            await relay.models.list()

    def ask() -> None:
        with openai.OpenAI(base_url=base_url, api_key="none", http_client=SignedClient(auth=signs)) as relay:
            relay.models.list()

    with pytest.raises(openai.AuthenticationError) as raised:
        asyncio.run(ask_asynchronously()) if asynchronous else ask()
    assert "The request was not sent: " in str(raised.value)
    assert "aws sso login" in str(raised.value)
    assert raised.value.code == "aws_credentials"
    assert door.requests == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_refusals_by_aws_are_told_with_advice(door: Door, asynchronous: bool) -> None:
    async def ask_asynchronously() -> None:
        async with async_client(door.url, region="eu-west-9") as relay:
            await relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)

    def ask() -> None:
        with client(door.url, region="eu-west-9") as relay:
            relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)

    with pytest.raises(openai.PermissionDeniedError) as raised:
        asyncio.run(ask_asynchronously()) if asynchronous else ask()
    assert "AWS: Forbidden: scope eu-west-9/lambda" in str(raised.value)
    assert "lambda:InvokeFunctionUrl" in str(raised.value)
    assert len(door.requests) == 1


def test_errors_of_openai_stay_as_they_are(door: Door) -> None:
    with client(door.url) as relay, pytest.raises(openai.NotFoundError) as raised:
        relay.models.list()
    assert raised.value.body == {"message": "no", "type": "invalid_request_error", "param": None, "code": None}


def test_copies_of_two_files_work_beside_each_other(door: Door, tmp_path: Path) -> None:
    for file in ("signing.py", "signed_openai.py"):
        shutil.copy(ROOT / "clients" / file, tmp_path)
    program = f"import signed_openai; print(signed_openai.client({door.url!r}).base_url)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"{door.url}/v1/", "")
    package = tmp_path / "mine"
    package.mkdir()
    for file in ("signing.py", "signed_openai.py"):
        tmp_path.joinpath(file).rename(package / file)
    program = f"from mine import signed_openai; print(signed_openai.client({door.url!r}).base_url)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"{door.url}/v1/", "")


def test_this_machine_is_not_asked_for_through_the_companys_proxy(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with client(door.url) as relay, pytest.raises(openai.NotFoundError):
        relay.models.list()
