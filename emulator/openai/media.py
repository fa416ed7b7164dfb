"""What the OpenAI stand-in says at the endpoints that are no conversation: vectors, pictures, sound, models. Pure.

Shapes as in platform.openai.com/docs/api-reference; every figure depends on the request alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import struct
import wave
from collections.abc import Iterator
from typing import Any

from clients import EXAMPLE_MODEL

Json = dict[str, Any]
CREATED = 1_795_000_000
MODELS = (
    EXAMPLE_MODEL,
    *("text-embedding-3-small", "text-embedding-3-large", "omni-moderation-latest"),
    *("gpt-image-2", "gpt-image-2.5-flare", "tts-1", "gpt-transcribe", "whisper-1"),
)
PICTURE = (  # one grey pixel, as PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNsaGj4DwAFhAKAjM1mJgAAAABJRU5ErkJggg=="
)
TRANSCRIPT = "This is the stand-in for OpenAI; it does not listen."
_SECONDS, _RATE = 0.5, 24_000  # of silence, and samples a second as OpenAI's speech has
_SILENT_FRAME = b"\xff\xf3\x84\xc4" + bytes(380)  # MPEG-2 layer III, 64 kbit/s, 24 kHz, mono: 384 bytes, 24 ms
_BY_THE_SECOND = ("whisper-1", "gpt-transcribe")
_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm"}


def models() -> Json:
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "openai"} for name in MODELS]
    return {"object": "list", "data": listed}


def embeddings(body: Json) -> Json:
    """One vector of length 1 for each input: the same text always has the same."""
    text = body.get("input", "")
    # A text, texts, tokens, or lists of tokens.
    inputs = text if isinstance(text, list) and text and not isinstance(text[0], int) else [text]
    size = int(body.get("dimensions") or (3072 if "large" in str(body.get("model")) else 1536))
    vectors = [_vector(json.dumps(text), size) for text in inputs]
    encoded = [_base64_of(vector) if body.get("encoding_format") == "base64" else vector for vector in vectors]
    tokens = sum(max(1, len(json.dumps(text)) // 4) for text in inputs)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(encoded)],
        "model": body.get("model", ""),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(text: str, size: int) -> list[float]:
    raw = hashlib.shake_256(text.encode()).digest(2 * size)
    values = [number / 32768 for (number,) in struct.iter_unpack("<h", raw)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _base64_of(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def moderations(body: Json) -> Json:
    """Nothing is ever flagged."""
    names = "harassment harassment/threatening hate hate/threatening illicit illicit/violent self-harm self-harm/instructions"
    categories = (names + " self-harm/intent sexual sexual/minors violence violence/graphic").split()
    text = body.get("input", "")
    count = len(text) if isinstance(text, list) and text and isinstance(text[0], str) else 1
    result = {
        "flagged": False,
        "categories": dict.fromkeys(categories, False),
        "category_scores": dict.fromkeys(categories, 0.0),
        "category_applied_input_types": {name: ["text"] for name in categories},
    }
    return {"id": "modr-stand-in", "model": body.get("model", "omni-moderation-latest"), "results": [result] * count}


# -- pictures ----------------------------------------------------------------------------------------------------------


def image(body: Json) -> Json:
    count = int(body.get("n") or 1)
    return {"created": CREATED, "data": [{"b64_json": PICTURE}] * count, **_picture(body), "usage": _image_usage(count)}


def image_events(body: Json, kind: str) -> Iterator[bytes]:
    """Partial pictures as many as were asked for, then the whole one. `kind` begins the events' types."""
    common = {"created_at": CREATED, "b64_json": PICTURE, **_picture(body)}
    for index in range(int(body.get("partial_images") or 0)):
        yield _event({"type": f"{kind}.partial_image", "partial_image_index": index, **common})
    yield _event({"type": f"{kind}.completed", **common, "usage": _image_usage(1)})


def _picture(body: Json) -> Json:
    defaults = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    return {name: usual if body.get(name) in (None, "auto") else body[name] for name, usual in defaults.items()}


def _image_usage(count: int) -> Json:
    details = {"text_tokens": 8, "image_tokens": 0}
    output = 272 * count  # a low picture of 1024 x 1024
    return {"input_tokens": 8, "input_tokens_details": details, "output_tokens": output, "total_tokens": 8 + output}


# -- sound -------------------------------------------------------------------------------------------------------------


def speech(body: Json) -> tuple[str, bytes] | None:
    """Content type and half a second of silence; None for a format that cannot be made here."""
    form = str(body.get("response_format") or "mp3")
    match form:
        case "mp3":
            sound = _SILENT_FRAME * round(_SECONDS / 0.024)
        case "wav":
            sound = _wave()
        case "pcm":
            sound = bytes(int(_SECONDS * _RATE) * 2)
        case _:
            return None
    return _TYPES[form], sound


def speech_events(sound: bytes) -> Iterator[bytes]:
    for at in range(0, len(sound), 4096):
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(sound[at : at + 4096]).decode()})
    usage = {"input_tokens": 8, "output_tokens": 10, "total_tokens": 18}
    yield _event({"type": "speech.audio.done", "usage": usage})


def _wave() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(bytes(int(_SECONDS * _RATE) * 2))
    return buffer.getvalue()


def transcription(form: str, model: str) -> tuple[str, str]:
    """Content type and text of a transcription in `response_format`."""
    end = "00:00:00{}500"
    match form:
        case "text":
            return "text/plain; charset=utf-8", TRANSCRIPT + "\n"
        case "srt":
            return "application/x-subrip", f"1\n00:00:00,000 --> {end.format(',')}\n{TRANSCRIPT}\n\n"
        case "vtt":
            return "text/vtt", f"WEBVTT\n\n00:00:00.000 --> {end.format('.')}\n{TRANSCRIPT}\n\n"
        case "verbose_json":
            segment = {"id": 0, "start": 0.0, "end": _SECONDS, "text": TRANSCRIPT}
            more = {"language": "english", "duration": _SECONDS, "segments": [segment]}
            whole = {"task": "transcribe", "text": TRANSCRIPT, **more, "usage": _audio_usage(model)}
            return "application/json", json.dumps(whole)
    return "application/json", json.dumps({"text": TRANSCRIPT, "usage": _audio_usage(model)})


def transcription_events(model: str) -> Iterator[bytes]:
    for word in TRANSCRIPT.split(" "):
        yield _event({"type": "transcript.text.delta", "delta": word + " "})
    yield _event({"type": "transcript.text.done", "text": TRANSCRIPT, "usage": _audio_usage(model)})


def _audio_usage(model: str) -> Json:
    if model in _BY_THE_SECOND:
        return {"type": "duration", "seconds": 1}
    details = {"text_tokens": 0, "audio_tokens": 14}
    return {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": details,
        "output_tokens": 12,
        "total_tokens": 26,
    }


def _event(payload: Json) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()
