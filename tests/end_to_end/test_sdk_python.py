"""OpenAI's official Python SDK through the whole local chain: signature, Function URL, Runtime API, relay, upstream."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from botocore.credentials import Credentials

from cdk_app.bundle import target_python
from clients.signed_openai import NO_KEY, LambdaAuth
from clients.signing import Signer
from emulator.fakes.raw_upstream import RawUpstream, Reset, Send, Sleep, Stall, chat_chunk, chunk, head, json_answer
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function
from tests.support.doubles import openai_api
from tests.support.doubles.secrets_manager import SecretsManager

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
ALLOWED = ["gpt-5", "tts-1", "omni-moderation-latest"]
TIMEOUT = 5.0


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def local(bundle: Path, upstream: RawUpstream) -> Iterator[LocalLambda]:
    with SecretsManager() as secrets:
        environment = {
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_SECRET_ARN": "openai",
            "AWS_ENDPOINT_URL": secrets.url,
            "REQUEST_POLICY": json.dumps({"models": ALLOWED}),
            "HEARTBEAT_SECONDS": "0.5",
        }
        python = target_python.find()
        function = Function.of_bundle(bundle, python=python, environment=environment, timeout=TIMEOUT, concurrency=2)
        with LocalLambda(function) as running:
            yield running


@pytest.fixture
def sdk(local: LocalLambda, upstream: RawUpstream) -> Iterator[openai.OpenAI]:
    upstream.answer_with(openai_api.answer)
    me = local.identities[0]
    signer = Signer(credentials=Credentials(me.access_key, me.secret_key), region=local.region)
    http = openai.DefaultHttpxClient(auth=LambdaAuth(signer))
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key=NO_KEY, http_client=http, max_retries=0) as client:
        yield client


def stream_bytes(local: LocalLambda, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    data = json.dumps(body).encode()
    signed = local.sign("POST", path, body=data, headers={"content-type": "application/json", **headers})
    return httpx.post(local.url + path, content=data, headers=signed, timeout=20)


# -- every endpoint: the right object, or the right stream


def test_chat_completion(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="gpt-5", messages=MESSAGES)
    assert answer.choices[0].message.content == "Héllo ✓"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 11


def test_chat_completion_streamed(sdk: openai.OpenAI) -> None:
    chunks = list(sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Héllo ✓"
    assert all(chunk.usage is None for chunk in chunks)


def test_chat_usage_reaches_a_caller_who_asks_for_it(sdk: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True, stream_options=options))
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 11


def test_response(sdk: openai.OpenAI) -> None:
    assert sdk.responses.create(model="gpt-5", input="Hi").output_text == "Héllo ✓"


def test_response_streamed(sdk: openai.OpenAI) -> None:
    events = list(sdk.responses.create(model="gpt-5", input="Hi", stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Héllo ✓"
    assert events[-1].type == "response.completed"


def test_embeddings(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="gpt-5", input="Hi", encoding_format="float")
    assert answer.data[0].embedding == [0.25, -0.5]


def test_moderation(sdk: openai.OpenAI) -> None:
    assert sdk.moderations.create(input="Hi").results[0].flagged is False


def test_image(sdk: openai.OpenAI) -> None:
    data = sdk.images.generate(model="gpt-5", prompt="a door").data
    assert data is not None
    assert data[0].b64_json == "AAAA"


def test_image_streamed_in_a_line_of_two_megabytes(sdk: openai.OpenAI) -> None:
    events = list(sdk.images.generate(model="gpt-5", prompt="a door", stream=True))
    assert events[-1].type == "image_generation.completed"
    assert len(events[-1].b64_json) == 2_000_000


def test_speech(sdk: openai.OpenAI) -> None:
    assert sdk.audio.speech.create(model="tts-1", voice="alloy", input="Hi").content == openai_api.AUDIO


def test_transcription(sdk: openai.OpenAI) -> None:
    answer = sdk.audio.transcriptions.create(model="gpt-5", file=("a.mp3", openai_api.AUDIO))
    assert answer.text == "Héllo"


def test_transcription_streamed(sdk: openai.OpenAI) -> None:
    events = list(sdk.audio.transcriptions.create(model="gpt-5", file=("a.mp3", openai_api.AUDIO), stream=True))
    assert events[-1].type == "transcript.text.done"


def test_models_are_those_that_the_environment_allows(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["gpt-5", "tts-1"]
    assert sdk.models.retrieve("tts-1").id == "tts-1"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        sdk.models.retrieve("gpt-5-mini")


# -- what OpenAI is sent, and what the caller gets


@pytest.mark.parametrize(
    ("path", "body", "events"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES}, openai_api.chat_events("Hé", "llo ✓", usage=False)),
        (
            "/v1/chat/completions",
            {"messages": MESSAGES, "stream_options": {"include_usage": True}},
            openai_api.chat_events("Hé", "llo ✓", usage=True),
        ),
        ("/v1/responses", {"input": "Hi"}, openai_api.responses_events("Hé", "llo ✓")),
    ],
)
def test_streams_arrive_byte_for_byte(
    sdk: openai.OpenAI, local: LocalLambda, path: str, body: dict[str, Any], events: list[bytes]
) -> None:
    answer = stream_bytes(local, path, {"model": "gpt-5", "stream": True, **body})
    assert answer.content == b"".join(events)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_accept_text_plain_is_only_the_text(sdk: openai.OpenAI, local: LocalLambda) -> None:
    for path, body in (("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/responses", {"input": "Hi"})):
        answer = stream_bytes(local, path, {"model": "gpt-5", "stream": True, **body}, accept="text/plain")
        assert (answer.text, answer.headers["content-type"]) == ("Héllo ✓", "text/plain; charset=utf-8")


def test_nothing_of_the_caller_s_headers_reaches_openai(
    sdk: openai.OpenAI, local: LocalLambda, upstream: RawUpstream
) -> None:
    before = len(upstream.requests)
    hostile = {"openai-organization": "org-other", "x-forwarded-for": "10.0.0.1", "cookie": "a=b"}
    stream_bytes(local, "/v1/chat/completions", {"model": "gpt-5", "messages": MESSAGES}, **hostile)
    sent = upstream.requests[before]
    assert sorted(name.lower() for name, _ in sent.headers) == [
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-client-request-id",
    ]
    assert sent.header("authorization") == "Bearer sk-secret-of-the-stand-in"


# -- trouble: the SDK raises, always


def test_raises_on_a_cut_in_mid_stream(sdk: openai.OpenAI, upstream: RawUpstream) -> None:
    upstream.answer(Send(head()), Send(chunk(chat_chunk({"content": "x"}))), Reset())
    stream = sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True)
    assert next(stream).choices[0].delta.content == "x"
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


def test_raises_on_the_function_s_time_out_before_the_process_is_killed(
    sdk: openai.OpenAI, local: LocalLambda, upstream: RawUpstream
) -> None:
    pids = local.pids()
    upstream.answer(Send(head()), Send(chunk(chat_chunk({"content": "x"}))), Stall())
    started = time.monotonic()
    with pytest.raises(openai.APIError, match="time limit was reached"):
        list(sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True))
    assert TIMEOUT - 2 < time.monotonic() - started < TIMEOUT
    upstream.answer_with(openai_api.answer)
    assert sdk.chat.completions.create(model="gpt-5", messages=MESSAGES).choices
    assert local.pids() == pids or not pids


def test_raises_on_429_with_openai_s_own_words(sdk: openai.OpenAI, upstream: RawUpstream) -> None:
    error = {"error": {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    upstream.answer(*json_answer(429, error, headers=(("retry-after", "7"),)))
    with pytest.raises(openai.RateLimitError, match="Slow down") as caught:
        sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True)
    assert caught.value.response.headers["retry-after"] == "7"


def test_raises_when_a_long_silence_ends_in_an_error(sdk: openai.OpenAI, upstream: RawUpstream) -> None:
    error = {"error": {"message": "Too many", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    upstream.answer(Sleep(1.2), *json_answer(429, error))
    with pytest.raises(openai.APIError, match="Too many"):
        list(sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True))


def test_is_not_disturbed_by_heartbeats(sdk: openai.OpenAI, upstream: RawUpstream, local: LocalLambda) -> None:
    good = openai_api.streamed(openai_api.chat_events("a", "b", usage=False))
    upstream.answer(Sleep(1.2), *good[:3], Sleep(1.2), *good[3:])
    chunks = list(sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "ab"
    raw = stream_bytes(local, "/v1/chat/completions", {"model": "gpt-5", "stream": True, "messages": MESSAGES}).content
    assert raw.count(b": keep-alive\n") == 4
    assert raw.replace(b": keep-alive\n", b"") == b"".join(openai_api.chat_events("a", "b", usage=False))


def test_kill_in_mid_stream_breaks_the_stream_and_the_next_request_is_served(
    sdk: openai.OpenAI, local: LocalLambda, upstream: RawUpstream
) -> None:
    upstream.answer(Send(head()), Send(chunk(chat_chunk({"content": "x"}))), Stall())
    stream = sdk.chat.completions.create(model="gpt-5", messages=MESSAGES, stream=True)
    next(stream)
    for pid in local.pids():
        os.kill(pid, 9)
    with pytest.raises(Exception, match=r"(?i)peer closed|connection|incomplete"):
        list(stream)
    upstream.answer_with(openai_api.answer)
    assert sdk.chat.completions.create(model="gpt-5", messages=MESSAGES).choices
