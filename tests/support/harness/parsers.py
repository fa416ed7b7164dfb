"""Three readers of server-sent events that were written by others, and the official SDK on top of one of them.

openai's own decoder, httpx-sse, and npm's eventsource-parser (one node process, kept). What they agree on is what
clients see. Each takes the bytes in the pieces it is given.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import httpx_sse
import openai
from openai._streaming import SSEDecoder

from tests.support import child_process

ROOT = Path(__file__).resolve().parent.parent.parent.parent

# (event, data); events without data are left out, because nobody acts on them.
Event = tuple[str, str]


def of_openai(pieces: Sequence[bytes]) -> list[Event]:
    """Raises UnicodeDecodeError where a line is not UTF-8."""
    return [(event.event or "message", event.data) for event in SSEDecoder().iter_bytes(iter(pieces)) if event.data]


def of_httpx_sse(pieces: Sequence[bytes]) -> list[Event]:
    from httpx import Response, SyncByteStream

    class Body(SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(pieces)

    response = Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}, stream=Body())
    return [(event.event, event.data) for event in httpx_sse.EventSource(response).iter_sse() if event.data]


class EventSourceParser:
    """npm's eventsource-parser in a node process of its own."""

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("parse_events.mjs")
        self._node = subprocess.Popen(
            ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.close()
        child_process.end(self._node)
        self._node.stdout.close()

    def __call__(self, pieces: Sequence[bytes]) -> list[Event]:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        line = json.dumps({"pieces": [base64.b64encode(piece).decode() for piece in pieces]})
        self._node.stdin.write(line + "\n")
        self._node.stdin.flush()
        return [(event, data) for event, data in json.loads(self._node.stdout.readline()) if data]


def is_terminal(event: Event) -> bool:
    """Whether clients take this event for the end of a stream, good or bad."""
    name, data = event
    if name == "error" or data.startswith("[DONE]"):
        return True
    try:
        fields = json.loads(data)
    except ValueError:
        return False
    ends = ("response.completed", "response.incomplete", "response.failed")
    return isinstance(fields, dict) and (bool(fields.get("error")) or fields.get("type") in ends)


def assert_one_end(pieces: Sequence[bytes], node: EventSourceParser) -> list[Event]:
    """I2: exactly one terminal event and nothing after it, in the eyes of all three. Returns the events."""
    seen = {"httpx-sse": of_httpx_sse(pieces), "eventsource-parser": node(pieces)}
    # Where it raises, no stream looks whole to it.
    with contextlib.suppress(UnicodeDecodeError):
        seen["openai"] = of_openai(pieces)
    events = seen["httpx-sse"]
    for reader, theirs in seen.items():
        assert theirs == events, f"{reader} and httpx-sse differ"
    assert [is_terminal(event) for event in events] == [False] * (len(events) - 1) + [True], events
    return events


def sdk(status: int, headers: Mapping[str, str], body: bytes, *, stream: bool) -> list[Any]:
    """What the official SDK makes of an answer: the chunks or the completion; raises what it raises."""
    with _client(status, headers, body) as client:
        if stream:
            return list(client.chat.completions.create(model="gpt-5", messages=[], stream=True))
        return [client.chat.completions.create(model="gpt-5", messages=[])]


def sdk_of_responses(status: int, headers: Mapping[str, str], body: bytes) -> list[Any]:
    """The same for a stream of the Responses API."""
    with _client(status, headers, body) as client:
        return list(client.responses.create(model="gpt-5", input="", stream=True))


@contextlib.contextmanager
def _client(status: int, headers: Mapping[str, str], body: bytes) -> Iterator[openai.OpenAI]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers=dict(headers), content=body)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        yield openai.OpenAI(api_key="unused", base_url="http://relay/v1", http_client=http, max_retries=0)
