"""How a response holds what the OpenAI stand-in says, whole and as events; token counts and compactions. Pure.

Shapes as in platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from emulator.openai import agent
from emulator.openai.text import CREATED, Json, Reply, counts, pieces


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
        *_content_events(reply),
        ("response.output_item.done", {"output_index": 0, "item": _item(reply, "completed")}),
        ("response.completed", {"response": responses(body, reply)}),
    ]
    for number, (name, fields) in enumerate(events):
        data = json.dumps({"type": name, "sequence_number": number, **fields})
        yield f"event: {name}\ndata: {data}\n\n".encode()


def _content_events(reply: Reply) -> Iterator[tuple[str, Json]]:
    if reply.kind == "compaction":
        return iter(())
    return _call_events(reply) if reply.tool else _text_events(reply)


def _text_events(reply: Reply) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": "msg_stand_in", "output_index": 0, "content_index": 0}
    yield "response.content_part.added", {**place, "part": _part("")}
    for piece in pieces(reply.text):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": reply.text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": _part(reply.text)}


def _call_events(reply: Reply) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": _call_item(reply), "output_index": 0}
    kind = "custom_tool_call_input" if reply.kind == "custom" else "function_call_arguments"
    for piece in pieces(reply.arguments):
        yield f"response.{kind}.delta", {**place, "delta": piece}
    whole = {"input": reply.arguments} if reply.kind == "custom" else {"arguments": reply.arguments, "name": reply.tool}
    yield f"response.{kind}.done", {**place, **whole}


def _call_item(reply: Reply) -> str:
    return f"{'ctc' if reply.kind == 'custom' else 'fc'}_{reply.call_id.removeprefix('call_')}"


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(reply: Reply, status: str) -> Json:
    is_done = status == "completed"
    if reply.kind == "compaction":
        return {"id": "cmp_stand_in", "type": "compaction", "encrypted_content": reply.text, "created_by": "stand-in"}
    if reply.tool:
        kind, field = ("custom_tool_call", "input") if reply.kind == "custom" else ("function_call", "arguments")
        call: Json = {"call_id": reply.call_id, "name": reply.tool, field: reply.arguments if is_done else ""}
        call |= {"namespace": reply.namespace} if reply.namespace else {}
        return {"id": _call_item(reply), "type": kind, "status": status, **call}
    content = [_part(reply.text)] if is_done else []
    return {"id": "msg_stand_in", "type": "message", "status": status, "role": "assistant", "content": content}


def _response(body: Json, reply: Reply, status: str, output: list[Json]) -> Json:
    prompt, completion = counts(body, reply)
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
    return {"object": "response.input_tokens", "input_tokens": counts(body, Reply())[0]}


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
    sealed = agent.compaction(turns)
    usage = _response(body, sealed, "completed", [])["usage"]
    head = {"id": "resp_stand_in", "object": "response.compaction", "created_at": CREATED}
    return {**head, "output": [*kept, _item(sealed, "completed")], "usage": usage}


def _texts(turn: Json) -> list[Json]:
    content = turn.get("content")
    return content if isinstance(content, list) else [{"type": "input_text", "text": content or ""}]
