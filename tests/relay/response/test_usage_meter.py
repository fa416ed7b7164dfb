"""Usage and endings, read along with a passing answer: at every split, at any length, and against forgery."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.models import Usage
from relay.response import stream_formats
from relay.response.stream_formats import StreamFormat
from relay.response.usage_meter import BodyMeter, EventMeter

CUT = RelayError(ErrorKind.UPSTREAM_BROKEN)
CHAT_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 3, "image_tokens": 2, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 5, "accepted_prediction_tokens": 9},
}
READ_CHAT_USAGE = Usage(
    input=20,
    cached_input=4,
    audio_input=3,
    image_input=2,
    cache_write=1,
    output=10,
    reasoning=6,
    audio_output=5,
    model="gpt-5",
    service_tier="default",
)


def data(fields: Any, end: str = "\n\n") -> bytes:
    return b"data: " + json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + end.encode()


def chunk(content: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if content is None else [{"index": 0, "delta": {"content": content}, "finish_reason": None}]
    return {"id": "c", "model": "gpt-5", "service_tier": "default", "choices": choices, **more}


CHAT = (
    data(chunk("Hé", usage=None)) + data(chunk("llo", usage=None)) + data(chunk(usage=CHAT_USAGE)) + b"data: [DONE]\n\n"
)
RESPONSE_USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 6},
    "total_tokens": 30,
}


def completed(kind: str = "response.completed", **response: Any) -> dict[str, Any]:
    fields = {"id": "r", "model": "gpt-5", "service_tier": "flex", "output": [], **response, "usage": RESPONSE_USAGE}
    return {"type": kind, "sequence_number": 9, "response": {**fields, "user": None, "metadata": {"a": "b"}}}


def event(fields: dict[str, Any]) -> bytes:
    return b"event: " + str(fields["type"]).encode() + b"\n" + data(fields)


RESPONSES = (
    event({"type": "response.created", "sequence_number": 0, "response": {"usage": None}})
    + event({"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hé"})
    + event(completed())
)


def met(
    stream: bytes | Iterable[bytes],
    stream_format: StreamFormat = stream_formats.CHAT,
    *,
    choices: int = 1,
    failure: Exception | None = None,
) -> EventMeter:
    meter = EventMeter(stream_format, choices=choices)
    for part in [stream] if isinstance(stream, bytes) else stream:
        meter.feed(part)
    meter.finish(failure)
    return meter


def body_met(
    body: bytes | Iterable[bytes], failure: Exception | None = None, kind: str = "application/json"
) -> BodyMeter:
    meter = BodyMeter(kind)
    for part in [body] if isinstance(body, bytes) else body:
        meter.feed(part)
    meter.finish(failure)
    return meter


# ---- endings


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_chat_is_over_at_done_and_its_usage_is_read_at_every_split(ending: bytes) -> None:
    stream = CHAT.replace(b"\n", ending)
    for at in range(len(stream) + 1):
        meter = met([stream[:at], stream[at:]])
        assert meter.ended
        assert meter.usage == READ_CHAT_USAGE


def test_byte_by_byte_is_no_different() -> None:
    meter = met(bytes([byte]) for byte in RESPONSES)
    assert EventMeter(stream_formats.RESPONSES).usage is None
    assert met((bytes([byte]) for byte in RESPONSES), stream_formats.RESPONSES).usage is not None
    assert not meter.ended


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_responses_are_over_at_their_terminal_event_and_usage_is_read_at_every_split(ending: bytes) -> None:
    stream = RESPONSES.replace(b"\n", ending)
    for at in range(len(stream) + 1):
        meter = met([stream[:at], stream[at:]], stream_formats.RESPONSES)
        assert meter.ended
        assert meter.usage == Usage(
            input=20, cached_input=4, cache_write=1, output=10, reasoning=6, model="gpt-5", service_tier="flex"
        )


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_each_terminal_event_of_responses_ends_them(kind: str) -> None:
    assert met(event(completed(kind)), stream_formats.RESPONSES).ended


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_terminal_event_ends_them_also_without_usage(kind: str) -> None:
    meter = met(event({"type": kind, "response": {"usage": None}}), stream_formats.RESPONSES)
    assert (meter.ended, meter.usage) == (True, None)
    assert met(event({"type": kind}), stream_formats.RESPONSES).ended


def test_counts_before_the_end_are_replaced_and_not_added() -> None:
    early = event({"type": "response.in_progress", "response": {"usage": {"input_tokens": 5, "output_tokens": 1}}})
    usage = met(early + early + event(completed()), stream_formats.RESPONSES).usage
    assert usage is not None
    assert (usage.input, usage.output) == (20, 10)


def test_of_several_answers_that_broke_off_one_is_not_enough() -> None:
    image = event({"type": "image_generation.completed"})
    assert not met(image, stream_formats.IMAGES, choices=2, failure=CUT).ended
    assert met(image, stream_formats.IMAGES, choices=2).ended
    assert met(image, stream_formats.IMAGES, choices=1, failure=CUT).ended


def test_an_error_is_not_forgotten_by_what_follows() -> None:
    flat = event({"type": "error", "code": "slow_down", "message": "no"})
    meter = met(flat + event({"type": "response.in_progress", "response": {"error": None}}), stream_formats.RESPONSES)
    assert meter.error is not None


@pytest.mark.parametrize(
    ("stream", "dialect"),
    [
        (data({"type": "speech.audio.done", "usage": {"input_tokens": 1, "output_tokens": 2}}), stream_formats.SPEECH),
        (data({"type": "transcript.text.done", "text": "x", "usage": {"input_tokens": 1, "output_tokens": 2}}), None),
        (
            data({"type": "image_generation.completed", "usage": {"input_tokens": 1, "output_tokens": 2}}),
            stream_formats.IMAGES,
        ),
    ],
)
def test_the_other_streams_end_and_count_too(stream: bytes, dialect: StreamFormat | None) -> None:
    meter = met(stream, dialect or stream_formats.TRANSCRIPTION)
    assert meter.ended
    assert meter.usage == Usage(input=1, output=2)


def test_no_cut_of_a_stream_passes_for_its_end() -> None:
    last = CHAT.index(b"[DONE]") + len(b"[DONE]")
    assert [met(CHAT[:at]).ended for at in range(len(CHAT) + 1)] == [at >= last for at in range(len(CHAT) + 1)]
    last = len(RESPONSES) - 2
    ended = [met(RESPONSES[:at], stream_formats.RESPONSES).ended for at in range(len(RESPONSES) + 1)]
    assert ended == [at >= last for at in range(len(RESPONSES) + 1)]


@pytest.mark.parametrize(
    "text",
    [
        "[DONE]",
        "data: [DONE]\n\n",
        '"error":{"message":"x"}',
        '"type":"response.completed"',
        '{"usage":{"prompt_tokens":1,"completion_tokens":1}}',
        'data: {"usage":{"prompt_tokens":1}}\n\n',
        "\\",
        '\\"usage":{"prompt_tokens":1}',
    ],
)
def test_what_a_model_says_neither_ends_a_stream_nor_counts(text: str) -> None:
    for dialect in (stream_formats.CHAT, stream_formats.RESPONSES):
        said = data(chunk(text)) + event({"type": "response.output_text.delta", "delta": text})
        meter = met(said, dialect)
        assert (meter.ended, meter.usage, meter.error) == (False, None, None)


def test_done_counts_only_as_a_whole_data_line() -> None:
    for line in (b"[DONE]\n\n", b"event: [DONE]\n\n", b": [DONE]\n\n", b"id: [DONE]\n\n", b"data : [DONE]\n\n"):
        assert not met(line).ended
    assert met(b"data:[DONE]\n\n").ended


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ({"error": {"message": "no", "code": "slow_down"}}, True),
        ({"type": "error", "error": {"message": "no", "code": "slow_down"}}, True),
        # The SDKs do not raise on this one, so it is not yet the end of what the caller has to be told.
        ({"type": "error", "code": "slow_down", "message": "no", "param": None}, False),
    ],
)
def test_an_error_in_the_stream_is_seen_in_both_its_shapes(fields: dict[str, Any], ended: bool) -> None:
    meter = met(data(chunk("a")) + b"event: error\n" + data(fields), stream_formats.RESPONSES)
    assert meter.error is not None
    assert meter.error["code"] == "slow_down"
    assert meter.ended is ended


@pytest.mark.parametrize(
    "fields", [{"error": None}, {"error": {}}, {"error": ""}, {"response": {"error": {"code": "x"}}}]
)
def test_other_fields_called_error_are_none(fields: dict[str, Any]) -> None:
    meter = met(data(fields))
    assert not meter.ended
    assert meter.error is None


def test_what_comes_after_the_end_is_told_apart() -> None:
    meter = EventMeter(stream_formats.CHAT)
    meter.feed(b"data: a\n\ndata: [DONE]\n")
    assert meter.surplus is None
    meter.feed(b"\ndata: more")
    assert meter.surplus == len(b"data: more")
    for blank_line in (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"):
        meter = EventMeter(stream_formats.CHAT)
        meter.feed(b"data: [DONE]" + blank_line + b"data: more")
        assert meter.surplus == len(b"data: more")


def test_a_stream_of_several_images_is_over_with_the_last_of_them() -> None:
    image = event(
        {"type": "image_generation.completed", "b64_json": "x", "usage": {"input_tokens": 1, "output_tokens": 2}}
    )
    meter = EventMeter(stream_formats.IMAGES, choices=2)
    meter.feed(image)
    assert (meter.ended, meter.surplus) == (True, None)
    assert meter.usage is None, "the second one is not counted yet, and may be billed"
    meter.feed(image)
    assert meter.surplus is not None
    assert meter.usage == Usage(input=2, output=4)


@given(st.lists(st.integers(0, len(CHAT)), max_size=6))
def test_any_split_reads_the_same(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(CHAT)]
    meter = met([CHAT[a:b] for a, b in itertools.pairwise(at)])
    assert meter.usage == READ_CHAT_USAGE
    assert meter.ended


def test_what_follows_the_end_is_counted_the_same_at_every_split() -> None:
    for at in range(len(CHAT) - 1):
        meter = EventMeter(stream_formats.CHAT)
        meter.feed(CHAT[:at])
        assert meter.surplus is None
        meter.feed(CHAT[at:] + b"more")
        assert meter.surplus == len(b"more")


@given(st.binary(), st.sampled_from([stream_formats.CHAT, stream_formats.RESPONSES, stream_formats.IMAGES]))
def test_no_bytes_are_too_odd(noise: bytes, dialect: StreamFormat) -> None:
    met(noise, dialect)
    met(b'data: {"usage":{' + noise, dialect)
    met(b'data: {"usage":[' + b"[" * 100_000 + noise, dialect)


# ---- long lines

LONG = "x" * (3 << 20)


@pytest.mark.parametrize("size", [1000, 65_536, 1 << 22])
def test_a_line_of_megabytes_is_read_at_its_ends(size: int) -> None:
    stream = event(completed(output=[{"type": "image", "result": LONG}], tools=[{"name": "f"}]))
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    meter = met(parts, stream_formats.RESPONSES)
    assert meter.ended
    assert meter.usage == Usage(
        input=20, cached_input=4, cache_write=1, output=10, reasoning=6, model="gpt-5", service_tier="flex"
    )


@pytest.mark.parametrize("length", [100, 8_000, 8_192, 8_193, 20_000, 200_000])
def test_behind_and_before_a_long_text_everything_is_seen(length: int) -> None:
    text = data(chunk("x" * length, usage=None))
    assert met(text + text + CHAT + text).usage == READ_CHAT_USAGE
    assert met(data(chunk("x" * length, usage=CHAT_USAGE)) + b"data: [DONE]\n\n" + text).usage == READ_CHAT_USAGE
    meter = met(text + data({"error": {"message": "x" * length}}) + text)
    assert (meter.ended, meter.surplus) == (True, len(text))
    meter = met(event(completed(output=[{"text": "x" * length}])) + b"x" * length, stream_formats.RESPONSES)
    assert (meter.ended, meter.surplus) == (True, length)
    assert not met(text + data(chunk("x" * length + '"[DONE]" "error" "usage":{} .done"'))).ended


PIECES = [
    data(chunk("Hi", usage=None)),
    data(chunk("y" * 9_000)),
    data(chunk("z" * 20_000, usage=CHAT_USAGE)),
    event(completed()),
    event(completed(output=["x" * 20_000])),
    data({"error": {"message": "no"}}),
    b"data: [DONE]\r\n\r\n",
    b": " + b"q" * 8_190 + b"\n",
    b"\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.lists(st.integers(0, 200_000), max_size=4))
def test_lines_of_any_length_read_the_same_at_once_and_one_by_one(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    together = met([stream[a:b] for a, b in itertools.pairwise(at)], stream_formats.RESPONSES)
    apart = met(stream.splitlines(keepends=True), stream_formats.RESPONSES)
    assert (together.ended, together.error, together.usage) == (apart.ended, apart.error, apart.usage)


def test_memory_stays_bounded_while_a_line_has_no_end() -> None:
    chunk = b"x" * (1 << 16)
    for begin in (b"data: ", b"data: {", b'data: {"usage":{"', b'data: {"error":"', b"event: ", b"", b'data: {"'):
        meter = EventMeter(stream_formats.RESPONSES)
        meter.feed(begin)
        tracemalloc.start()
        try:
            for _ in range(64):
                meter.feed(chunk)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 1 << 18
        assert peak < 1 << 20


@pytest.mark.parametrize(
    "start",
    [
        '{"type":"image_generation.completed",',
        '{ "type": "image_generation.completed",',
        '{"created_at":1,"size":"1x1","background":null,"type":"image_generation.completed",',
    ],
)
def test_the_type_of_a_long_event_may_come_after_other_plain_values(start: str) -> None:
    line = "data: " + start + f'"b64_json":"{LONG}","usage":{{"input_tokens":1,"output_tokens":2}}}}\n\n'
    meter = met(line.encode(), stream_formats.IMAGES)
    assert meter.ended
    assert meter.usage == Usage(input=1, output=2)


@pytest.mark.parametrize(
    "start",
    [
        '{"type":"image_generation.partial_image",',
        '{"prompt":"\\"type\\":\\"image_generation.completed\\"",',
        '{"a":{"type":"x"},',
    ],
)
def test_a_long_event_of_another_type_is_no_end(start: str) -> None:
    assert not met(f'data: {start}"b64_json":"{LONG}"}}\n\n'.encode(), stream_formats.IMAGES).ended


FORGED = {"usage": {"input_tokens": 1, "output_tokens": 1, "prompt_tokens": 1}}


@pytest.mark.parametrize(
    "echo",
    [
        {"tools": [{"type": "function", "parameters": FORGED}]},
        {"tools": [{"type": "function", "parameters": {"properties": {"a": {"default": FORGED}}}}]},
        {"text": {"format": {"type": "json_schema", "schema": FORGED}}},
        {"instructions": json.dumps(FORGED)},
        {"metadata": {"usage": json.dumps(FORGED), "x": '"usage":{"input_tokens":1}'}},
        {"output": [{"content": [{"text": json.dumps(completed())}]}]},
    ],
)
@pytest.mark.parametrize("padding", ["", LONG], ids=["short", "long"])
def test_a_schema_of_the_callers_cannot_forge_usage(echo: dict[str, Any], padding: str) -> None:
    true = {"input_tokens": 500, "output_tokens": 600}
    for response in (
        {"output": [padding], **echo, "usage": true},
        {"output": [padding], "usage": true, **echo},
        {**echo, "output": [padding], "usage": true},
    ):
        usage = met(data({"type": "response.completed", "response": response}), stream_formats.RESPONSES).usage
        assert usage == Usage(input=500, output=600)
        assert body_met(json.dumps(response).encode()).usage == Usage(input=500, output=600)
    for response in ({"output": [padding], **echo}, {"output": [padding], **echo, "usage": None}):
        assert met(data({"type": "response.completed", "response": response}), stream_formats.RESPONSES).usage is None
        assert body_met(json.dumps(response).encode()).usage is None


# ---- bodies

BODIES: list[tuple[dict[str, Any], Usage | None]] = [
    ({"model": "gpt-5", "service_tier": "default", "usage": CHAT_USAGE}, READ_CHAT_USAGE),
    ({"usage": {"prompt_tokens": 8, "total_tokens": 8}, "data": []}, Usage(input=8)),
    (
        {
            "usage": {
                "input_tokens": 3,
                "output_tokens": 9,
                "input_tokens_details": {"image_tokens": 2, "text_tokens": 1},
            }
        },
        Usage(input=3, image_input=2, output=9),
    ),
    (
        {
            "usage": {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"audio_tokens": 13},
                "output_tokens": 4,
            }
        },
        Usage(input=14, audio_input=13, output=4),
    ),
    ({"usage": {"type": "duration", "seconds": 9}}, Usage(seconds=9)),
    ({"usage": {"type": "duration", "seconds": 9.1}}, Usage(seconds=10)),
    ({"usage": {"type": "duration", "seconds": -1}}, None),
    ({"usage": {"type": "duration", "seconds": True}}, None),
    ({"usage": {"type": "duration"}}, None),
    (
        {
            "usage": {
                "input_tokens": 9,
                "input_tokens_details": {
                    "cache_write_tokens": 5,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 3, "ttl_12h_tokens": 2},
                },
                "output_tokens": 1,
            }
        },
        Usage(input=9, cache_write=5, cache_write_12h=2, output=1),
    ),
    ({"usage": None}, None),
    ({"usage": 5}, None),
    ({"usage": {"prompt_tokens": "20", "completion_tokens": 1}}, None),
    ({"usage": {"prompt_tokens": -5, "completion_tokens": 2.5}}, Usage()),
    ({"usage": {"prompt_tokens": 1, "prompt_tokens_details": [], "completion_tokens_details": None}}, Usage(input=1)),
    ({"text": "no usage at all"}, None),
]


@pytest.mark.parametrize(("fields", "usage"), BODIES)
def test_usage_in_a_body_is_read_at_every_split(fields: dict[str, Any], usage: Usage | None) -> None:
    body = json.dumps(fields).encode()
    for at in range(len(body) + 1):
        meter = body_met([body[:at], body[at:]])
        assert meter.ended
        assert meter.usage == usage
        assert at == len(body) or not body_met(body[:at]).ended


def test_a_long_body_is_read_at_its_end() -> None:
    body = json.dumps({"data": [LONG], "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}}).encode()
    assert body_met(body).usage == Usage(input=8, model="m")
    assert body_met(body + b"\n").ended
    assert not body_met(body[:-1]).ended
    assert not body_met(body, failure=CUT).ended


@pytest.mark.parametrize("kind", ["Application/JSON", "application/json; charset=utf-8"])
def test_json_is_told_by_its_content_type_in_any_spelling(kind: str) -> None:
    assert not body_met(b'{"a"', kind=kind).ended


def test_of_other_bodies_only_the_transport_knows_the_end() -> None:
    assert body_met(b"\0\1", kind="audio/mpeg").ended
    assert not body_met(b"", kind="").ended, "an empty body is never a success"
    assert not body_met([b"", b""], kind="audio/mpeg").ended
    assert not body_met(b"\0\1", failure=CUT, kind="audio/mpeg").ended


# ---- what is certain to be all that was billed


def test_a_count_before_the_end_is_none_when_the_stream_breaks_off() -> None:
    early = event({"type": "response.in_progress", "response": {"usage": {"input_tokens": 5, "output_tokens": 1}}})
    for failure in (None, CUT):
        assert met(early, stream_formats.RESPONSES, failure=failure).usage is None
    assert met(data(chunk("Hi", usage=CHAT_USAGE)), failure=CUT).usage is None, "more may come behind it"
    assert met(data(chunk(usage=CHAT_USAGE)), failure=CUT).usage == READ_CHAT_USAGE, "the last chunk but [DONE]"


@pytest.mark.parametrize("came", [1, 2, 3])
@pytest.mark.parametrize("end", [b"", data({"error": {"message": "m"}})], ids=["nothing", "an error"])
def test_of_several_images_fewer_than_all_are_no_count(came: int, end: bytes) -> None:
    image = event({"type": "image_generation.completed", "usage": {"input_tokens": 1, "output_tokens": 2}})
    for failure in (None, CUT):
        assert met(image * came + end, stream_formats.IMAGES, choices=4, failure=failure).usage is None
    assert met(image * 4, stream_formats.IMAGES, choices=4).usage == Usage(input=4, output=8)


def test_an_error_after_a_count_leaves_open_what_was_billed() -> None:
    early = event({"type": "response.in_progress", "response": {"usage": {"input_tokens": 5, "output_tokens": 1}}})
    meter = met(early + data({"error": {"message": "m"}}), stream_formats.RESPONSES)
    assert (meter.ended, meter.usage) == (True, None)


@pytest.mark.parametrize("kind", ["response.failed", "response.incomplete"])
def test_what_a_response_that_failed_says_of_its_usage_counts(kind: str) -> None:
    usage = met(event(completed(kind)), stream_formats.RESPONSES).usage
    assert usage is not None
    assert usage.output == 10


def test_of_a_long_body_model_and_tier_are_read_wherever_they_stand() -> None:
    for fields in (
        {"service_tier": "priority", "model": "m", "output": [LONG], "usage": {"input_tokens": 8}},
        {"output": [LONG], "usage": {"input_tokens": 8}, "model": "m", "service_tier": "priority"},
        {"usage": {"input_tokens": 8}, "output": [LONG], "service_tier": "priority", "x": LONG, "model": "m"},
    ):
        assert body_met(json.dumps(fields).encode()).usage == Usage(input=8, model="m", service_tier="priority")


# ---- terminal events in every form


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
@pytest.mark.parametrize("padding", ["", LONG], ids=["short", "long"])
def test_a_terminal_event_may_say_its_type_anywhere(kind: str, padding: str) -> None:
    response = {"output": [padding], "usage": {"input_tokens": 1, "output_tokens": 2}}
    spelled = [
        data({"type": kind, "response": response}),
        data({"response": response, "type": kind}),
        data({"sequence_number": 1, "response": response, "type": kind}).replace(b'"type":"', b'"type" : "'),
        b"event: " + kind.encode() + b"\n" + data({"response": response}),
    ]
    for stream in spelled:
        for size in (1 << 16, 1 << 22, 777 if not padding else 100_000):
            parts = [stream[at : at + size] for at in range(0, len(stream), size)]
            meter = met(parts, stream_formats.RESPONSES)
            assert meter.ended
            assert meter.usage == Usage(input=1, output=2)


def test_a_terminal_event_that_was_cut_ends_nothing() -> None:
    stream = event(completed()).rstrip(b"\n")
    for at in range(len(stream)):
        assert not met(stream[:at], stream_formats.RESPONSES).ended
    assert met(stream, stream_formats.RESPONSES).ended
