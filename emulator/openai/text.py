"""What the OpenAI stand-in says: text, tool calls, JSON by a schema, and how a chat completion holds it. Pure.

Shapes as in platform.openai.com/docs/api-reference/chat; usage is one token for four characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
CREATED = 1_795_000_000  # seconds since 1970; any will do
DEEPEST = 8  # levels of a schema that are filled in: one that contains itself has no end
SENTENCE = "This is the stand-in for OpenAI that ships with the repository."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said: a text, or a call of the tool `tool` with `arguments` as JSON text, or as any text where its `kind` is
    "custom". Of the kind "compaction" it is an item that holds `text`, sealed. `number` tells the calls of one conversation
    apart.
    """

    text: str = ""
    tool: str = ""
    arguments: str = ""
    kind: Literal["function", "custom", "compaction"] = "function"
    namespace: str = ""
    number: int = 0

    @property
    def call_id(self) -> str:
        return f"call_stand_in_{self.number}" if self.number else "call_stand_in"


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
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in pieces(reply.arguments)]
    else:
        deltas += [{"content": part} for part in pieces(reply.text)]
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
    return {"id": reply.call_id, "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.tool else "stop"


def _chat_usage(body: Json, reply: Reply) -> Json:
    prompt, completion = counts(body, reply)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


# -- small parts -------------------------------------------------------------------------------------------------------


def counts(body: Json, reply: Reply) -> tuple[int, int]:
    """Tokens in and out."""
    asked = json.dumps(body.get("messages") or body.get("input") or "")
    return max(1, len(asked) // 4), max(1, len(reply.text + reply.tool + reply.arguments) // 4)


def pieces(text: str, size: int = 12) -> Iterator[str]:
    """What a stream brings at once."""
    return (text[at : at + size] for at in range(0, len(text), size))


def _data(payload: Json) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"
