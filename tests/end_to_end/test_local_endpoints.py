"""Every endpoint that the relay serves, by OpenAI's Python SDK through the local Lambda, as `make local` starts it."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest
from botocore.credentials import Credentials
from relay.request import endpoints

from cdk_app import environments
from cdk_app.config.environment import Environment
from cdk_app.relay import settings
from clients import EXAMPLE_MODEL
from clients.signed_openai import NO_KEY, LambdaAuth
from clients.signing import Signer
from emulator.fakes.aws import AwsStandIn
from emulator.local_lambda import LocalLambda
from emulator.openai import media
from emulator.openai.stand_in import OpenAIStandIn
from emulator.runtime.function import Function
from tests.support.dynamo import SHAPE

KEY = "sk-" + "x" * 40
IMAGE_MODEL = "gpt-image-2"
PIXEL = base64.b64decode(media.PICTURE)
MESSAGES: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "description": "The weather of a city.", "parameters": PARAMETERS, "strict": True}


class Answer(pydantic.BaseModel):
    """A structured output with what schemas have: nested objects, lists, choices, optional fields."""

    class Step(pydantic.BaseModel):
        explanation: str
        weight: float

    steps: list[Step]
    final: int
    is_sure: bool
    note: str | None


def sound() -> io.BytesIO:
    """A second of silence as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    buffer.seek(0)
    buffer.name = "speech.wav"
    return buffer


def picture() -> io.BytesIO:
    """One grey pixel as a PNG file."""
    buffer = io.BytesIO(PIXEL)
    buffer.name = "pixel.png"
    return buffer


def client(local: LocalLambda) -> openai.OpenAI:
    me = local.identities[0]
    signer = Signer(credentials=Credentials(me.access_key, me.secret_key), region=local.region)
    http = openai.DefaultHttpxClient(auth=LambdaAuth(signer))
    return openai.OpenAI(base_url=f"{local.url}/v1", api_key=NO_KEY, http_client=http, max_retries=0)


def served(
    bundle: Path, python: Path, fixtures: Path | None = None, of: Environment | None = None
) -> Iterator[openai.OpenAI]:
    """Without limits, or with the settings and the table of an environment."""
    with AwsStandIn() as aws, OpenAIStandIn(key=KEY, fixtures=fixtures) as stand_in:
        environment = {
            **aws.environment(),
            **({**settings.of(of), "TABLE_NAME": aws.create_table(SHAPE)} if of else {}),
            "OPENAI_BASE_URL": stand_in.url,
            "OPENAI_SECRET_ARN": aws.put_secret(KEY),
        }
        function = Function.of_bundle(bundle, python=python, environment=environment, timeout=30)
        with LocalLambda(function) as local, client(local) as sdk:
            yield sdk


@pytest.fixture(scope="module")
def sdk(bundle: Path, lambda_python: Path) -> Iterator[openai.OpenAI]:
    yield from served(bundle, lambda_python)


# -- conversations -----------------------------------------------------------------------------------------------------


def chat(sdk: openai.OpenAI) -> None:
    response = sdk.chat.completions.create(model=EXAMPLE_MODEL, messages=MESSAGES)
    assert "stand-in" in (response.choices[0].message.content or "")
    assert response.usage is not None


def chat_streamed(sdk: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(
        sdk.chat.completions.create(model=EXAMPLE_MODEL, messages=MESSAGES, stream=True, stream_options=options)
    )
    assert "stand-in" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None


def chat_tool(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": FUNCTION}]
    choice = sdk.chat.completions.create(model=EXAMPLE_MODEL, messages=MESSAGES, tools=tools).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "example", "unit": "celsius"}
    turn = [*MESSAGES, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    done = sdk.chat.completions.create(model=EXAMPLE_MODEL, messages=turn, tools=tools).choices[0]
    assert (done.finish_reason, bool(done.message.content)) == ("stop", True)


def chat_tool_streamed(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": FUNCTION}]
    with sdk.chat.completions.stream(model=EXAMPLE_MODEL, messages=MESSAGES, tools=tools) as stream:
        completion = stream.get_final_completion()
    (call,) = completion.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "example", "unit": "celsius"}


def chat_structured(sdk: openai.OpenAI) -> None:
    parsed = sdk.chat.completions.parse(model=EXAMPLE_MODEL, messages=MESSAGES, response_format=Answer)
    assert isinstance(parsed.choices[0].message.parsed, Answer)


def chat_structured_streamed(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(model=EXAMPLE_MODEL, messages=MESSAGES, response_format=Answer) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Answer)


def responses(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model=EXAMPLE_MODEL, input="hi")
    assert "stand-in" in response.output_text
    assert response.usage is not None


def responses_streamed(sdk: openai.OpenAI) -> None:
    events = list(sdk.responses.create(model=EXAMPLE_MODEL, input="hi", stream=True))
    assert events[-1].type == "response.completed"


def responses_tool(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", **FUNCTION}]
    (call,) = sdk.responses.create(model=EXAMPLE_MODEL, input=MESSAGES, tools=tools).output
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    turn = [*MESSAGES, call.to_dict(), output]
    assert sdk.responses.create(model=EXAMPLE_MODEL, input=turn, tools=tools).output_text


def responses_tool_streamed(sdk: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", **FUNCTION}]
    with sdk.responses.stream(model=EXAMPLE_MODEL, input=MESSAGES, tools=tools) as stream:
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "example", "unit": "celsius"}


def responses_structured(sdk: openai.OpenAI) -> None:
    parsed = sdk.responses.parse(model=EXAMPLE_MODEL, input=MESSAGES, text_format=Answer)
    assert isinstance(parsed.output_parsed, Answer)


def responses_structured_streamed(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model=EXAMPLE_MODEL, input=MESSAGES, text_format=Answer) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Answer)


# -- the rest ------------------------------------------------------------------------------------------------------------


def embeddings(sdk: openai.OpenAI) -> None:
    one, two, again = sdk.embeddings.create(model="text-embedding-3-small", input=["a", "b", "a"]).data
    assert len(one.embedding) == 1536
    assert one.embedding == again.embedding != two.embedding
    short = sdk.embeddings.create(model="text-embedding-3-large", input="a", dimensions=256, encoding_format="float")
    assert sum(value * value for value in short.data[0].embedding) == pytest.approx(1.0)
    assert len(short.data[0].embedding) == 256


def input_tokens(sdk: openai.OpenAI) -> None:
    counted = sdk.responses.input_tokens.count(model=EXAMPLE_MODEL, input="How long is this?")
    assert (counted.object, counted.input_tokens > 1) == ("response.input_tokens", True)


def compaction(sdk: openai.OpenAI) -> None:
    turns: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    compacted = sdk.responses.compact(model=EXAMPLE_MODEL, input=turns)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.usage.output_tokens > 0
    # What came out goes in again with the next turn, as it is.
    again: Any = [*(item.to_dict(warnings=False) for item in compacted.output), {"role": "user", "content": "and now?"}]
    assert sdk.responses.create(model=EXAMPLE_MODEL, input=again).output_text


def moderations(sdk: openai.OpenAI) -> None:
    checked = sdk.moderations.create(model="omni-moderation-latest", input=["a", "b"])
    assert [result.flagged for result in checked.results] == [False, False]


def images(sdk: openai.OpenAI) -> None:
    made = sdk.images.generate(model=IMAGE_MODEL, prompt="a cat", n=2)
    assert [bool(picture.b64_json) for picture in made.data or []] == [True, True]
    assert made.usage is not None


def images_streamed(sdk: openai.OpenAI) -> None:
    events = sdk.images.generate(model=IMAGE_MODEL, prompt="a cat", stream=True, partial_images=2)
    kinds = [event.type.rpartition(".")[2] for event in events]
    assert kinds == ["partial_image", "partial_image", "completed"]


def edits(sdk: openai.OpenAI) -> None:
    made = sdk.images.edit(model=IMAGE_MODEL, image=[picture(), picture()], mask=picture(), prompt="a hat", n=2)
    assert [bool(each.b64_json) for each in made.data or []] == [True, True]


def edits_streamed(sdk: openai.OpenAI) -> None:
    events = sdk.images.edit(model=IMAGE_MODEL, image=picture(), prompt="a hat", stream=True, partial_images=1)
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]


def edits_as_json(sdk: openai.OpenAI) -> None:
    data = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    body = {"model": IMAGE_MODEL, "prompt": "a hat", "images": [{"image_url": data}], "mask": {"image_url": data}}
    made: Any = sdk.post("/images/edits", body=body, cast_to=object)
    assert made["data"][0]["b64_json"]


def speech(sdk: openai.OpenAI) -> None:
    assert sdk.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="hi").read()[:2] == b"\xff\xf3"
    made = sdk.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="hi", response_format="wav")
    assert made.read()[:4] == b"RIFF"


def speech_streamed(sdk: openai.OpenAI) -> None:
    streaming = sdk.audio.speech.with_streaming_response
    with streaming.create(model="gpt-4o-mini-tts", voice="alloy", input="hi", stream_format="sse") as response:
        text = response.read().decode()
    assert "speech.audio.delta" in text
    assert "speech.audio.done" in text


def transcriptions(sdk: openai.OpenAI) -> None:
    assert "stand-in" in sdk.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=sound()).text
    plain: Any = sdk.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=sound(), response_format="text")
    assert "stand-in" in str(plain)


def transcriptions_by_the_second(sdk: openai.OpenAI) -> None:
    for name in ("gpt-transcribe", "whisper-1"):
        said: Any = sdk.audio.transcriptions.create(model=name, file=sound())
        assert (said.usage.type, said.usage.seconds) == ("duration", 1)


def transcriptions_streamed(sdk: openai.OpenAI) -> None:
    events = list(sdk.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=sound(), stream=True))
    assert events[-1].type == "transcript.text.done"


def models(sdk: openai.OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert {EXAMPLE_MODEL, "text-embedding-3-small", IMAGE_MODEL} <= set(names)
    assert all(name.startswith(("gpt-", "text-", "omni-", "whisper-", "tts-")) for name in names)


def model(sdk: openai.OpenAI) -> None:
    assert sdk.models.retrieve(EXAMPLE_MODEL).id == EXAMPLE_MODEL


def usage(sdk: openai.OpenAI) -> None:
    """The relay's own endpoint; without a table it keeps no limits and says so."""
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.get("/usage", cast_to=object)
    assert refused.value.status_code < 500


CALLS: Mapping[str, tuple[Callable[[openai.OpenAI], None], ...]] = {
    "/v1/chat/completions": (
        *(chat, chat_streamed, chat_tool, chat_tool_streamed),
        *(chat_structured, chat_structured_streamed),
    ),
    "/v1/responses": (
        *(responses, responses_streamed, responses_tool, responses_tool_streamed),
        *(responses_structured, responses_structured_streamed),
    ),
    "/v1/responses/input_tokens": (input_tokens,),
    "/v1/responses/compact": (compaction,),
    "/v1/embeddings": (embeddings,),
    "/v1/moderations": (moderations,),
    "/v1/images/generations": (images, images_streamed),
    "/v1/images/edits": (edits, edits_streamed, edits_as_json),
    "/v1/audio/speech": (speech, speech_streamed),
    "/v1/audio/transcriptions": (*(transcriptions, transcriptions_by_the_second, transcriptions_streamed),),
    "/v1/models": (models,),
    "/v1/models/{id}": (model,),
    "/v1/usage": (usage,),
}


def test_every_endpoint_is_called() -> None:
    assert CALLS.keys() == {endpoint.path for endpoint in endpoints.TABLE}


@pytest.mark.parametrize("call", [call for calls in CALLS.values() for call in calls], ids=lambda call: call.__name__)
def test_the_sdk_is_answered(sdk: openai.OpenAI, call: Callable[[openai.OpenAI], None]) -> None:
    call(sdk)


DEV_CALLS: Mapping[str, Callable[[openai.OpenAI], object]] = {
    "/v1/chat/completions": chat_tool_streamed,
    "/v1/responses": responses_tool_streamed,
    "/v1/responses/input_tokens": input_tokens,
    "/v1/responses/compact": compaction,
    "/v1/embeddings": embeddings,
    "/v1/moderations": moderations,
    "/v1/images/generations": lambda sdk: sdk.images.generate(model=IMAGE_MODEL, prompt="a cat"),
    "/v1/images/edits": lambda sdk: sdk.images.edit(model=IMAGE_MODEL, image=picture(), mask=picture(), prompt="a hat"),
    "/v1/audio/speech": lambda sdk: sdk.audio.speech.create(model="tts-1", voice="alloy", input="hi"),
    "/v1/audio/transcriptions": transcriptions_by_the_second,
    "/v1/models": models,
    "/v1/models/{id}": model,
    "/v1/usage": lambda sdk: sdk.get("/usage", cast_to=object),
}


def test_every_endpoint_works_under_the_budget_of_make_local(bundle: Path, lambda_python: Path) -> None:
    assert DEV_CALLS.keys() == {endpoint.path for endpoint in endpoints.TABLE}
    for sdk in served(bundle, lambda_python, of=environments.find("dev")):
        for call in DEV_CALLS.values():
            call(sdk)


def test_a_users_own_fixtures_come_first(bundle: Path, lambda_python: Path, tmp_path: Path) -> None:
    own = tmp_path / "fixtures.json"
    fixture = {"match": {"userMessage": "capital of France", "endpoint": "chat"}, "response": {"content": "Paris."}}
    own.write_text(json.dumps({"fixtures": [fixture]}))
    for sdk in served(bundle, lambda_python, own):
        asked: Any = [{"role": "user", "content": "What is the capital of France?"}]
        assert sdk.chat.completions.create(model=EXAMPLE_MODEL, messages=asked).choices[0].message.content == "Paris."
        chat(sdk)
        images(sdk)
        speech(sdk)
