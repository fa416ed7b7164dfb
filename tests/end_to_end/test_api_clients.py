"""Stock clients with nothing but a base URL and a bearer, through the local API: they stream, in their own cadence."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from emulator.fakes.raw_upstream import EVENT_STREAM, LAST_CHUNK, Send, Sleep, chat_chunk, chunk, head
from tests.support.api_door import ApiDoor, api_door
from tests.support.doubles import openai_api
from tests.support.synthesis import API, Synthesised

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
WAYS = ("key", "token")


@pytest.fixture(scope="module")
def running(templates: dict[str, Synthesised], bundle: Path) -> Iterator[ApiDoor]:
    with api_door(templates[API.name].directory, bundle) as door:
        yield door


@pytest.fixture
def door(running: ApiDoor) -> ApiDoor:
    running.upstream.answer_with(openai_api.answer)
    return running


_KEYS: dict[int, str] = {}


def bearer(door: ApiDoor, way: str) -> tuple[str, str]:
    """Base URL and bearer."""
    if way == "token":
        return f"{door.url}/sso/v1", door.token("ann")
    return f"{door.url}/v1", _KEYS.setdefault(id(door), door.key("ci-clients") if id(door) not in _KEYS else "")


@pytest.mark.parametrize("way", WAYS)
def test_openai_python(door: ApiDoor, way: str) -> None:
    base_url, key = bearer(door, way)
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        assert [model.id for model in client.models.list()]
        whole = client.chat.completions.create(model="gpt-5", messages=MESSAGES, max_completion_tokens=100)
        assert whole.choices[0].message.content == "Héllo ✓"
        stream = client.chat.completions.create(
            model="gpt-5", messages=MESSAGES, max_completion_tokens=100, stream=True
        )
        assert "".join(each.choices[0].delta.content or "" for each in stream if each.choices) == "Héllo ✓"
        events = client.responses.create(model="gpt-5", input="Hi", max_output_tokens=100, stream=True)
        assert [event.type for event in events][-1] == "response.completed"


@pytest.mark.parametrize("way", WAYS)
def test_openai_python_async(door: ApiDoor, way: str) -> None:
    base_url, key = bearer(door, way)

    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="gpt-5", messages=MESSAGES, max_completion_tokens=100, stream=True
            )
            return "".join([each.choices[0].delta.content or "" async for each in stream if each.choices])

    assert asyncio.run(ask()) == "Héllo ✓"


NODE = """
import OpenAI from "openai";
const client = new OpenAI({maxRetries: 0});
const stream = await client.chat.completions.create(
  {model: "gpt-5", messages: [{role: "user", content: "Hi"}], max_completion_tokens: 100, stream: true});
let text = "";
for await (const part of stream) text += part.choices[0]?.delta?.content ?? "";
console.log(text);
"""


@pytest.mark.parametrize("way", WAYS)
def test_openai_node(door: ApiDoor, way: str) -> None:
    base_url, key = bearer(door, way)
    environment = {"PATH": os.environ["PATH"], "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": key}
    command = ["node", "--input-type=module", "-e", NODE]
    done = subprocess.run(
        command, env=environment, text=True, capture_output=True, timeout=60, check=False, cwd=Path.cwd()
    )
    assert (done.returncode, done.stdout.strip()) == (0, "Héllo ✓"), done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_curl(door: ApiDoor, way: str) -> None:
    base_url, key = bearer(door, way)
    body = json.dumps({"model": "gpt-5", "messages": MESSAGES, "max_completion_tokens": 100, "stream": True})
    command = [
        "curl",
        "-sN",
        f"{base_url}/chat/completions",
        "-H",
        "content-type: application/json",
        "-d",
        body,
        "-K",
        "-",
    ]
    # By its standard input: what is on a command line, everybody on the machine reads.
    done = subprocess.run(
        command, input=f'header = "authorization: Bearer {key}"', text=True, capture_output=True, check=True
    )
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_a_file_comes_through_as_bytes(door: ApiDoor) -> None:
    base_url, key = bearer(door, "token")
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        text = client.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=("a.wav", openai_api.AUDIO))
    assert text.text == "Héllo"


def test_the_first_token_comes_before_the_last(door: ApiDoor) -> None:
    base_url, key = bearer(door, "key")
    events = [chat_chunk({"content": text}) for text in "abcdef"]
    steps = [step for event in events for step in (Send(chunk(event)), Sleep(0.3))]
    ending = (Send(chunk(b"data: [DONE]\n\n")), Send(LAST_CHUNK))
    door.upstream.answer(Send(head(200, EVENT_STREAM)), *steps, *ending)
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="gpt-5", messages=MESSAGES, max_completion_tokens=100, stream=True
        )
        times = [time.monotonic() for each in stream if each.choices and each.choices[0].delta.content]
    assert len(times) == 6
    assert times[-1] - times[0] > 1.2
    assert all(later - earlier > 0.1 for earlier, later in itertools.pairwise(times))


def test_a_revoked_key_is_refused_though_api_gateway_remembers_it(door: ApiDoor) -> None:
    key = door.key("ci-leaver")
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.get(f"{door.url}/v1/models", headers=headers).status_code == 200
    asked = door.local.api_counters()["authorizer invoked"]
    door.keys.revoke(door.stored(key))
    for path in ("/v1/models", "/v1/usage"):
        refused = httpx.get(f"{door.url}{path}", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert door.local.api_counters()["authorizer invoked"] == asked, "it is the relay that refuses"


def test_two_keys_of_one_name_spend_one_budget(door: ApiDoor) -> None:
    keys = [door.key("ci-shared") for _ in range(2)]
    for key in keys:
        with openai.OpenAI(base_url=f"{door.url}/v1", api_key=key, max_retries=0) as client:
            client.chat.completions.create(model="gpt-5", messages=MESSAGES, max_completion_tokens=100)
    usage = httpx.get(f"{door.url}/v1/usage", headers={"authorization": f"Bearer {keys[0]}"}).json()
    assert usage["caller"] == "key:ci-shared"
    (caller,) = door.limits.callers("key:ci-shared")
    assert next(count for name, count in door.limits.account(caller).counters.items() if name.endswith(":req")) == 2


def test_a_limit_holds_under_contention(door: ApiDoor) -> None:
    """oidc:corp:* may make 20 requests a minute: of 30 at once, from any number of processes, 20 pass."""
    for turn in range(5):
        headers = {"authorization": f"Bearer {door.token(f'crowd-{turn}')}"}

        def ask(_: int, headers: dict[str, str] = headers) -> int:
            while True:
                response = httpx.get(f"{door.url}/sso/v1/models", headers=headers, timeout=60)
                if response.status_code not in (502, 503):  # no process is free, or the table was busy
                    return response.status_code

        minute = int(time.time()) // 60
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            counts = Counter(pool.map(ask, range(30)))
        if int(time.time()) // 60 == minute:
            assert counts == {200: 20, 429: 10}
            return
    pytest.fail("never within one minute")


def test_a_page_of_the_named_origin_may_call_and_no_other(door: ApiDoor) -> None:
    base_url, key = bearer(door, "key")
    before = door.local.api_counters().get("invoked", 0)
    asks = {"origin": "https://chat.example.com", "access-control-request-method": "POST"}
    preflight = httpx.options(f"{base_url}/chat/completions", headers=asks)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (
        204,
        "https://chat.example.com",
    )
    assert "access-control-allow-credentials" not in preflight.headers
    assert door.local.api_counters().get("invoked", 0) == before
    for origin, allowed in (("https://chat.example.com", True), ("https://evil.example", False), ("null", False)):
        response = httpx.get(f"{base_url}/models", headers={"authorization": f"Bearer {key}", "origin": origin})
        assert response.status_code == 200
        assert (response.headers.get("access-control-allow-origin") == origin) == allowed
        assert response.headers["vary"] == "Origin"


def test_rotating_keys_of_the_issuer(door: ApiDoor) -> None:
    old = door.token("rotating")
    door.issuer.rotate()
    new = door.token("rotating")

    def status(token: str) -> int:
        return httpx.get(f"{door.url}/sso/v1/models", headers={"authorization": f"Bearer {token}"}).status_code

    assert (status(old), status(new)) == (200, 200), "a key id that is not known makes the gateway look again"
