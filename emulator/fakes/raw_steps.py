"""What a raw upstream can be told to do, and the bytes it may send. Pure."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass

# -- steps ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """Seconds of silence; ends early when the peer leaves."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence until the peer leaves or the server stops."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Silence until a test sets the event."""

    event: threading.Event


@dataclass(frozen=True, slots=True)
class Close:
    """FIN, in the middle of whatever was being sent."""


@dataclass(frozen=True, slots=True)
class Reset:
    """RST: what the peer has not read yet may be lost to it."""


Step = Send | Sleep | Stall | WaitFor | Close | Reset
Script = Iterable[Step]

# -- bytes to send -------------------------------------------------------------------------------------------

EVENT_STREAM = (("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked"))
LAST_CHUNK = b"0\r\n\r\n"


def head(status: int = 200, headers: Iterable[tuple[str, str]] = EVENT_STREAM, reason: str = "Whatever") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {text}" for name, text in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sse(payload: object) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def chat_chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> bytes:
    """One chunk of a chat completion's stream, as an SSE event."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {"id": "chatcmpl-raw", "object": "chat.completion.chunk", "created": 1795000000, "model": "gpt-5"}
    return sse({**body, "choices": [choice], **more})


def chat_events(*words: str) -> list[bytes]:
    """The events of a whole chat completion, the [DONE] included."""
    events = [
        chat_chunk({"role": "assistant", "content": ""}),
        *(chat_chunk({"content": word}) for word in words),
    ]
    return [*events, chat_chunk({}, "stop"), b"data: [DONE]\n\n"]


def chat_stream(*words: str, pause: float = 0.0, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """A whole, well-formed streamed answer, one HTTP chunk per event, `pause` seconds before each."""
    steps: list[Step] = [Send(head(headers=(*EVENT_STREAM, *headers)))]
    for event in chat_events(*words):
        steps += [*([Sleep(pause)] if pause else []), Send(chunk(event))]
    return [*steps, Send(LAST_CHUNK)]


def json_answer(status: int, payload: object, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    fixed = (("content-type", "application/json"), ("content-length", str(len(body))))
    return [Send(head(status, (*fixed, *headers))), Send(body)]
