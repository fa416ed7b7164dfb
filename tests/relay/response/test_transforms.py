"""Transforms: exact at every split, honest at every failure, closed with their source."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.response import stream_formats, transforms
from relay.response.transforms import Transform, events, only_text, without_usage

TEXTS = [
    "Hé",
    "llo ",
    '{"usage":null}',
    ',"usage":null',
    '"choices":[],"usage":{}',
    "\n\n",
    "data: [DONE]",
    "😀",
    "\\",
    "x" * 300,
]


def chat(*, usage: bool, more: dict[str, Any] | None = None) -> bytes:
    """A stream of OpenAI's, with and without `stream_options.include_usage`."""
    null = {"usage": None} if usage else {}
    chunks: list[dict[str, Any]] = [
        {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None}], **null, **(more or {})}
        for text in TEXTS
    ]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **null, **(more or {})})
    if usage:
        chunks.append({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}, **(more or {})})
    lines = [json.dumps(chunk, ensure_ascii=False, separators=(",", ":")) for chunk in chunks]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


WITH, WITHOUT = chat(usage=True), chat(usage=False)


def split(stream: bytes, *cuts: int) -> Iterator[bytes]:
    at = [0, *sorted(cuts), len(stream)]
    return (stream[a:b] for a, b in itertools.pairwise(at) if a < b)


def failing(*parts: bytes) -> Iterator[bytes]:
    yield from parts
    raise RelayError(ErrorKind.DEADLINE)


def text_of_chat(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return only_text(chunks, stream_formats.CHAT)


# ---- usage


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_what_asking_for_usage_added_is_taken_out_at_every_split(ending: bytes) -> None:
    given, wanted = WITH.replace(b"\n", ending), WITHOUT.replace(b"\n", ending)
    for at in range(len(given) + 1):
        assert b"".join(without_usage(split(given, at))) == wanted


def test_byte_by_byte_is_no_different() -> None:
    assert b"".join(without_usage(bytes([byte]) for byte in WITH)) == WITHOUT


@given(st.lists(st.integers(0, len(WITH)), max_size=8))
def test_nor_is_any_other_split(cuts: list[int]) -> None:
    assert b"".join(without_usage(split(WITH, *cuts))) == WITHOUT


@pytest.mark.parametrize("more", [{"obfuscation": "abc"}, {"service_tier": "default", "system_fingerprint": None}])
def test_usage_need_not_be_the_last_key(more: dict[str, Any]) -> None:
    assert b"".join(without_usage(iter([chat(usage=True, more=more)]))) == chat(usage=False, more=more)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (b'data: {"usage": null, "choices": [1]}\n\n', b'data: {"choices": [1]}\n\n'),
        (b'data: {"choices": [1] , "usage": null}\n\n', b'data: {"choices": [1] }\n\n'),
        (b'data: {"choices": [ ], "usage": {"prompt_tokens": 1}}\n\n', b""),
        (b'data: {"usage": {"prompt_tokens": 1}, "choices": []}\n\n', b""),
        (b'data: {"choices":[],"usage":null}\n\n', b'data: {"choices":[]}\n\n'),
        (
            b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
            b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
        ),
        (
            b'data: {"choices":[1],"usage":{"prompt_tokens":1}}\n\n',
            b'data: {"choices":[1],"usage":{"prompt_tokens":1}}\n\n',
        ),
        (b": comment\n\n", b": comment\n\n"),
        (b"event: x\ndata: y\n\n", b"event: x\ndata: y\n\n"),
        (b"", b""),
    ],
)
def test_nothing_else_is_touched(given: bytes, left: bytes) -> None:
    assert b"".join(without_usage(iter([given] if given else []))) == left


def test_events_of_hundreds_of_kilobytes_are_cleaned_too() -> None:
    big = b'data: {"choices":[{"delta":{"audio":"' + b"x" * 700_000 + b'"}}]%s}\n\n'
    given, wanted = big % b',"usage":null', big % b""
    assert b"".join(without_usage(split(given, *range(0, len(given), 65_536)))) == wanted


def test_each_event_goes_out_as_soon_as_it_is_whole() -> None:
    seen: list[bytes] = []

    def source() -> Iterator[bytes]:
        for event in (b"data: 1\n\n", b"data: 2\n", b"\n", b"data: 3\n\ndata:"):
            yield event
            seen.append(b"asked for more")

    for event in without_usage(source()):
        seen.append(event)
    assert seen[:5] == [b"data: 1\n\n", b"asked for more", b"asked for more", b"data: 2\n\n", b"asked for more"]


# ---- every mixture of line ends

ENDS = [b"\n", b"\r\n", b"\r"]


def mixed(stream: bytes, line_ends: list[bytes]) -> bytes:
    """The stream with these line ends, in turn. A CR directly before an LF would be one line end: it is a CRLF there."""
    out = b""
    for number, line in enumerate(stream.split(b"\n")[:-1]):
        end = line_ends[number % len(line_ends)]
        if not line and out.endswith(b"\r") and end == b"\n":
            end = b"\r\n"
        out += line + end
    return out


MIXTURES = [list(mixture) for size in (1, 2, 3) for mixture in itertools.product(ENDS, repeat=size)]
SHORT = (
    b"".join(
        b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"
        for fields in (
            {"choices": [{"delta": {"content": "Hi"}}], "usage": None},
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
            {"choices": [{"delta": {"content": " you"}}]},
        )
    )
    + b"data: [DONE]\n\n"
)


def lines(stream: bytes) -> list[bytes]:
    return [line for line in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n") if line]


@pytest.mark.parametrize("mixture", MIXTURES, ids=lambda mixture: b"-".join(mixture).hex())
def test_of_any_mixture_of_line_ends_only_the_usage_is_taken_out_at_every_split(mixture: list[bytes]) -> None:
    stream = mixed(SHORT, mixture)
    whole = b"".join(without_usage(iter([stream])))
    assert lines(whole) == [
        b'data: {"choices":[{"delta":{"content":"Hi"}}]}',
        b'data: {"choices":[{"delta":{"content":" you"}}]}',
        b"data: [DONE]",
    ]
    for at in range(len(stream) + 1):
        assert b"".join(without_usage(split(stream, at))) == whole, at
    assert b"".join(without_usage(bytes([byte]) for byte in stream)) == whole


@pytest.mark.parametrize("mixture", MIXTURES, ids=lambda mixture: b"-".join(mixture).hex())
def test_of_any_mixture_of_line_ends_all_the_text_is_passed_at_every_split(mixture: list[bytes]) -> None:
    stream = mixed(SHORT, mixture)
    for at in range(len(stream) + 1):
        assert b"".join(text_of_chat(split(stream, at))) == b"Hi you", at


@given(st.lists(st.sampled_from(ENDS), min_size=1, max_size=9), st.lists(st.integers(0, 200), max_size=5))
def test_nor_does_any_other_mixture_or_split_lose_a_byte(mixture: list[bytes], cuts: list[int]) -> None:
    stream = mixed(SHORT, mixture)
    pieces = list(split(stream, *[min(cut, len(stream)) for cut in cuts]))
    assert lines(b"".join(without_usage(iter(pieces)))) == lines(b"".join(without_usage(iter([stream]))))
    assert b"".join(text_of_chat(iter(pieces))) == b"Hi you"


NOT_UNDERSTOOD = [b"data: words\n\n", b"data: [1]\n\ndata: 5\r\r", b'data: {"a"\n\n', b"data: words\r\rdata: more\r\r"]


@pytest.mark.parametrize("stream", NOT_UNDERSTOOD, ids=range(len(NOT_UNDERSTOOD)))
def test_what_a_filter_does_not_understand_it_passes_on(stream: bytes) -> None:
    for at in range(len(stream) + 1):
        assert b"".join(without_usage(split(stream, at))) == stream
        assert b"".join(text_of_chat(split(stream, at))) == stream


@pytest.mark.parametrize(
    "stream", [b"data: [DONE]\n\n", b": c\n\n", b'data: {"choices":[{"delta":{}}]}\n\ndata: [DONE]\n\n']
)
def test_a_stream_without_text_does_not_pass_for_an_empty_text(stream: bytes) -> None:
    with pytest.raises(RelayError) as caught:
        list(text_of_chat(iter([stream])))
    assert caught.value.kind is ErrorKind.UPSTREAM_BROKEN
    assert "text/plain" in caught.value.text


def test_an_event_in_tiny_pieces_is_joined_once() -> None:
    """Held in a list, not copied at each piece: an event of 1 MB byte by byte is a second, not hours."""
    event = b'data: {"choices":[{"delta":{"content":"' + b"x" * 300_000 + b'"}}]}\n\n'
    assert list(without_usage(event[at : at + 1] for at in range(len(event)))) == [event]


# ---- text


def responses(*more: dict[str, Any]) -> bytes:
    said: list[dict[str, Any]] = [
        {"type": "response.created"},
        *({"type": "response.output_text.delta", "delta": text} for text in TEXTS),
    ]
    said += [
        {"type": "response.output_text.done", "text": "".join(TEXTS)},
        {"type": "response.completed", "response": {}},
        *more,
    ]
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (str(each["type"]).encode(), json.dumps(each).encode()) for each in said
    )


@pytest.mark.parametrize(
    ("stream", "dialect"),
    [(WITH, stream_formats.CHAT), (WITHOUT, stream_formats.CHAT), (responses(), stream_formats.RESPONSES)],
)
def test_the_text_is_the_deltas_at_every_split(stream: bytes, dialect: stream_formats.StreamFormat) -> None:
    for at in range(len(stream) + 1):
        assert b"".join(only_text(split(stream, at), dialect)).decode() == "".join(TEXTS)


def test_text_that_utf8_cannot_carry_does_not_stop_it() -> None:
    assert b"".join(text_of_chat(iter([b'data: {"choices":[{"delta":{"content":"a\\ud800b"}}]}\n\n']))) == b"a?b"


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "m", "code": "slow_down"}}, ErrorKind.UPSTREAM_RATE_LIMIT),
        ({"type": "error", "code": "insufficient_quota", "message": "m"}, ErrorKind.UPSTREAM_EXHAUSTED),
        ({"error": {"message": "m"}}, ErrorKind.UPSTREAM_ERROR),
    ],
)
@pytest.mark.parametrize("dialect", [stream_formats.CHAT, stream_formats.RESPONSES, stream_formats.TRANSCRIPTION])
def test_an_error_in_the_stream_does_not_pass_for_the_end_of_the_text(
    event: dict[str, Any], kind: ErrorKind, dialect: stream_formats.StreamFormat
) -> None:
    stream = (WITHOUT if dialect is stream_formats.CHAT else responses()).replace(b"data: [DONE]\n\n", b"")
    body = only_text(iter([stream + b"data: " + json.dumps(event).encode() + b"\n\n"]), dialect)
    text = [next(body) for _ in (TEXTS if dialect is not stream_formats.TRANSCRIPTION else ())]
    assert b"".join(text).decode() in ("".join(TEXTS), "")
    with pytest.raises(RelayError) as caught:
        next(body)
    assert caught.value.kind is kind


def test_a_failed_response_does_not_pass_for_the_end_of_the_text() -> None:
    failed = {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}
    with pytest.raises(RelayError):
        list(only_text(iter([responses(failed)]), stream_formats.RESPONSES))


# ---- all of them

EVERY = [without_usage, text_of_chat, events]


@pytest.mark.parametrize("transform", EVERY)
def test_a_failure_comes_after_everything_that_was_received(transform: Transform) -> None:
    for at in range(len(WITHOUT) + 1):
        got: list[bytes] = []
        with pytest.raises(RelayError) as caught:
            got.extend(transform(failing(*split(WITHOUT[:at], at // 2))))
        assert caught.value.kind is ErrorKind.DEADLINE
        whole = WITHOUT[: WITHOUT[:at].rfind(b"\n\n") + 2] if b"\n\n" in WITHOUT[:at] else b""
        if whole:
            assert b"".join(got).startswith(b"".join(transform(iter([whole]))))
        if transform is not text_of_chat:
            assert b"".join(got) == WITHOUT[:at]


@pytest.mark.parametrize("transform", EVERY)
def test_abandoned_at_any_stage_the_source_is_closed(transform: Transform) -> None:
    for taken in range(len(TEXTS)):
        closed: list[bool] = []

        def source(closed: list[bool] = closed) -> Iterator[bytes]:
            try:
                yield from WITH.splitlines(keepends=True)
            finally:
                closed.append(True)

        inner = source()
        body = transform(inner)
        for _ in range(taken):
            next(body)
        body.close()  # type: ignore[attr-defined]
        del body, inner
        assert closed == ([True] if taken else [])


@pytest.mark.parametrize("transform", EVERY)
def test_nothing_empty_is_passed_on(transform: Transform) -> None:
    assert all(part for part in transform(bytes([byte]) for byte in WITH + WITHOUT + b"\n\n\n\r\n\r\n"))


@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"\n\n", b"\r\n\r\n", b"data: ", b'{"error":1}', b'"usage":null'])
    )
)
def test_events_keep_every_byte(parts: list[bytes]) -> None:
    assert b"".join(events(part for part in parts if part)) == b"".join(parts)
    list(without_usage(iter(parts)))


def test_memory_stays_bounded_in_an_event_without_end() -> None:
    assert max(len(part) for part in events(b"x" * 65_536 for _ in range(64))) <= (1 << 20) + 65_536


def test_the_chain_is_made_for_the_request() -> None:
    def chain(kind: str, *, strip_usage: bool = False, text_of: stream_formats.StreamFormat | None = None) -> list[Any]:
        return transforms.for_response(content_type=kind, strip_usage=strip_usage, text_of=text_of)

    events_kind = "text/event-stream; charset=utf-8"
    assert chain(events_kind) == [transforms.mask_events]
    assert chain("Application/JSON") == [transforms.mask_json]
    assert chain("audio/mpeg") == chain("text/plain") == []
    assert chain(events_kind, strip_usage=True) == [transforms.mask_events, without_usage]
    [mask, text] = chain(events_kind, text_of=stream_formats.CHAT)
    assert mask == transforms.mask_events
    assert isinstance(text, partial)
    stream: Iterator[bytes] = iter([WITH])
    for transform in transforms.for_response(
        content_type="text/event-stream", strip_usage=True, text_of=stream_formats.CHAT
    ):
        stream = transform(stream)
    assert b"".join(stream).decode() == "".join(TEXTS)
