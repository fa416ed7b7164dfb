"""No admitted request costs more than its bound: generated bodies of pieces whose cost is known, an own bill as judge.

The bill is made from the bytes that are sent and from the pieces that the body was made of; prices are read from the list as
text. It knows nothing of how the relay finds a bound. A piece that nothing bounds may only be refused.
"""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from relay.accounts.limit_kinds import Limits
from relay.errors import RelayError
from relay.limits.cost_bound import Bound, UnboundedError
from relay.limits.policy import Policy
from relay.models import Caller, Request
from relay.pricing import prices
from relay.pricing.money import PICO
from relay.request import upstream_request
from relay.request.policy import RequestPolicy

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/a/b")
TEXT = Path(prices.__file__).with_name("prices.json").read_text()
PRICES, LIST = prices.parse(TEXT), json.loads(TEXT, parse_float=Fraction)["models"]
HOSTED = "web_search web_search_preview file_search mcp code_interpreter image_generation computer_use_preview"
ALL_TOOLS = (
    *HOSTED.split(),
    "function",
    "custom",
    "namespace",
    "tool_search",
    "shell",
    "programmatic_tool_calling",
    "new_tool",
)
DEFAULT = RequestPolicy()
EVERYTHING = RequestPolicy(
    stateful=True,
    tools=ALL_TOOLS,
    service_tiers=("auto", "default", "flex", "priority"),
    max_output_tokens=1_000_000,
    max_choices=50,
)
BUDGET = Policy(limits=Limits(usd_per_day=10**6 * PICO))
FULL, ENDLESS = -1, -2  # tokens of a piece: as many as the model takes; nothing bounds them
# Tokens of the dearest picture that the model can be sent. Source: platform.openai.com/docs/guides/images-vision.
PICTURE = {"gpt-4o": 1_445, "gpt-4.1": 1_445, "gpt-4o-mini": 48_169, "gpt-5-mini": 10_000, "gpt-5.4": 10_000}
# What OpenAI adds: its own preamble with tools, and some tokens around each message.
PREAMBLE, PER_MESSAGE = 120, 4

Piece = tuple[Any, int]


def sound(seconds: int, format: str) -> str:
    """A recording in base64 that takes as few bytes as its format allows an encoder."""
    if format == "mp3":  # MPEG 2, layer III, 8 kbit/s
        data = (b"\xff\xf3\x14\xc4" + b"\0" * 68) * (seconds * 1_000 // 72 + 1)
    elif format == "wav":  # 8 kHz in 8 bits
        form = struct.pack("<HHIIHH", 1, 1, 8_000, 8_000, 1, 8)
        data = (
            b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data" + b"\0\0\0\0" + b"\x80" * (seconds * 8_000)
        )
    else:  # hours of silence
        data = b"OggS" + b"\0" * seconds
    return base64.b64encode(data).decode()


def words(dice: random.Random) -> str:
    letters = dice.choice(["abc ", "äöü", "日本語", "😀🎉", '"\\\n', "1,2,", "\u0001\u001f"])
    return "".join(dice.choices(letters, k=dice.randrange(400)))


def text_tokens(value: Any) -> int:
    """The tokens of a text at most: one for each byte."""
    return len(str(value).encode())


def parts(dice: random.Random, path: str, model: str) -> Iterator[Piece]:
    """Content parts of a message, with the tokens that they come to."""
    text, chat = words(dice), path == CHAT
    url = dice.choice(["https://example.com/a.png", "data:image/png;base64," + "A" * dice.randrange(3_000)])
    yield {"type": "text" if chat else "input_text", "text": text}, text_tokens(text)
    picture = {"type": "image_url", "image_url": {"url": url}} if chat else {"type": "input_image", "image_url": url}
    yield picture, PICTURE[model]
    seconds, format = dice.randrange(1, 8), dice.choice(["mp3", "wav", "ogg", "flac"])
    recording = {
        "type": "input_audio",
        "input_audio": {"data": sound(seconds, format), "format": dice.choice(["mp3", "wav"])},
    }
    yield recording, seconds * 10 if format in ("mp3", "wav") else FULL
    yield (
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}
        if chat
        else {"type": "input_file", "file_url": "u"},
        FULL,
    )
    yield {"type": "file", "file": {"file_id": "f"}} if chat else {"type": "input_image", "file_id": "f"}, FULL
    yield (
        {"type": dice.choice(["input_video", "video_url", "new_part"]), dice.choice(["text", "video_url", "id"]): "x"},
        ENDLESS,
    )
    yield (
        {
            "type": "text" if chat else "input_text",
            "text": "x",
            dice.choice(["video_url", "source_url", "image_url"]): "u",
        },
        ENDLESS,
    )


def items(dice: random.Random, path: str, model: str) -> Iterator[Piece]:
    """Messages of a chat, or items of a response's input."""
    part, tokens = dice.choice(list(parts(dice, path, model)))
    yield {"role": "user", "content": [part]}, tokens
    if path == CHAT:
        yield {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}, FULL
        arguments = words(dice)
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        yield {"role": "assistant", "tool_calls": [call]}, text_tokens(arguments)
        return
    yield {"type": "function_call_output", "call_id": "c", "output": [part]}, tokens
    yield {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * 400}, PICTURE[model]
    yield {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "A" * 300}, 300
    yield dice.choice([{"id": "msg_1"}, {"type": "item_reference", "id": "msg_1"}, {"type": None, "id": "msg_1"}]), FULL
    yield {"type": "compaction", "encrypted_content": "A"}, FULL
    hosted = {"type": dice.choice([*HOSTED.split(), "new_tool"])}
    yield (
        {
            "type": dice.choice(["additional_tools", "tool_search_output", "new_item"]),
            "role": "developer",
            "tools": [hosted],
        },
        ENDLESS,
    )
    yield {"type": dice.choice(["compaction_trigger", "new_item"])}, ENDLESS


def tools(dice: random.Random, path: str) -> Iterator[Piece]:
    numbers: list[float] = dice.choice([[1] * 300, [10**15] * 50, [0.5] * 100, [-7] * 200])
    schema = {"type": "object", "properties": {"x": {"enum": numbers}}}
    tokens = text_tokens("object properties x enum") + 3 * len(numbers)
    function = {"name": "f", "parameters": schema}
    yield ({"type": "function", "function": function} if path == CHAT else {"type": "function", **function}), tokens
    yield {"type": dice.choice([*HOSTED.split(), "new_tool", "programmatic_tool_calling"])}, ENDLESS
    if path == RESPONSES:
        yield {"type": "namespace", "name": "n", "tools": [{"type": "function", **function}]}, tokens
        yield {"type": "namespace", "name": "n", "tools": [{"type": "mcp", "server_url": "https://x"}]}, ENDLESS
        yield (
            {"type": "shell", "environment": {"type": dice.choice(["container_auto", "container_reference"])}},
            ENDLESS,
        )
        yield {"type": "tool_search", "execution": dice.choice(["server", None])}, ENDLESS


def options(dice: random.Random, path: str) -> Iterator[tuple[dict[str, Any], int]]:
    yield {"service_tier": dice.choice(["auto", "default", "flex", "priority"])}, 0
    yield {"temperature": 1e-3, "top_p": 0.25, "metadata": {"a": "b"}}, 0
    yield {"moderation": {"model": "omni-moderation-latest"}}, ENDLESS
    yield {"prompt_cache_options": dice.choice([{"ttl": "24h"}, {"prewarm": True}])}, ENDLESS
    yield {dice.choice(["new_field", "background_options", "web_search_options", "access_programs"]): {}}, ENDLESS
    if path == CHAT:
        yield {"n": dice.randrange(1, 50)}, 0
        yield {"prediction": {"type": "content", "content": words(dice)}}, 0
        yield {dice.choice(["max_tokens", "max_completion_tokens"]): dice.choice([1, 500, 10**7])}, 0
        return
    yield {"max_output_tokens": dice.choice([16, 500, 10**7])}, 0
    yield {"reasoning": {"mode": "pro"}}, ENDLESS
    yield {"prompt": {"id": "pmpt_1"}}, ENDLESS
    yield {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}, ENDLESS
    yield {"previous_response_id": "resp_1"}, FULL


def generated(dice: random.Random) -> tuple[str, bytes, str, int]:
    """A path, a body, its model and the tokens of its prompt, FULL or ENDLESS."""
    path, model = dice.choice([CHAT, RESPONSES]), dice.choice(list(PICTURE))
    chosen = [dice.choice(list(items(dice, path, model))) for _ in range(dice.randrange(1, 4))]
    tooling = [dice.choice(list(tools(dice, path))) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    fields = [dice.choice(list(options(dice, path))) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    body: dict[str, Any] = {"model": model, "messages" if path == CHAT else "input": [item for item, _ in chosen]}
    body |= {"tools": [tool for tool, _ in tooling]} if tooling else {}
    for field, _ in fields:
        body |= field
    # A field that was chosen twice is the later one.
    kept = [(field, tokens) for field, tokens in fields if all(body[name] == value for name, value in field.items())]
    costs = [tokens for _, tokens in (*chosen, *tooling, *kept)]
    written = json.dumps(body, ensure_ascii=dice.random() < 0.5).encode()
    if dice.random() < 0.3:
        written = written.replace(b"1000000000000000", b"1e15")
    for unknown in (ENDLESS, FULL):
        if unknown in costs:
            return path, written, model, unknown
    return path, written, model, sum(costs) + PREAMBLE + PER_MESSAGE * len(chosen)


def bill(sent: dict[str, Any], model: str, tokens: int) -> tuple[int, Fraction]:
    """The most that OpenAI can bill for what is sent: tokens in all, and dollars."""
    entry = LIST[model]
    tokens = entry["context"] if tokens == FULL else min(tokens, entry["context"])
    caps = [sent[name] for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if sent.get(name)]
    output = min(max(caps), entry["max_output"]) * sent.get("n", 1)
    prediction = sent.get("prediction")
    output += text_tokens(prediction["content"]) if prediction else 0
    long = tokens > entry.get("long_above", tokens)
    asked = sent.get("service_tier") or "default"
    # What is asked for as flex may be served, and billed, as the default.
    served = [entry, *(tier for name, tier in entry.get("tiers", {}).items() if name == asked)]
    rates = [
        tokens * Fraction(tier["input"]) * Fraction(entry.get("long_input", 100) if long else 100, 100)
        + output * Fraction(tier["output"]) * Fraction(entry.get("long_output", 100) if long else 100, 100)
        for tier in served
    ]
    return tokens + output, max(rates) / 10**6


def admitted(path: str, body: bytes, model: str, environment: RequestPolicy) -> tuple[Bound, dict[str, Any]] | None:
    request = Request(id="id", method="POST", path=path, body=body, caller=CALLER)
    try:
        upstream = upstream_request.prepare(request, environment, max_body_bytes=10**7, identifier="0" * 32)
        bound = upstream.bound(BUDGET, PRICES.of(model))
    except (RelayError, UnboundedError):
        return None
    return bound, json.loads(upstream.body()[0])


@pytest.mark.parametrize(("environment", "least"), [(DEFAULT, 300), (EVERYTHING, 700)])
def test_no_bill_exceeds_what_was_reserved(environment: RequestPolicy, least: int) -> None:
    dice, admissions = random.Random(7), 0
    for _ in range(2_500):
        path, body, model, tokens = generated(dice)
        outcome = admitted(path, body, model, environment)
        if outcome is None:
            continue
        bound, sent = outcome
        assert tokens != ENDLESS, body[:2_000]
        billed_tokens, billed = bill(sent, model, tokens)
        assert billed_tokens <= bound.tokens, body[:2_000]
        assert billed * PICO <= bound.usd, body[:2_000]
        admissions += 1
    assert admissions > least


def test_numbers_in_a_schema_are_billed_as_they_are_sent() -> None:
    for number, count in (("1e15", 49_000), ("1", 130_000)):
        schema = '{"enum":[' + ",".join([number] * count) + "]}"
        body = '{"model":"gpt-5.4","input":"x","tools":[{"type":"function","name":"f","parameters":' + schema + "}]}"
        outcome = admitted(RESPONSES, body.encode(), "gpt-5.4", DEFAULT)
        assert outcome is not None
        tokens, billed = bill(outcome[1], "gpt-5.4", 3 * count + PREAMBLE)
        assert tokens <= outcome[0].tokens
        assert billed * PICO <= outcome[0].usd
