"""OpenAI's SDK against a door that verifies signatures from their specification, not with botocore."""

from __future__ import annotations

import asyncio

import openai
import pytest
from botocore.credentials import Credentials

from clients.signed_openai import LambdaAuth, async_client, client
from clients.signing import Signer
from tests.support.signed_door import MESSAGES, REGION, SECRET, SIGNED_HEADERS, Door


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
