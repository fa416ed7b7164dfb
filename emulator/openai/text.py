"""What the OpenAI stand-in says in chat completions and responses: text, tool calls, JSON by a schema. Pure.

Shapes as in platform.openai.com/docs/api-reference/chat and /responses; usage is one token for four characters.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
CREATED = 1_795_000_000  # seconds since 1970; any will do
DEEPEST = 8  # levels of a schema that are filled in: one that contains itself has no end
SENTENCE = "This is the stand-in for OpenAI that ships with the repository."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said: a text, or a call of the tool `tool` with `arguments` as JSON text."""

    text: str = ""
    tool: str = ""
    arguments: str = ""


def reply_to(body: Json) -> Reply | None:
    """What has to be made up for this request; None when any text is a response to it."""
    tool = _tool_to_call(body)
    if tool is not None:
        schema = tool.get("parameters") or {}
        return Reply(tool=str(tool.get("name", "")), arguments=json.dumps(example(schema, schema)))
    form = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_object":
        return Reply(text=json.dumps({"answer": SENTENCE}))
    if form.get("type") == "json_schema":
        schema = form.get("schema") or (form.get("json_schema") or {}).get("schema") or {}
        return Reply(text=json.dumps(example(schema, schema)))
    return None


def _tool_to_call(body: Json) -> Json | None:
    """The function that is asked for by name, else the first one; none once its output is among the messages."""
    functions: list[Json] = [
        tool.get("function", tool) for tool in body.get("tools") or () if tool.get("type") == "function"
    ]
    choice = body.get("tool_choice", "auto")
    turns = body.get("messages") or body.get("input") or ()
    last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else {}
    is_answered = last.get("role") == "tool" or last.get("type") == "function_call_output"
    if not functions or choice == "none" or is_answered:
        return None
    name = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    named = [function for function in functions if function.get("name") == name]
    return (named or functions)[0]


def example(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """The simplest value that `schema` describes; `root` is where its references point."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    if "$ref" in schema:
        return example(_resolve(str(schema["$ref"]), root), root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return example(schema[key][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_kind(kind: str, schema: Json, root: Mapping[str, Any], depth: int) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {name: example(part, root, depth + 1) for name, part in properties.items()}
        case "array":
            count = max(1, int(schema.get("minItems", 1)))
            return [example(schema.get("items", {}), root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return "example".ljust(int(schema.get("minLength", 0)), "x")


def _resolve(reference: str, root: Any) -> Any:
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            root = root.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(root, dict) else {}
    return root


# -- chat completions --------------------------------------------------------------------------------------------------


def chat(body: Json, reply: Reply) -> Json:
    """The completion that is not streamed."""
    message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None, "annotations": []}
    if reply.tool:
        message["tool_calls"] = [_chat_call(reply)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}
    return {**_chat_head(body, "chat.completion"), "choices": [choice], "usage": _chat_usage(body, reply)}


def chat_events(body: Json, reply: Reply) -> Iterator[bytes]:
    """The completion as server-sent events, `[DONE]` included."""
    head = _chat_head(body, "chat.completion.chunk")
    deltas: list[Json] = [{"role": "assistant", "content": None if reply.tool else ""}]
    if reply.tool:
        call = _chat_call(reply)
        deltas.append({"tool_calls": [{"index": 0, **call, "function": {"name": reply.tool, "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in _pieces(reply.arguments)]
    else:
        deltas += [{"content": part} for part in _pieces(reply.text)]
    for delta in deltas:
        yield _data({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]})
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": _finish(reply)}
    yield _data({**head, "choices": [last]})
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _data({**head, "choices": [], "usage": _chat_usage(body, reply)})
    yield b"data: [DONE]\n\n"


def _chat_head(body: Json, kind: str) -> Json:
    return {"id": "chatcmpl-stand-in", "object": kind, "created": CREATED, "model": body.get("model", "")}


def _chat_call(reply: Reply) -> Json:
    function = {"name": reply.tool, "arguments": reply.arguments}
    return {"id": "call_stand_in", "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.tool else "stop"


def _chat_usage(body: Json, reply: Reply) -> Json:
    prompt, completion = _counts(body, reply)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


# -- responses ---------------------------------------------------------------------------------------------------------


def responses(body: Json, reply: Reply) -> Json:
    """The response that is not streamed."""
    return _response(body, reply, "completed", [_item(reply, "completed")])


def responses_events(body: Json, reply: Reply) -> Iterator[bytes]:
    """The response as server-sent events with names and sequence numbers."""
    begun = {"response": _response(body, reply, "in_progress", [])}
    events: list[tuple[str, Json]] = [
        ("response.created", begun),
        ("response.in_progress", begun),
        ("response.output_item.added", {"output_index": 0, "item": _item(reply, "in_progress")}),
        *(_call_events(reply) if reply.tool else _text_events(reply)),
        ("response.output_item.done", {"output_index": 0, "item": _item(reply, "completed")}),
        ("response.completed", {"response": responses(body, reply)}),
    ]
    for number, (name, fields) in enumerate(events):
        data = json.dumps({"type": name, "sequence_number": number, **fields})
        yield f"event: {name}\ndata: {data}\n\n".encode()


def _text_events(reply: Reply) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": "msg_stand_in", "output_index": 0, "content_index": 0}
    yield "response.content_part.added", {**place, "part": _part("")}
    for piece in _pieces(reply.text):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": reply.text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": _part(reply.text)}


def _call_events(reply: Reply) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": "fc_stand_in", "output_index": 0}
    for piece in _pieces(reply.arguments):
        yield "response.function_call_arguments.delta", {**place, "delta": piece}
    yield "response.function_call_arguments.done", {**place, "arguments": reply.arguments, "name": reply.tool}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(reply: Reply, status: str) -> Json:
    is_done = status == "completed"
    if reply.tool:
        call = {"call_id": "call_stand_in", "name": reply.tool, "arguments": reply.arguments if is_done else ""}
        return {"id": "fc_stand_in", "type": "function_call", "status": status, **call}
    content = [_part(reply.text)] if is_done else []
    return {"id": "msg_stand_in", "type": "message", "status": status, "role": "assistant", "content": content}


def _response(body: Json, reply: Reply, status: str, output: list[Json]) -> Json:
    prompt, completion = _counts(body, reply)
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
    return {
        "id": "resp_stand_in",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": body.get("model", ""),
        "output": output,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": True,
        "store": bool(body.get("store", False)),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "usage": usage if status == "completed" else None,
    }


def input_tokens(body: Json) -> Json:
    return {"object": "response.input_tokens", "input_tokens": _counts(body, Reply())[0]}


def compaction(body: Json) -> Json:
    """The user's messages as they were, and one item for all the rest."""
    given = body.get("input")
    turns = given if isinstance(given, list) else [{"role": "user", "content": given}] if given else []
    kept = [
        {
            "id": f"msg_stand_in_{index}",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": _texts(turn),
        }
        for index, turn in enumerate(turn for turn in turns if turn.get("role") == "user")
    ]
    sealed = base64.b64encode(hashlib.sha256(json.dumps(turns).encode()).digest()).decode()
    item = {"id": "cmp_stand_in", "type": "compaction", "encrypted_content": sealed, "created_by": "stand-in"}
    usage = _response(body, Reply(text=sealed), "completed", [])["usage"]
    head = {"id": "resp_stand_in", "object": "response.compaction", "created_at": CREATED}
    return {**head, "output": [*kept, item], "usage": usage}


def _texts(turn: Json) -> list[Json]:
    content = turn.get("content")
    return content if isinstance(content, list) else [{"type": "input_text", "text": content or ""}]


# -- small parts -------------------------------------------------------------------------------------------------------


def _counts(body: Json, reply: Reply) -> tuple[int, int]:
    asked = json.dumps(body.get("messages") or body.get("input") or "")
    return max(1, len(asked) // 4), max(1, len(reply.text + reply.tool + reply.arguments) // 4)


def _pieces(text: str, size: int = 12) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


def _data(payload: Json) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"
