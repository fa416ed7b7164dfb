"""The lists of what is known to be bounded, held against the request types of the pinned openai-python.

When a new release brings a field or a type, the test names it: look at what it costs, then put it in the lists of
relay.request.known_fields or in the ones below. Looked at: openai-python 3.54.0, 27 November 2026.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from openai.types import (
    embedding_create_params,
    image_edit_params,
    image_generate_params,
    moderation_create_params,
    responses,
)
from openai.types.audio import speech_create_params, transcription_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import input_token_count_params, response_compact_params, response_create_params
from relay.request import known_fields
from relay.request.contents import CALLERS_OWN, WITHIN_REQUEST
from relay.request.policy import NAME
from typing_extensions import get_type_hints, is_typeddict

LOOKED_AT = "3.54.0"
CHAT = completion_create_params.CompletionCreateParamsNonStreaming
RESPONSES = response_create_params.ResponseCreateParamsNonStreaming

# Top-level fields that are not bounded, by endpoint: refused where a budget needs a bound.
UNBOUNDED = {
    "CHAT": "moderation web_search_options",
    "RESPONSES": "access_programs background_options context_management image moderation prompt",
    "COMPACTION": "image",
    "IMAGES": "complexity frame_count frame_duration_ms svg",
    "IMAGE_EDITS": "complexity frame_count frame_duration_ms svg",
}
# Fields that the relay knows beside those of the SDK: what Codex sends, the flag of images' and forms' streams, and what
# only a body of JSON has.
BESIDE = {
    "RESPONSES": "client_metadata",
    "COMPACTION": "parallel_tool_calls reasoning text tools",
    "IMAGES": "stream",
    "IMAGE_EDITS": "images moderation stream",
    "TRANSCRIPTIONS": "stream",
}
SPECS: dict[str, Any] = {
    "CHAT": CHAT,
    "RESPONSES": RESPONSES,
    "INPUT_TOKENS": input_token_count_params.InputTokenCountParams,
    "COMPACTION": response_compact_params.ResponseCompactParams,
    "EMBEDDINGS": embedding_create_params.EmbeddingCreateParams,
    "MODERATIONS": moderation_create_params.ModerationCreateParams,
    "IMAGES": image_generate_params.ImageGenerateParamsNonStreaming,
    "IMAGE_EDITS": image_edit_params.ImageEditParamsNonStreaming,
    "SPEECH": speech_create_params.SpeechCreateParams,
    "TRANSCRIPTIONS": transcription_create_params.TranscriptionCreateParamsNonStreaming,
}
# Fields of objects that are not text: of hosted tools, of stored parts, of further models and passes.
DEAR_FIELDS = """
allowed_domains always approximate authorization city comparison_response_id compact_threshold container
complexity connector_id container_id country cyber completion_window continuation_id context_compression data
disabled display_height display_width domain domain_secrets external_web_access file file_data file_id file_ids file_url
filename frame_count frame_duration_ms headers hybrid_search embedding_weight text_weight image_url input_audio
input_fidelity input_image_mask key max_num_results media_type memory_limit model moderation
network_policy never output_compression partial_images policy ranker ranking_options read_only region
require_approval result score_threshold search_content_types search_context_size server_description server_url skill_id
source svg timezone tool_names tunnel_id url user_location value variables vector_store_ids version
input_tokens output_tokens reasoning_tokens total_tokens
"""
# Types of hosted tools and their parts, and of what makes OpenAI do more than one pass.
DEAR_TYPES = """
web_search web_search_2025_08_26 web_search_preview web_search_preview_2025_03_11 file_search computer computer_use
computer_use_preview mcp code_interpreter programmatic_tool_calling image_generation approximate auto disabled allowlist
container_auto container_reference skill_reference inline base64 eq ne gt gte lt lte in nin and or
"""
# Ids of what is stored at OpenAI, or may be.
STORED_IDS = """
file_id file_ids container_id vector_store_ids previous_response_id comparison_response_id continuation_id skill_id tunnel_id
"""


def typed_dicts(kind: Any, seen: dict[Any, dict[str, Any]]) -> None:
    """All objects that can stand in a request of type `kind`, with their fields."""
    if is_typeddict(kind):
        if kind not in seen:
            seen[kind] = get_type_hints(kind)
            for field in seen[kind].values():
                typed_dicts(field, seen)
        return
    for argument in typing.get_args(kind):
        if not isinstance(argument, str):
            typed_dicts(argument, seen)


def nested() -> dict[Any, dict[str, Any]]:
    seen: dict[Any, dict[str, Any]] = {}
    for kind in (CHAT, RESPONSES):
        typed_dicts(kind, seen)
    return {kind: fields for kind, fields in seen.items() if kind not in (CHAT, RESPONSES)}


def literals(kind: Any) -> Iterator[str]:
    for argument in typing.get_args(kind):
        if isinstance(argument, str):
            yield argument
        else:
            yield from literals(argument)


def words(text: str) -> set[str]:
    return set(text.split())


@pytest.mark.parametrize("name", SPECS)
def test_every_top_level_field_is_looked_at(name: str) -> None:
    fields = set(get_type_hints(SPECS[name])) | words(BESIDE.get(name, ""))
    assert getattr(known_fields, name) == fields - words(UNBOUNDED.get(name, ""))
    assert words(UNBOUNDED.get(name, "")) <= fields


def test_every_field_of_an_object_is_looked_at() -> None:
    fields = {field for of in nested().values() for field in of} - CALLERS_OWN
    assert sorted(fields - known_fields.TEXT_FIELDS - words(DEAR_FIELDS)) == []
    assert known_fields.TEXT_FIELDS & words(DEAR_FIELDS) == set()


def test_every_type_of_an_object_is_looked_at() -> None:
    types = {literal for fields in nested().values() for literal in literals(fields.get("type"))}
    media = (
        known_fields.PICTURES
        | known_fields.FILES
        | known_fields.STORED_ITEMS
        | {"input_audio", "image_generation_call", known_fields.COMPACTS}
    )
    assert sorted(types - known_fields.TEXT_TYPES - media - words(DEAR_TYPES)) == []
    assert known_fields.TEXT_TYPES & (words(DEAR_TYPES) | media) == set()
    assert known_fields.CLIENT_SIDE_TOOLS <= known_fields.TEXT_TYPES


@pytest.mark.parametrize(
    "item",
    [
        responses.ResponseOutputMessage,
        responses.ResponseOutputText,
        responses.ResponseReasoningItem,
        responses.ResponseFunctionToolCall,
        responses.ResponseFunctionToolCallOutputItem,
        responses.ResponseCustomToolCall,
        responses.ResponseApplyPatchToolCall,
        responses.ResponseFunctionShellToolCall,
        responses.ResponseToolSearchCall,
        responses.ResponseFunctionWebSearch,
    ],
)
def test_what_a_response_holds_may_be_sent_back(item: Any) -> None:
    assert set(item.model_fields) - {"async_"} <= known_fields.TEXT_FIELDS


def test_every_id_is_looked_at() -> None:
    every = [*nested().values(), *map(get_type_hints, SPECS.values())]
    ids = {field for fields in every for field in fields if field.endswith(("_id", "_ids"))}
    assert ids - WITHIN_REQUEST - words(STORED_IDS) == set()
    assert WITHIN_REQUEST & words(STORED_IDS) == set()


def test_the_models_that_the_sdk_names_are_names() -> None:
    named = [name for kind in (CHAT, RESPONSES) for name in literals(get_type_hints(kind)["model"])]
    assert len(named) > 20
    assert all(NAME.fullmatch(name) for name in named)


def test_the_lists_were_held_against_this_release() -> None:
    """A newer release is to be looked at: the tests above say what is new in it; then its number goes here."""
    assert version("openai") == LOOKED_AT
    for text in (__doc__, known_fields.__doc__):
        assert re.search(rf"openai-python {re.escape(LOOKED_AT)}\b", text or "")
