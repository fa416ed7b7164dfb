"""What OpenAI answers on each endpoint the relay serves, with the shapes of its API reference, for a RawUpstream.

Source: platform.openai.com/docs/api-reference; the streams are cut to a few events of each kind.
"""

from __future__ import annotations

import json
from typing import Any

from emulator.fakes.raw_upstream import (
    EVENT_STREAM,
    LAST_CHUNK,
    Recorded,
    Send,
    Step,
    chat_chunk,
    chunk,
    head,
    json_answer,
)

CHAT_USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
RESPONSES_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 11,
}
AUDIO = bytes(range(256)) * 40
MODELS = [
    {"id": name, "object": "model", "created": 1, "owned_by": "openai"} for name in ("gpt-5", "gpt-5-mini", "tts-1")
]
_MODEL = "gpt-5"


def _event(type: str, **fields: Any) -> bytes:
    data = json.dumps({"type": type, **fields}, separators=(",", ":"), ensure_ascii=False).encode()
    return b"event: " + type.encode() + b"\ndata: " + data + b"\n\n"


def response_object(status: str, text: str) -> dict[str, Any]:
    """A Responses API response."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1795000000,
        "status": status,
        "model": _MODEL,
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "usage": RESPONSES_USAGE if status == "completed" else None,
    }


def responses_events(*words: str) -> list[bytes]:
    """The events of a whole Responses stream."""
    deltas = [
        _event(
            "response.output_text.delta",
            sequence_number=n,
            item_id="msg_1",
            output_index=0,
            content_index=0,
            delta=word,
        )
        for n, word in enumerate(words, 2)
    ]
    return [
        _event("response.created", sequence_number=0, response=response_object("in_progress", "")),
        _event("response.in_progress", sequence_number=1, response=response_object("in_progress", "")),
        *deltas,
        _event("response.completed", sequence_number=9, response=response_object("completed", "".join(words))),
    ]


def chat_events(*words: str, usage: bool) -> list[bytes]:
    """The events of a whole chat completion's stream; with `usage` as `stream_options.include_usage` makes them."""
    more: dict[str, object] = {"usage": None} if usage else {}
    last = {"id": "chatcmpl-raw", "object": "chat.completion.chunk", "created": 1, "model": _MODEL, "choices": []}
    return [
        chat_chunk({"role": "assistant", "content": ""}, None, **more),
        *(chat_chunk({"content": word}, None, **more) for word in words),
        chat_chunk({}, "stop", **more),
        *(
            [b"data: " + json.dumps({**last, "usage": CHAT_USAGE}, separators=(",", ":")).encode() + b"\n\n"]
            if usage
            else []
        ),
        b"data: [DONE]\n\n",
    ]


def streamed(events: list[bytes]) -> list[Step]:
    """One HTTP chunk per event."""
    return [Send(head(headers=EVENT_STREAM)), *(Send(chunk(event)) for event in events), Send(LAST_CHUNK)]


def answer(request: Recorded) -> list[Step]:
    """The good answer to `request`, for RawUpstream.answer_with."""
    path = request.target.removeprefix("/v1")
    is_json = (request.header("content-type") or "").startswith("application/json")
    body: dict[str, Any] = json.loads(request.body) if request.body and is_json else {}
    if path == "/audio/transcriptions":
        return _transcription(_form_streams(request))
    if path == "/images/edits":
        return _edits(body.get("stream") is True or _form_streams(request))
    return _ANSWERS[path](body)


def _form_streams(request: Recorded) -> bool:
    return b'name="stream"\r\n\r\ntrue' in request.body


def _chat(body: dict[str, Any]) -> list[Step]:
    if body.get("stream"):
        return streamed(chat_events("Hé", "llo ✓", usage=bool(body.get("stream_options", {}).get("include_usage"))))
    message = {"role": "assistant", "content": "Héllo ✓", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": _MODEL, "choices": [choice]}
    return json_answer(200, {**whole, "usage": CHAT_USAGE})


def _responses(body: dict[str, Any]) -> list[Step]:
    if body.get("stream"):
        return streamed(responses_events("Hé", "llo ✓"))
    return json_answer(200, response_object("completed", "Héllo ✓"))


def _embeddings(body: dict[str, Any]) -> list[Step]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return json_answer(200, {"object": "list", "data": data, "model": _MODEL, "usage": usage})


def _moderations(body: dict[str, Any]) -> list[Step]:
    result = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    return json_answer(200, {"id": "modr-1", "model": body["model"], "results": [result]})


def _images(body: dict[str, Any]) -> list[Step]:
    usage = {"input_tokens": 5, "output_tokens": 100, "total_tokens": 105, "input_tokens_details": {"text_tokens": 5}}
    if body.get("stream"):
        partial = _event("image_generation.partial_image", b64_json="AAAA", partial_image_index=0)
        # A line of two megabytes, as pictures make them.
        done = _event("image_generation.completed", b64_json="B" * 2_000_000, usage=usage)
        return streamed([partial, done])
    return json_answer(200, {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": usage})


def _edits(stream: bool) -> list[Step]:
    usage = {"input_tokens": 5, "output_tokens": 100, "total_tokens": 105, "input_tokens_details": {"image_tokens": 5}}
    if stream:
        partial = _event("image_edit.partial_image", b64_json="AAAA", partial_image_index=0)
        return streamed([partial, _event("image_edit.completed", b64_json="CCCC", usage=usage)])
    return json_answer(200, {"created": 1, "data": [{"b64_json": "CCCC"}], "usage": usage})


def _input_tokens(body: dict[str, Any]) -> list[Step]:
    return json_answer(200, {"object": "response.input_tokens", "input_tokens": 9})


def _compaction(body: dict[str, Any]) -> list[Step]:
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAAA"}
    whole = {"id": "resp_1", "object": "response.compaction", "created_at": 1, "output": [item]}
    return json_answer(200, {**whole, "usage": RESPONSES_USAGE})


def _speech(body: dict[str, Any]) -> list[Step]:
    if body.get("stream_format") == "sse":
        delta = _event("speech.audio.delta", audio="AAAA")
        return streamed([delta, _event("speech.audio.done", usage={"input_tokens": 4, "output_tokens": 8})])
    kind = (("content-type", "audio/mpeg"), ("transfer-encoding", "chunked"))
    return [Send(head(headers=kind)), Send(chunk(AUDIO[:5000])), Send(chunk(AUDIO[5000:])), Send(LAST_CHUNK)]


def _transcription(stream: bool) -> list[Step]:
    if stream:
        delta = _event("transcript.text.delta", delta="Hé")
        return streamed(
            [delta, _event("transcript.text.done", text="Héllo", usage={"input_tokens": 7, "output_tokens": 3})]
        )
    return json_answer(200, {"text": "Héllo", "usage": {"type": "tokens", "input_tokens": 7, "output_tokens": 3}})


def _models(body: dict[str, Any]) -> list[Step]:
    return json_answer(200, {"object": "list", "data": MODELS})


_ANSWERS = {
    "/chat/completions": _chat,
    "/responses": _responses,
    "/responses/input_tokens": _input_tokens,
    "/responses/compact": _compaction,
    "/embeddings": _embeddings,
    "/moderations": _moderations,
    "/images/generations": _images,
    "/audio/speech": _speech,
    "/models": _models,
}
