"""Where each dialect has its text, and what in it tells of a failure."""

from __future__ import annotations

from typing import Any

import pytest
from relay.response import stream_formats
from relay.response.stream_formats import StreamFormat


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"choices": [{"index": 0, "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"index": 0, "delta": {"refusal": "no"}}]}, "no"),
        ({"choices": [{"index": 0, "delta": {"content": None, "refusal": None}}]}, ""),
        ({"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "x"}}]}}]}, ""),
        ({"choices": [{"index": 0, "delta": {"content": ["a"]}}]}, ""),
        ({"choices": [{"index": 0, "delta": "a"}]}, ""),
        ({"choices": ["a"]}, ""),
        ({"choices": {"0": "a"}}, ""),
        ({"choices": None}, ""),
        ({}, ""),
    ],
)
def test_text_of_chat(fields: dict[str, Any], text: str) -> None:
    assert stream_formats.CHAT.text(fields) == text


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [
        (stream_formats.RESPONSES, "response.output_text.delta"),
        (stream_formats.RESPONSES, "response.refusal.delta"),
        (stream_formats.TRANSCRIPTION, "transcript.text.delta"),
    ],
)
def test_text_of_deltas(dialect: StreamFormat, kind: str) -> None:
    assert dialect.text({"type": kind, "delta": "a"}) == "a"
    assert dialect.text({"type": kind, "delta": None}) == ""
    assert dialect.text({"type": "response.function_call_arguments.delta", "delta": "a"}) == ""
    assert dialect.text({"delta": "a"}) == ""


def test_pictures_and_sound_have_no_text() -> None:
    assert stream_formats.IMAGES.text({"type": "image_generation.completed", "b64_json": "x"}) == ""
    assert stream_formats.SPEECH.text({"type": "speech.audio.delta", "audio": "x"}) == ""


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, {"code": "server_error"}),
        ({"type": "response.failed", "response": None}, {"code": "response_failed"}),
        ({"type": "error", "error": {"code": "slow_down"}}, {"code": "slow_down"}),
        ({"type": "response.incomplete", "response": {"error": None}}, None),
        ({"type": "response.completed", "response": {"error": {"code": "x"}}}, None),
    ],
)
def test_failures_of_responses(fields: dict[str, Any], error: dict[str, Any] | None) -> None:
    assert stream_formats.RESPONSES.error(fields) == error
