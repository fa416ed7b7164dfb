"""Breaking off in the other dialects and forms: responses, images, text/plain, and streams the relay changes on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence

import openai
import pytest

from emulator.fakes.raw_upstream import LAST_CHUNK, Close, Send, Stall, Step, WaitFor, chunk, head
from tests.support.harness import canaries, parsers
from tests.support.harness.exchange import Exchange
from tests.support.harness.fault_cases import EVENTS, WHOLE
from tests.support.harness.faults_table import fault
from tests.support.harness.outcomes import HEARTBEAT, Cut
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import CHAT, RelayFixture, event

ENDS: dict[str, tuple[Step, ...]] = {"closed": (Close(),), "clean end": (Send(LAST_CHUNK),), "silence": (Stall(),)}
every_end = pytest.mark.parametrize("end", [pytest.param(end, id=name) for name, end in ENDS.items()])

CREATED = {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}}
DELTA = {"type": "response.output_text.delta", "item_id": "msg_1", "delta": canaries.COMPLETION}


def named(fields: Mapping[str, object]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


def serve(
    relay_fixture: RelayFixture, fields: object, steps: Sequence[Step], *, path: str = CHAT, accept: str = "*/*"
) -> Exchange:
    relay_fixture.upstream.answer(*steps)
    exchange = relay_fixture.api.invoke(event(fields, path=path, accept=accept), deadline=1.0)
    exchange.wait_over()
    return exchange


def responses(relay_fixture: RelayFixture, *pieces: bytes, end: Sequence[Step] = (Send(LAST_CHUNK),)) -> Exchange:
    asked = {"model": "gpt-5", "input": canaries.PROMPT, "stream": True}
    return serve(
        relay_fixture, asked, [Send(head()), *(Send(chunk(piece)) for piece in pieces), *end], path="/v1/responses"
    )


def sdk_raises(exchange: Exchange) -> None:
    with pytest.raises((openai.APIError, ValueError)):
        parsers.sdk_of_responses(exchange.status, exchange.prelude["headers"], exchange.body)


@every_end
@pytest.mark.parametrize("length", [0, 1, 40])
@fault("responses cut", "between events, inside an event; closed, ended, silent", "all that came, then an error event")
def test_responses_cut(relay_fixture: RelayFixture, node: EventSourceParser, end: Sequence[Step], length: int) -> None:
    sent = named(CREATED) + named(DELTA)[:length]
    exchange = responses(relay_fixture, named(CREATED), *([named(DELTA)[:length]] if length else []), end=end)
    body = HEARTBEAT.sub(b"", exchange.body)
    assert body.startswith(sent)
    assert b"\n\nevent: error\ndata: {" in body[len(sent) - 2 :]
    assert exchange.trailer_type
    parsers.assert_one_end([exchange.body], node)
    sdk_raises(exchange)
    relay_fixture.assert_serves()


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
@fault(
    "an event after responses' terminal event",
    "completed, incomplete, failed",
    "the whole response, and nothing after it",
)
def test_responses_end(relay_fixture: RelayFixture, node: EventSourceParser, kind: str) -> None:
    last = named({"type": kind, "response": {"id": "resp_1", "status": kind.partition(".")[2], "error": None}})
    sent = named(CREATED) + last
    exchange = responses(relay_fixture, named(CREATED), last, named(DELTA))
    assert (exchange.status, exchange.body, exchange.trailer_type) == (200, sent, "")
    parsers.assert_one_end([exchange.body], node)
    relay_fixture.assert_serves()


@fault(
    "an error event of a kind that OpenAI's SDKs do not raise on",
    "mid-stream, then a clean end",
    "one they raise on behind it",
)
def test_an_error_event_that_the_sdk_does_not_raise_on(relay_fixture: RelayFixture) -> None:
    theirs = named({"type": "error", "code": "server_error", "message": "ill", "param": None, "sequence_number": 2})
    exchange = responses(relay_fixture, named(CREATED), theirs)
    assert exchange.body.startswith(named(CREATED) + theirs + b"event: error\n")
    assert exchange.trailer_type
    sdk_raises(exchange)
    relay_fixture.assert_serves()


@fault("images cut", "after the first of two", "all that came, then an error event")
def test_images_cut(relay_fixture: RelayFixture) -> None:
    image = named({"type": "image_generation.completed", "b64_json": "AAAA", "usage": {"input_tokens": 1}})
    asked = {"model": "gpt-image-1", "prompt": canaries.PROMPT, "n": 2, "stream": True}
    steps: tuple[Step, ...] = (Send(head()), Send(chunk(image)), Close())
    exchange = serve(relay_fixture, asked, steps, path="/v1/images/generations")
    assert exchange.body.startswith(image + b"event: error\n")
    assert exchange.trailer_type == "Function.UpstreamBroken"
    whole = serve(relay_fixture, asked, (*steps[:2], Send(chunk(image)), Close()), path="/v1/images/generations")
    assert (whole.body, whole.trailer_type) == (image + image, "")
    relay_fixture.assert_serves()


@fault("cut, as text/plain", "mid-stream", "the text that came, a line that says so, and error trailers")
def test_text_cut(relay_fixture: RelayFixture) -> None:
    asked = {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}], "stream": True}
    steps: list[Step] = [Send(head()), *(Send(chunk(each)) for each in EVENTS[:3]), Close()]
    exchange = serve(relay_fixture, asked, steps, accept="text/plain")
    assert exchange.prelude["headers"]["content-type"].startswith("text/plain")
    assert exchange.body.decode().startswith(f"{canaries.COMPLETION} \u00e9\u6f22\U0001f600 \n\n[")
    assert exchange.trailer_type == "Function.UpstreamBroken"
    relay_fixture.assert_serves()


@every_end
@pytest.mark.parametrize("length", [0, 1, 30, len(EVENTS[1]) - 1])
@fault("cut, with usage that the relay asked for", "as above", "as above, without that usage")
def test_cut_where_usage_is_taken_out(
    relay_fixture: RelayFixture, node: EventSourceParser, end: Sequence[Step], length: int
) -> None:
    """Half an event waits here for its other half; a failure lets it go."""
    asked = {"model": "gpt-5", "messages": [{"role": "user", "content": canaries.PROMPT}], "stream": True}
    first = EVENTS[0].replace(b'"choices"', b'"usage":null,"choices"')
    seen = threading.Event()
    half = [Send(chunk(EVENTS[1][:length]))] if length else []
    relay_fixture.upstream.answer(Send(head()), Send(chunk(first)), *half, WaitFor(seen), *end)
    exchange = relay_fixture.api.invoke(event(asked), deadline=1.0)
    exchange.wait_body(len(EVENTS[0]))
    seen.set()
    exchange.wait_over()
    silent = any(isinstance(step, Stall) for step in end)
    Cut("deadline_exceeded" if silent else "upstream_broken").check(exchange, EVENTS[0] + EVENTS[1][:length], node)
    relay_fixture.assert_serves()


@fault("the usage that the relay asked for", "whole", "the whole response without it")
def test_usage_that_the_relay_asked_for_is_taken_out(relay_fixture: RelayFixture) -> None:
    asked = {"model": "gpt-5", "messages": [{"role": "user", "content": canaries.PROMPT}], "stream": True}
    usage = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'
    wire = b"".join(map(chunk, [*EVENTS[:-1], usage, EVENTS[-1]])) + LAST_CHUNK
    for at in range(0, len(wire), 7):
        exchange = serve(relay_fixture, asked, (Send(head()), Send(wire[:at]), Send(wire[at:])))
        assert exchange.body == WHOLE, at
    assert json.loads(relay_fixture.upstream.requests[-1].body)["stream_options"]["include_usage"] is True
    relay_fixture.assert_serves()


ORG = "org-AbCdEfGhIjKlMnOpQrStUvWx"
TOLD = f"Limit reached in organization {ORG} on tokens."


@pytest.mark.parametrize(
    "theirs",
    [
        {"type": "error", "error": {"message": TOLD, "code": "slow_down"}},
        {"type": "error", "code": "slow_down", "message": TOLD},
        {"type": "response.failed", "response": {"id": "r", "error": {"code": "x", "message": TOLD}, "output": [ORG]}},
        {
            "type": "response.incomplete",
            "response": {"id": "r", "incomplete_details": {"reason": TOLD}, "output": [ORG]},
        },
    ],
    ids=["an error event", "a flat one", "failed", "incomplete"],
)
@fault(
    "an error that names OpenAI's organization",
    "mid-stream, cut anywhere: an error event, failed, incomplete",
    "the same without the name",
)
def test_errors_in_a_stream_do_not_name_the_organization(
    relay_fixture: RelayFixture, theirs: dict[str, object]
) -> None:
    event = named(theirs)
    for at in (len(event), event.index(b"org-") + 2, event.index(b"org-") + 20):
        exchange = responses(relay_fixture, named(CREATED), named({**DELTA, "delta": ORG}), event[:at], event[at:])
        masked = json.dumps(theirs).replace(TOLD, TOLD.replace(ORG, "[...]")).encode()
        sent = named(CREATED) + named({**DELTA, "delta": ORG}) + event.replace(json.dumps(theirs).encode(), masked)
        assert exchange.body.startswith(sent)
        assert ORG.encode() not in exchange.body[len(sent) :]
    relay_fixture.assert_serves()


@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
@fault("CR and CRLF line ends", "where the relay asked for usage", "the whole response without the usage")
def test_other_line_ends_where_usage_is_taken_out(relay_fixture: RelayFixture, end: bytes) -> None:
    asked = {"model": "gpt-5", "messages": [{"role": "user", "content": canaries.PROMPT}], "stream": True}
    usage = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'
    stream = [each.replace(b"\n", end) for each in (*EVENTS[:-1], usage, EVENTS[-1])]
    whole = WHOLE.replace(b"\n", end)
    for pieces in (stream, [b"".join(stream)], [part for each in stream for part in (each[:-1], each[-1:])]):
        exchange = serve(
            relay_fixture, asked, (Send(head()), *(Send(chunk(piece)) for piece in pieces), Send(LAST_CHUNK))
        )
        assert (exchange.status, exchange.body, exchange.trailer_type) == (200, whole, "")
    relay_fixture.assert_serves()


@pytest.mark.parametrize("kind", ["response.completed", "response.failed"])
@fault("a terminal event of 2 MB", "its type at its end", "the whole response")
def test_a_long_terminal_event_may_say_its_type_last(relay_fixture: RelayFixture, kind: str) -> None:
    response = {"id": "resp_1", "output": ["x" * (2 << 20)], "error": None}
    last = b"data: " + json.dumps({"response": response, "type": kind}).encode() + b"\n\n"
    exchange = responses(relay_fixture, named(CREATED), last)
    assert (exchange.status, exchange.body, exchange.trailer_type) == (200, named(CREATED) + last, "")
    relay_fixture.assert_serves()


@fault("usage echoed thousands of times", "in a terminal event of 1.5 MB", "the whole response, in time")
def test_echoed_usage_is_read_in_time(relay_fixture: RelayFixture) -> None:
    echo: dict[str, object] = {"tools": [{"parameters": {f"p{number}": {"usage": {}} for number in range(50_000)}}]}
    last = named({"type": "response.completed", "response": {"output": ["x" * 300_000], **echo}})
    assert len(last) > 1_300_000
    exchange = responses(relay_fixture, named(CREATED), last)
    assert (exchange.status, exchange.body, exchange.trailer_type) == (200, named(CREATED) + last, "")
    relay_fixture.assert_serves()


@pytest.mark.parametrize("kind", ["audio/mpeg", "application/octet-stream"])
@fault("an empty body", "status 200, where a sound was asked for", "502 `upstream_broken`")
def test_an_empty_body_is_no_success(relay_fixture: RelayFixture, kind: str) -> None:
    asked = {"model": "tts-1", "input": canaries.PROMPT, "voice": "alloy"}
    steps = (Send(head(headers=[("content-type", kind), ("content-length", "0")])),)
    exchange = serve(relay_fixture, asked, steps, path="/v1/audio/speech")
    assert exchange.status == 502
    assert json.loads(exchange.body)["error"]["code"] == "upstream_broken"
    relay_fixture.assert_serves()
