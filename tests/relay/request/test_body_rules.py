"""What each endpoint's body becomes. (What it must never become is in test_policy_attacks.)"""

from __future__ import annotations

from typing import Any

import pytest
from relay.errors import ErrorKind, RelayError
from relay.request import body_rules, contents
from relay.request.body_rules import BodyRules
from relay.request.policy import RequestPolicy

POLICY = RequestPolicy(max_output_tokens=100, max_choices=2)
STATEFUL = RequestPolicy(max_output_tokens=100, stateful=True, tools=("file_search", "code_interpreter"))


def shaped(shape: BodyRules, policy: RequestPolicy = POLICY, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", **fields}
    shape(body, policy)
    contents.inspect(body, policy, frozenset(body))
    return body


def refused(shape: BodyRules, policy: RequestPolicy = POLICY, **fields: Any) -> str | None:
    with pytest.raises(RelayError) as caught:
        shaped(shape, policy, **fields)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    return caught.value.param


def test_a_chat_is_not_stored() -> None:
    assert shaped(body_rules.chat, messages=[]) == {"model": "m", "messages": [], "store": False}


def test_a_response_is_not_stored() -> None:
    assert shaped(body_rules.responses, input="x") == {"model": "m", "input": "x", "store": False}


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, True, False, "1", [], {}])
@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (body_rules.chat, "max_tokens"),
        (body_rules.chat, "max_completion_tokens"),
        (body_rules.chat, "n"),
        (body_rules.responses, "max_output_tokens"),
        (body_rules.images, "n"),
    ],
)
def test_a_number_is_a_whole_one_above_zero(shape: BodyRules, name: str, value: Any) -> None:
    assert refused(shape, **{name: value}) == name


@pytest.mark.parametrize("shape", [body_rules.chat, body_rules.images])
def test_choices_are_bounded(shape: BodyRules) -> None:
    assert shaped(shape, n=2)["n"] == 2
    assert shaped(shape, n=None)["n"] is None
    assert refused(shape, n=3) == "n"


def test_a_streamed_chat_asks_for_usage() -> None:
    assert shaped(body_rules.chat, stream=True)["stream_options"] == {"include_usage": True}
    options = {"include_usage": False, "include_obfuscation": False}
    assert shaped(body_rules.chat, stream=True, stream_options=options)["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }
    assert options["include_usage"] is False
    assert "stream_options" not in shaped(body_rules.chat, stream=False)
    assert "stream_options" not in shaped(body_rules.responses, stream=True)


@pytest.mark.parametrize("shape", [body_rules.chat, body_rules.responses])
def test_the_tier_is_one_of_the_allowed(shape: BodyRules) -> None:
    assert "service_tier" not in shaped(shape)
    assert shaped(shape, service_tier="default")["service_tier"] == "default"
    assert refused(shape, service_tier="priority") == "service_tier"


@pytest.mark.parametrize("shape", [body_rules.chat, body_rules.responses])
def test_where_auto_is_not_allowed_a_tier_is_named(shape: BodyRules) -> None:
    assert shaped(shape, RequestPolicy(service_tiers=("flex", "default")))["service_tier"] == "flex"
    assert shaped(shape, RequestPolicy(service_tiers=()))["service_tier"] == "default"
    assert refused(shape, RequestPolicy(service_tiers=("default",)), service_tier="auto") == "service_tier"


def test_a_stateful_environment_may_use_what_is_stored() -> None:
    fields: dict[str, Any] = {
        "previous_response_id": "resp_1",
        "store": True,
        "conversation": "conv_1",
        "prompt": {"id": "pmpt_1"},
        "input": [{"type": "item_reference", "id": "msg_1"}, {"type": "input_file", "file_id": "file-1"}],
        "tools": [
            {"type": "file_search", "vector_store_ids": ["vs_1"]},
            {"type": "code_interpreter", "container": "cntr_1"},
        ],
    }
    assert shaped(body_rules.responses, STATEFUL, **fields) == {"model": "m", **fields}


@pytest.mark.parametrize("shape", [body_rules.chat, body_rules.responses])
@pytest.mark.parametrize("store", [True, 1, "true"])
def test_who_wants_to_store_is_told_that_it_cannot(shape: BodyRules, store: Any) -> None:
    assert refused(shape, store=store) == "store"
    assert shaped(shape, store=None)["store"] is False


def test_web_search_in_a_chat_is_a_tool_like_others() -> None:
    assert refused(body_rules.chat, web_search_options={}) == "web_search_options"
    assert (
        shaped(body_rules.chat, RequestPolicy(tools=("web_search",)), web_search_options={})["web_search_options"] == {}
    )
    assert shaped(body_rules.chat, web_search_options=None)["web_search_options"] is None


@pytest.mark.parametrize("word", ["audio", "sse", None])
def test_speech_comes_as_sound_or_as_events(word: str | None) -> None:
    assert shaped(body_rules.speech, stream_format=word)["stream_format"] == word
    assert refused(body_rules.speech, stream_format="mp3") == "stream_format"


@pytest.mark.parametrize("policy", [POLICY, STATEFUL])
def test_nothing_runs_in_the_background_anywhere(policy: RequestPolicy) -> None:
    assert refused(body_rules.responses, policy, background=True) == "background"


@pytest.mark.parametrize("shape", [body_rules.chat, body_rules.responses, body_rules.images])
@pytest.mark.parametrize("flag", [1, 0, 1.0, "true", [], {}])
def test_only_a_boolean_is_a_stream_flag(shape: BodyRules, flag: Any) -> None:
    assert refused(shape, stream=flag) == "stream"


def test_a_form_has_words_for_flags() -> None:
    for word in ("true", "false"):
        assert shaped(body_rules.transcriptions, stream=word)["stream"] == word
    for word in ("", "True", "1", "yes"):
        assert refused(body_rules.transcriptions, stream=word) == "stream"


def test_moderations_have_a_model_of_their_own() -> None:
    for fields in ({}, {"model": None}):
        body: dict[str, Any] = {"input": "x", **fields}
        body_rules.moderations(body, POLICY)
        assert body["model"] == "omni-moderation-latest"
    with pytest.raises(RelayError) as caught:
        shaped(body_rules.moderations, RequestPolicy(models=("gpt-5",)), input="x", model=None)
    assert caught.value.kind is ErrorKind.MODEL_NOT_ALLOWED


@pytest.mark.parametrize(
    "model",
    [None, "", 5, [], {}, True, "x" * 129, "a b", "a\nb", "\x1b[2J", "[/items]", "gpt\u20115", "-m", "é", "\u202em"],
)
def test_a_model_is_a_short_name_in_plain_letters(model: Any) -> None:
    assert refused(body_rules.model, model=model) == "model"


@pytest.mark.parametrize(
    "model",
    ["gpt-5", "ft:gpt-4.1-mini-2025-04-14:my-org:name_1:AbC", "openai/gpt-5", "openai.gpt-oss-120b-1:0", "x" * 128],
)
def test_the_names_that_openai_and_compatible_hosts_give_are_taken(model: str) -> None:
    assert shaped(body_rules.model, model=model)["model"] == model


def test_a_model_below_the_top_has_the_same_rules() -> None:
    assert refused(body_rules.images, svg={"model": "a b"}) == "svg.model"
    body: dict[str, Any] = {"model": "m", "moderation": {"model": "n"}, "tools": [{"type": "function", "model": "o"}]}
    assert contents.inspect(body, POLICY, frozenset(body)).models == ["m", "n", "o"]


REASONING = [
    "gpt-5",
    "gpt-5.6-terra",
    "gpt-6-luna",
    "o3",
    "o4-mini-2025-04-16",
    "codex-mini-latest",
    "gpt-10",
    "ft:gpt-5:o::i",
]
OTHER = [
    "gpt-4o",
    "gpt-4.1",
    "gpt-5-chat-latest",
    "chat-latest",
    "gpt-image-2",
    "gpt-audio-1.5",
    "openai/gpt-5",
    "m",
    "ft:gpt-4o:o::i",
]


@pytest.mark.parametrize("model", REASONING)
def test_where_the_relay_keeps_a_response_from_being_stored_its_reasoning_comes_along(model: str) -> None:
    assert shaped(body_rules.responses, model=model)["include"] == ["reasoning.encrypted_content"]
    assert shaped(body_rules.responses, model=model, store=None)["include"] == ["reasoning.encrypted_content"]
    assert shaped(body_rules.responses, model=model, include=None)["include"] == ["reasoning.encrypted_content"]
    both = shaped(body_rules.responses, model=model, include=["message.output_text.logprobs"])["include"]
    assert both == ["message.output_text.logprobs", "reasoning.encrypted_content"]
    twice = shaped(body_rules.responses, model=model, include=["reasoning.encrypted_content"])["include"]
    assert twice == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("model", REASONING)
def test_what_the_caller_has_decided_stays(model: str) -> None:
    assert "include" not in shaped(body_rules.responses, model=model, store=False)
    assert "include" not in shaped(body_rules.responses, STATEFUL, model=model)
    assert "include" not in shaped(body_rules.chat, model=model)
    assert shaped(body_rules.responses, model=model, include="x")["include"] == "x"


@pytest.mark.parametrize("model", OTHER)
def test_a_model_that_is_not_known_to_reason_is_not_asked_for_reasoning(model: str) -> None:
    assert "include" not in shaped(body_rules.responses, model=model)


def test_metadata_of_a_chat_goes_where_nothing_is_stored_and_the_caller_has_not_said_so() -> None:
    assert "metadata" not in shaped(body_rules.chat, metadata={"team": "a"})
    assert "metadata" in shaped(body_rules.chat, metadata={"team": "a"}, store=False)
    assert "metadata" in shaped(body_rules.chat, STATEFUL, metadata={"team": "a"})
    assert "metadata" in shaped(body_rules.responses, metadata={"team": "a"})


def message_of(shape: BodyRules, **fields: Any) -> str:
    with pytest.raises(RelayError) as caught:
        shaped(shape, **fields)
    return caught.value.text


def test_a_refusal_names_what_is_refused_the_cure_and_the_setting() -> None:
    tool = message_of(body_rules.responses, tools=[{"type": "function"}, {"type": "namespace"}])
    assert "tools[1]" in tool
    assert "'namespace'" in tool
    assert "allows function, custom" in tool
    assert "`tools`" in tool
    item = message_of(body_rules.responses, input=[{"type": "item_reference", "id": "rs_1"}])
    for word in (
        "input[0]",
        "store: false",
        "reasoning.encrypted_content",
        "providerOptions.openai.store",
        "`stateful`",
    ):
        assert word in item
    voice = message_of(body_rules.speech, input="x", voice={"id": "voice_1"})
    assert "'voice'" in voice
    assert "`stateful`" in voice
    assert "item" not in voice
    assert "`stateful`" in message_of(body_rules.responses, input=[{"type": "input_file", "file_id": "f"}])
    assert "`max_choices`" in message_of(body_rules.chat, n=3)
    assert "`service_tiers`" in message_of(body_rules.chat, service_tier="priority")


def test_what_codex_says_of_its_own_threads_passes() -> None:
    own = {"turn_id": "t", "thread_id": "t", "session_id": "s", "root_turn_id": "r"}
    item = {"type": "message", "role": "user", "content": "x", "internal_chat_message_metadata_passthrough": own}
    body = shaped(body_rules.responses, input=[item], client_metadata=own)
    assert body["client_metadata"] == own
    assert body["input"] == [item]


@pytest.mark.parametrize(
    "item", [{"type": "new_item", "id": "n_1"}, {"role": "user", "id": "msg_1"}, {"type": "message", "id": "m"}]
)
def test_an_item_with_an_id_that_is_not_known_to_be_whole_is_a_reference(item: dict[str, Any]) -> None:
    assert refused(body_rules.responses, input=[item]) == "input[0]"


def test_refusals_say_where() -> None:
    assert refused(body_rules.responses, tools=[{"type": "function"}, {"type": "mcp"}]) == "tools[1]"
    assert refused(body_rules.chat, messages=[{"role": "user", "content": [{"file": {"file_id": "f"}}]}]) == (
        "messages[0].content[0].file.file_id"
    )
    assert refused(body_rules.responses, input=[{"type": "a", "tools": 5}]) == "input[0].tools"
    assert refused(body_rules.responses, input=[{"type": "a", "tools": [{}]}]) == "input[0].tools[0].type"
    assert refused(body_rules.responses, tools=[{"type": "function", "container": "c"}]) == "tools[0].container"
    assert refused(body_rules.responses, input=[{"id": "msg_1"}]) == "input[0]"
    assert refused(body_rules.responses, moderation={"model": 5}) == "moderation.model"
    assert refused(body_rules.responses, POLICY, **{"k" * 1000: {"file_id": 1}}) == "k" * 200


@pytest.mark.parametrize("shape", [body_rules.input_tokens, body_rules.compaction])
def test_what_generates_nothing_to_keep_is_not_told_to_store_nothing(shape: BodyRules) -> None:
    assert shaped(shape, input="x") == {"model": "m", "input": "x"}


@pytest.mark.parametrize("shape", [body_rules.input_tokens, body_rules.compaction])
@pytest.mark.parametrize(
    ("field", "value"),
    [("previous_response_id", "resp_1"), ("conversation", "conv_1"), ("prompt", {"id": "pmpt_1"})],
)
def test_what_is_stored_is_neither_counted_nor_compacted(shape: BodyRules, field: str, value: Any) -> None:
    assert refused(shape, input="x", **{field: value}) == field
    assert shaped(shape, STATEFUL, input="x", **{field: value})[field] == value


def test_a_compaction_keeps_to_the_tiers() -> None:
    assert refused(body_rules.compaction, input="x", service_tier="flex") == "service_tier"
    pinned = RequestPolicy(service_tiers=("default",))
    assert shaped(body_rules.compaction, pinned, input="x")["service_tier"] == "default"
    assert "service_tier" not in shaped(body_rules.input_tokens, pinned, input="x")


def test_numbers_of_a_form_are_numbers() -> None:
    edits = shaped(body_rules.image_edits, prompt="x", n="2", partial_images="0", stream="true")
    assert (edits["n"], edits["partial_images"], edits["stream"]) == (2, 0, "true")
    assert shaped(body_rules.image_edits, prompt="x", n=1, stream=True)["stream"] is True


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("n", "3"), ("n", "1.0"), ("n", "+1"), ("n", "\u0661"), ("n", ""), ("n", 3), ("n", True)),
        *(("stream", "True"), ("stream", 1), ("stream", ""), ("stream", []), ("partial_images", "-1")),
    ],
)
def test_numbers_and_flags_of_a_form_have_one_reading(field: str, value: Any) -> None:
    assert refused(body_rules.image_edits, prompt="x", **{field: value}) == field


@pytest.mark.parametrize("field", ["image", "images", "mask", "markup"])
@pytest.mark.parametrize("value", ["https://example.com/a.png", "file-1", ["file-1"], [{"image_url": "x"}, "file-1"]])
def test_a_picture_of_an_edit_is_no_bare_text(field: str, value: Any) -> None:
    assert refused(body_rules.image_edits, prompt="x", **{field: value}) == field
