"""What each endpoint's body becomes. (What it must never become is in test_policy_attacks.)"""

from __future__ import annotations

from typing import Any

import pytest
from relay.errors import ErrorKind, RelayError
from relay.request import body_rules
from relay.request.body_rules import BodyRules
from relay.request.policy import RequestPolicy

POLICY = RequestPolicy(max_output_tokens=100, max_choices=2)
STATEFUL = RequestPolicy(max_output_tokens=100, stateful=True, tools=("file_search", "code_interpreter"))


def shaped(shape: BodyRules, policy: RequestPolicy = POLICY, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", **fields}
    shape(body, policy)
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
        body_rules.moderations({"input": "x"}, RequestPolicy(models=("gpt-5",)))
    assert caught.value.kind is ErrorKind.MODEL_NOT_ALLOWED


@pytest.mark.parametrize("model", [None, "", 5, [], {}, True])
def test_a_model_is_a_name(model: Any) -> None:
    assert refused(body_rules.model, model=model) == "model"


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
