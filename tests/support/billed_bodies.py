"""Generated bodies of pieces whose cost is known, and the most that OpenAI could bill for them.

The bill is made from what is sent and from the pieces that the body was made of; prices are read from the list as text. It
knows nothing of how the relay finds a bound. A piece that nothing bounds may only be refused.
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

from relay.accounts.limit_kinds import Limits
from relay.errors import RelayError
from relay.limits.cost_bound import Bound, UnboundedError
from relay.models import Caller, Request
from relay.policies.policy import Policy
from relay.pricing import prices
from relay.pricing.money import PICO
from relay.request import upstream_request
from relay.request.policy import RequestPolicy

CHAT, RESPONSES, COMPACTION = "/v1/chat/completions", "/v1/responses", "/v1/responses/compact"
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
    service_tiers=("auto", "default", "flex", "priority", "fast", "ultrafast"),
    max_output_tokens=1_000_000,
    max_choices=50,
)
# What the list does not say of the newest picture models, as an environment may: docs/prices.md.
OUTPUT_PER_IMAGE = 50_000
UNBOUNDED = [name for name in LIST if name.startswith("gpt-image") and "output_per_image" not in LIST[name]]
ALL_BOUNDED = PRICES.changed(
    models={
        **PRICES.models,
        **{name: PRICES.models[name].changed(output_per_image=OUTPUT_PER_IMAGE) for name in UNBOUNDED},
    }
)
BUDGET = Policy(limits=Limits(usd_per_day=10**6 * PICO))
FULL, ENDLESS = -1, -2  # tokens of a piece: as many as the model takes; nothing bounds them
# Models that generate text, and those that also hear and speak.
TEXT_MODELS = sorted(
    name for name, entry in LIST.items() if {"output", "context"} <= entry.keys() and "transcribe" not in name
)
HEARING = [name for name in TEXT_MODELS if "audio_input" in LIST[name]]
# Tokens of the dearest picture that the model can be sent. Source: platform.openai.com/docs/guides/images-vision; of models
# since gpt-5.6 the largest figure that is published, of a photo of 12 megapixels.
PICTURE = dict.fromkeys(TEXT_MODELS, 14_364) | {"gpt-4o": 1_445, "gpt-4.1": 1_445, "gpt-4o-mini": 48_169}
EDITED = 14_364  # tokens of a picture that is edited
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
    # Of animated pictures and of drawings nobody says what they come to, but it is no more than the model takes.
    kind, data = dice.choice([("gif", "A"), ("svg+xml", "A"), ("apng", "A"), ("png", "R0lGODlh")])
    url = f"data:image/{kind};base64,{data * dice.randrange(1, 3_000)}"
    yield (
        ({"type": "image_url", "image_url": {"url": url}} if chat else {"type": "input_image", "image_url": url}),
        FULL,
    )
    marked = {"type": "text" if chat else "input_text", "text": text}
    yield (
        {**marked, "prompt_cache_breakpoint": {"mode": "explicit", "ttl": dice.choice(["30m", "12h"])}},
        text_tokens(text),
    )
    yield {**marked, "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "24h"}}, ENDLESS
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
    shot = {"type": "computer_screenshot", "image_url": "data:image/png;base64," + "A" * 400}
    yield {"type": "computer_call_output", "call_id": "c", "output": shot}, PICTURE[model]
    yield {"type": "custom_tool_call_output", "call_id": "c", "output": [part]}, tokens
    yield (
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "image_url": "https://example.com/a.gif"},
        ENDLESS,
    )
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
    yield {"type": "new_item"}, ENDLESS
    # A pass of its own, in which the model reads everything and may write as much as it can.
    trigger = {"type": "compaction_trigger"}
    yield trigger, 0 if "max_output" in LIST[model] else ENDLESS


def tools(dice: random.Random, path: str) -> Iterator[Piece]:
    numbers: list[float] = dice.choice([[1] * 300, [10**15] * 50, [0.5] * 100, [-7] * 200])
    schema = {"type": "object", "properties": {"x": {"enum": numbers}}}
    tokens = text_tokens("object properties x enum") + 3 * len(numbers)
    function = {"name": "f", "parameters": schema}
    yield ({"type": "function", "function": function} if path == CHAT else {"type": "function", **function}), tokens
    yield {"type": dice.choice([*HOSTED.split(), "new_tool", "programmatic_tool_calling"])}, ENDLESS
    yield (
        {"type": "image_generation", "model": dice.choice(["gpt-image-2", "gpt-image-1.5"]), "quality": "high"},
        ENDLESS,
    )
    if path == RESPONSES:
        yield {"type": "namespace", "name": "n", "tools": [{"type": "function", **function}]}, tokens
        yield {"type": "namespace", "name": "n", "tools": [{"type": "mcp", "server_url": "https://x"}]}, ENDLESS
        yield (
            {"type": "shell", "environment": {"type": dice.choice(["container_auto", "container_reference"])}},
            ENDLESS,
        )
        yield {"type": "tool_search", "execution": dice.choice(["server", None])}, ENDLESS


def options(dice: random.Random, path: str) -> Iterator[tuple[dict[str, Any], int]]:
    yield {"service_tier": dice.choice(["auto", "default", "flex", "priority", "fast", "ultrafast"])}, 0
    yield {"prompt_cache_options": {"ttl": dice.choice(["30m", "12h"]), "mode": "explicit"}}, 0
    yield {"prompt_cache_retention": "24h"}, 0
    yield {dice.choice(["text", "reasoning", "image"]): {"model": "gpt-6-astra"}}, ENDLESS
    yield {"svg": {"model": "gpt-6-astra"}}, ENDLESS
    yield {"temperature": 1e-3, "top_p": 0.25, "metadata": {"a": "b"}}, 0
    yield {"moderation": {"model": "omni-moderation-latest"}}, ENDLESS
    yield {"prompt_cache_options": dice.choice([{"ttl": "24h"}, {"prewarm": True}])}, ENDLESS
    yield {dice.choice(["new_field", "background_options", "web_search_options", "access_programs"]): {}}, ENDLESS
    if path == CHAT:
        yield {"n": dice.randrange(1, 50)}, 0
        yield {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, 0
        yield {"prediction": {"type": "content", "content": words(dice)}}, 0
        yield {dice.choice(["max_tokens", "max_completion_tokens"]): dice.choice([1, 500, 10**7])}, 0
        return
    yield {"max_output_tokens": dice.choice([16, 500, 10**7])}, 0
    yield {"reasoning": {"mode": dice.choice(["pro", "new_mode"])}}, ENDLESS
    yield {"reasoning": {"mode": "standard", "effort": "high"}}, 0
    yield {"prompt": {"id": "pmpt_1"}}, ENDLESS
    yield {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}, ENDLESS
    yield {"previous_response_id": "resp_1"}, FULL


COMPACTED = {"service_tier", "prompt_cache_options", "prompt_cache_retention", "reasoning", "previous_response_id"}


class Case:
    """A request, and what it is made of: tokens of its prompt (FULL, ENDLESS) and, where no cap of the body says it, what
    comes out; characters that are spoken, seconds that are heard, the rates that its tokens can have."""

    def __init__(
        self, path: str, body: bytes, model: str, tokens: int, *, output: int | None = None, characters: int = 0,
        seconds: int = 0, content_type: str = "application/json",
    ) -> None:  # fmt: skip
        self.path = path
        self.body = body
        self.model = model
        self.tokens = tokens
        self.output = output
        self.characters = characters
        self.seconds = seconds
        self.content_type = content_type

    @property
    def is_endless(self) -> bool:
        return self.tokens == ENDLESS


def generated(dice: random.Random, model: str = "") -> Case:
    """A request for text."""
    model = model or dice.choice([*TEXT_MODELS, *HEARING * 3])
    path = dice.choice([CHAT, CHAT, RESPONSES, RESPONSES, COMPACTION])
    chosen = [dice.choice(list(items(dice, path, model))) for _ in range(dice.randrange(1, 4))]
    tooling = [dice.choice(list(tools(dice, path))) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    fields = [dice.choice(list(options(dice, path))) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    if path == COMPACTION:
        # It takes few of them, has no cap, and gives at most what the model can give.
        fields = [(field, tokens) for field, tokens in fields if field.keys() <= COMPACTED or tokens == ENDLESS]
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
    output = LIST[model].get("max_output") if path == COMPACTION else None
    if path == COMPACTION and output is None:
        return Case(path, written, model, ENDLESS)
    for unknown in (ENDLESS, FULL):
        if unknown in costs:
            return Case(path, written, model, unknown, output=output)
    return Case(path, written, model, sum(costs) + PREAMBLE + PER_MESSAGE * len(chosen), output=output)


IMAGES, SPEECH, TRANSCRIPTIONS = "/v1/images/generations", "/v1/audio/speech", "/v1/audio/transcriptions"
EDITS = "/v1/images/edits"
EMBEDDINGS, MODERATIONS = "/v1/embeddings", "/v1/moderations"


def _of(*parts: str) -> list[str]:
    return sorted(name for name in LIST if any(part in name for part in parts))


# In the order of the generators below.
MEDIA = (_of("gpt-image"), _of("tts"), _of("transcribe", "whisper"), _of("embedding"), _of("moderation"))


def generated_media(dice: random.Random, model: str = "") -> Case:
    """A request for pictures, sound, transcripts, vectors or a judgement of a text."""
    kinds = (_images, _speech, _transcription, _embedding, _moderation)
    index = next(at for at, names in enumerate(MEDIA) if model in names) if model else dice.randrange(len(kinds))
    return kinds[index](dice, model or dice.choice(MEDIA[index]))


def _images(dice: random.Random, model: str) -> Case:
    prompt = words(dice)
    body: dict[str, Any] = {"model": model, "prompt": prompt}
    count, partial, endless, given = 1, 0, False, 0
    path = dice.choice([IMAGES, EDITS])
    if path == EDITS:
        given = dice.randrange(1, 4)
        kind = dice.choice(["png", "png", "webp", "gif"])
        endless = kind == "gif"
        body["images"] = [{"image_url": f"data:image/{kind};base64," + "A" * dice.randrange(1, 2_000)}] * given
    for _ in range(dice.randrange(3)):
        match dice.randrange(8):
            case 0:
                body["n"] = count = dice.randrange(1, 11)
            case 1:
                body["partial_images"] = partial = dice.randrange(4)
                body["stream"] = True
            case 2:
                body["size"] = dice.choice(["auto", "1024x1536", "3840x2160", "2880x2880"])
            case 3:
                body["quality"] = dice.choice(["low", "high", "xhigh", "max", "auto"])
            case 4:
                body["output_format"] = dice.choice(["png", "webp", "jpeg"])
            case 5:
                body["output_format"] = dice.choice(["gif", "svg", "mp4"])
            case 6:
                body["svg"], endless = {"model": "gpt-6-astra", "reasoning": {"effort": "max"}}, True
            case 7:
                body[dice.choice(["complexity", "frame_count", "frame_duration_ms", "new_field"])], endless = 16, True
    endless = body.get("output_format", "png") not in ("png", "webp", "jpeg") or endless
    output = count * (LIST[model].get("output_per_image", OUTPUT_PER_IMAGE) + 100 * partial)
    # Several pictures are billed as several requests.
    tokens = ENDLESS if endless else count * (text_tokens(prompt) + PREAMBLE + given * EDITED)
    return Case(path, json.dumps(body).encode(), model, tokens, output=output)


def _speech(dice: random.Random, model: str) -> Case:
    text = words(dice)
    body: dict[str, Any] = {"model": model, "input": text, "voice": "alloy"}
    body |= dice.choice([{}, {"stream_format": "sse"}, {"speed": 4}])
    strange = dice.random() < 0.2
    written = json.dumps({**body, **({"new_field": 1} if strange else {})}).encode()
    return Case(SPEECH, written, model, ENDLESS if strange else 0, output=0, characters=len(text))


def _transcription(dice: random.Random, model: str) -> Case:
    seconds, format = dice.randrange(1, 30), dice.choice(["mp3", "wav", "ogg"])
    data = base64.b64decode(sound(seconds, format))
    prompt = words(dice)
    fields = {"model": model, "prompt": prompt, "response_format": dice.choice(["json", "text", "verbose_json"])}
    strange = dice.random() < 0.2
    fields |= {"new_field": "1"} if strange else {}
    boundary = "-" * 8 + f"{dice.randrange(10**9):09d}"
    form = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    )
    form += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode() + data
    form += f"\r\n--{boundary}--\r\n".encode()
    tokens = ENDLESS if strange else FULL if format == "ogg" else seconds * 10 + text_tokens(prompt)
    return Case(
        TRANSCRIPTIONS, form, model, tokens, output=seconds * 10, seconds=seconds,
        content_type=f"multipart/form-data; boundary={boundary}",
    )  # fmt: skip


def _embedding(dice: random.Random, model: str) -> Case:
    texts = [words(dice) for _ in range(dice.randrange(1, 20))]
    numbers = [dice.randrange(100_000) for _ in range(dice.randrange(1, 2_000))]
    given, tokens = dice.choice([(texts, sum(map(text_tokens, texts))), (numbers, len(numbers))])
    body = {"model": model, "input": given, **dice.choice([{}, {"dimensions": 8}, {"encoding_format": "base64"}])}
    return Case(EMBEDDINGS, json.dumps(body).encode(), model, tokens, output=0)


def _moderation(dice: random.Random, model: str) -> Case:
    body = {"model": model, "input": [{"type": "text", "text": words(dice)}]}
    return Case(MODERATIONS, json.dumps(body).encode(), model, 0, output=0)


def rates_of(sent: dict[str, Any], model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tiers in which `sent` may be served: the one that it asks for and, as OpenAI falls back to it, the default."""
    entry = LIST[model]
    tiers = entry.get("tiers", {})
    yield "default", entry
    asked = str(sent.get("service_tier"))
    asked = "priority" if asked == "fast" else asked
    if asked in tiers:
        yield asked, tiers[asked]


def tokens_of(case: Case, sent: dict[str, Any]) -> tuple[int, int, bool]:
    """The most tokens that can go in and come out, and whether a pass over them is a long one."""
    entry = LIST[case.model]
    context = entry.get("context", max(case.tokens, 0))
    tokens = context if case.tokens == FULL else min(case.tokens, context)
    output = case.output
    if output is None:
        caps = [sent[name] for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if sent.get(name)]
        output = min(max(caps), entry.get("max_output", 10**9)) * sent.get("n", 1)
        prediction = sent.get("prediction")
        output += text_tokens(prediction["content"]) if prediction else 0
    elif case.path == TRANSCRIPTIONS and case.tokens == FULL:
        output = tokens
    long = tokens > entry.get("long_above", tokens)
    if any(item.get("type") == "compaction_trigger" for item in sent.get("input", ()) if isinstance(item, dict)):
        tokens, output = 2 * tokens, output + entry["max_output"]
    return tokens, output, long


def bill(case: Case, sent: dict[str, Any]) -> tuple[int, Fraction]:
    """The most that OpenAI can bill for what is sent: tokens in all, and dollars."""
    entry = LIST[case.model]
    tokens, output, long = tokens_of(case, sent)
    keeps = ("cache_write", "cache_write_12h") if '"ttl": "12h"' in json.dumps(sent) else ("cache_write",)
    most = max(
        tokens * max(Fraction(tier[name]) for name in ("input", "audio_input", "image_input", *keeps) if name in tier)
        * Fraction(entry.get("long_input", 100) if long else 100, 100)
        + output * max(Fraction(tier[name]) for name in ("output", "audio_output", "image_output", "input") if name in tier)
        * Fraction(entry.get("long_output", 100) if long else 100, 100)
        for _, tier in rates_of(sent, case.model)
        if "input" in tier
    ) if "input" in entry else Fraction(0)  # fmt: skip
    most += case.characters * Fraction(entry.get("character", 0))
    return tokens + output, most / 10**6 + case.seconds * Fraction(entry.get("second", 0))


def admitted(
    case: Case, environment: RequestPolicy, listed: prices.PriceList = ALL_BOUNDED
) -> tuple[Bound, dict[str, Any]] | None:
    """The bound of a case under a budget in dollars and what is then sent; None where it is refused."""
    headers = {"content-type": case.content_type}
    request = Request(id="id", method="POST", path=case.path, headers=headers, body=case.body, caller=CALLER)
    try:
        upstream = upstream_request.prepare(request, environment, max_body_bytes=10**7, identifier="0" * 32)
        bound = upstream.bound(BUDGET, listed.of(case.model))
    except (RelayError, UnboundedError):
        return None
    return bound, json.loads(upstream.body()[0]) if case.path != TRANSCRIPTIONS else dict(upstream.fields)
