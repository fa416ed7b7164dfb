"""Upstream's bytes arrive cut at every place: the caller's readers see the same events, whatever the cut.

One stream of each dialect, cut at every byte: inside characters, inside CRLF, inside `data: `. Each cut is an HTTP chunk
of its own and, as a rule, a read of its own. Three readers written by others judge what goes in and what comes out.
"""

from __future__ import annotations

import json

import pytest

from emulator.fakes.raw_upstream import LAST_CHUNK, Send, Sleep, chunk, head
from tests.support.harness import parsers
from tests.support.harness.fault_cases import EVENTS
from tests.support.harness.faults_table import fault
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import CHAT, RelayFixture, chat_request, event


def _named(kind: str, number: int, **fields: object) -> bytes:
    data = json.dumps({"type": kind, "sequence_number": number, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


RESPONSES = b"".join(
    (
        _named("response.created", 0, response={"id": "resp_1", "object": "response", "status": "in_progress"}),
        _named("response.output_text.delta", 1, item_id="msg_1", delta="Gr\u00fc\u00df \u6f22 \U0001f600"),
        _named("keepalive", 2),
        _named("response.completed", 3, response={"id": "resp_1", "usage": {"input_tokens": 1, "output_tokens": 2}}),
    )
)
CHAT_LF = b"".join(EVENTS[2:])
STREAMS = {
    "chat": (CHAT, chat_request(), CHAT_LF),
    "chat in CRLF": (CHAT, chat_request(), CHAT_LF.replace(b"\n", b"\r\n")),
    "responses": ("/v1/responses", {"model": "gpt-5", "input": "x", "stream": True}, RESPONSES),
}


@pytest.mark.parametrize(("path", "fields", "body"), [pytest.param(*each, id=name) for name, each in STREAMS.items()])
@fault("a response cut in two reads", "at every byte of a stream of chat, chat in CRLF, responses", "the same events")
def test_cut_at_every_byte(
    relay_fixture: RelayFixture, node: EventSourceParser, path: str, fields: dict[str, object], body: bytes
) -> None:
    expected = parsers.assert_one_end([body], node)
    for at in range(1, len(body)):
        pieces = [body[:at], body[at:]]
        assert parsers.assert_one_end(pieces, node) == expected
        relay_fixture.upstream.answer(
            Send(head()), Send(chunk(pieces[0])), Sleep(0.0005), Send(chunk(pieces[1])), Send(LAST_CHUNK)
        )
        exchange = relay_fixture.api.invoke(event(fields, path=path))
        assert exchange.wait_over() == "answered 202"
        assert exchange.body == body, at
        assert exchange.trailer_type == ""
        assert parsers.assert_one_end(exchange.body_chunks, node) == expected
    relay_fixture.assert_serves()


@pytest.mark.parametrize(("path", "fields", "body"), [pytest.param(*each, id=name) for name, each in STREAMS.items()])
@fault("every byte a chunk of its own", "a stream of chat, chat in CRLF, responses", "the same events")
def test_every_byte_alone(
    relay_fixture: RelayFixture, node: EventSourceParser, path: str, fields: dict[str, object], body: bytes
) -> None:
    alone = [bytes([byte]) for byte in body]
    relay_fixture.upstream.answer(Send(head()), *(Send(chunk(byte)) for byte in alone), Send(LAST_CHUNK))
    exchange = relay_fixture.api.invoke(event(fields, path=path))
    exchange.wait_over()
    assert exchange.body == body
    assert parsers.assert_one_end(alone, node) == parsers.assert_one_end([exchange.body], node)
    relay_fixture.assert_serves()
