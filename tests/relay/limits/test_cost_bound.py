"""The most a request can cost: never too low, and said to be unknown where it is."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from relay.accounts.limit_kinds import Limits, Unit
from relay.formats import multipart, strict_json
from relay.formats.multipart import Part
from relay.limits import cost_bound
from relay.limits.cost_bound import CHAT, EMBEDDINGS, IMAGES, MODERATIONS, RESPONSES, SPEECH, CostBound
from relay.limits.sent_body import Sent
from relay.models import Caller, Request
from relay.policies.policy import Policy
from relay.pricing.money import PICO
from relay.pricing.prices import Price, parse
from relay.request import contents, endpoints, upstream_request
from relay.request.policy import RequestPolicy

EVERYTHING = RequestPolicy(
    stateful=True, tools=("function", "custom", "web_search", "mcp", "namespace", "tool_search", "shell")
)
BUDGET = Limits(usd_per_day=10 * PICO)


def wav(*, rate: int, bits: int, size: int = 30_000) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * bits // 8, bits // 8, bits)
    return b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + b"\0" * size


def price(**fields: Any) -> Price:
    entry = {"input": 1, "output": 10, "context": 100_000, "max_output": 5_000, "tiers": {"flex": {"input": 0.5}}}
    found = parse(json.dumps({"models": {"m": {**entry, **fields}}})).of("m")
    assert found is not None
    return found


def without(*names: str) -> Price:
    entry = {"input": 1, "output": 10, "context": 100_000, "max_output": 5_000}
    found = parse(json.dumps({"models": {"m": {k: v for k, v in entry.items() if k not in names}}})).of("m")
    assert found is not None
    return found


def changes(
    entry: CostBound,
    body: dict[str, Any],
    *,
    cap: int | None = None,
    limits: Limits = BUDGET,
    at: Price | None = None,
    most: int = 16_384,
) -> dict[str, Any]:
    return entry.changes(body, Policy(output_cap=cap, limits=limits), at or price(), most)


def bound(
    entry: CostBound, body: dict[str, Any], *, cap: int | None = None, limits: Limits = BUDGET, at: Price | None = None
) -> cost_bound.Bound:
    """The bound of `body` once it is narrowed, as the relay sends it."""
    fields = {**body, **changes(entry, body, cap=cap, limits=limits, at=at)}
    return entry.of(sent(entry, fields), Policy(output_cap=cap, limits=limits), at or price())


def sent(entry: CostBound, fields: dict[str, Any]) -> Sent:
    """`fields` as the relay sends them where everything is allowed."""
    endpoint = next(endpoint for endpoint in endpoints.TABLE if endpoint.bound is entry)
    found = contents.inspect(fields, EVERYTHING, endpoint.fields)
    return Sent(fields=fields, contents=found, body=strict_json.serialise(fields))


def body_of(entry: CostBound, **more: Any) -> dict[str, Any]:
    return {**({"input": "x"} if entry is RESPONSES else text(1)), **more}


def text(size: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "x" * size}]}


def test_text_is_bounded_by_its_bytes_and_output_by_what_the_model_can_give() -> None:
    found = bound(CHAT, text(1000))
    assert 1000 < found.tokens_in < 1000 + 400
    assert found.tokens_out == 5_000
    assert found.usd == found.tokens_in * PICO // 10**6 + found.tokens_out * 10 * PICO // 10**6


@pytest.mark.parametrize(
    ("entry", "asked", "changed", "tokens"),
    [
        (CHAT, {}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"max_tokens": 50}, {}, 50),
        (CHAT, {"max_tokens": 500}, {"max_tokens": 100}, 100),
        (CHAT, {"max_tokens": 500, "max_completion_tokens": 60}, {"max_tokens": 100}, 100),
        (CHAT, {"max_completion_tokens": 10, "max_tokens": 80}, {}, 80),
        (CHAT, {"max_completion_tokens": None}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"max_completion_tokens": -5}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"max_completion_tokens": 0}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"max_completion_tokens": "9"}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"max_completion_tokens": True}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"max_completion_tokens": 1e9}, {"max_completion_tokens": 100}, 100),
        (CHAT, {"n": 3}, {"max_completion_tokens": 100}, 300),
        (CHAT, {"n": -3}, {"max_completion_tokens": 100}, 100),
        (RESPONSES, {}, {"max_output_tokens": 100}, 100),
        (RESPONSES, {"max_output_tokens": 101}, {"max_output_tokens": 100}, 100),
        (RESPONSES, {"max_output_tokens": 7}, {}, 7),
    ],
)
def test_output_is_clamped(entry: CostBound, asked: dict[str, Any], changed: dict[str, Any], tokens: int) -> None:
    made = changes(entry, body_of(entry, **asked), cap=100)
    assert made == {**changed, "service_tier": "default"}
    assert bound(entry, body_of(entry, **asked), cap=100).tokens_out == tokens


@pytest.mark.parametrize(
    "asked", [{"max_completion_tokens": 10**12}, {"max_completion_tokens": "9"}, {"max_tokens": -1}]
)
def test_what_is_no_sensible_cap_counts_as_all_that_the_model_can_give(asked: dict[str, Any]) -> None:
    assert bound(CHAT, {**text(1), **asked}).tokens_out == 5_000


def test_a_prediction_may_be_billed_as_output() -> None:
    plain = bound(CHAT, text(1), cap=100)
    predicted = bound(CHAT, {**text(1), "prediction": {"type": "content", "content": "y" * 700}}, cap=100)
    assert predicted.tokens_out >= plain.tokens_out + 700


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, "default"),
        ({"service_tier": "auto"}, "default"),
        ({"service_tier": None}, "default"),
        ({"service_tier": "flex"}, None),
    ],
)
def test_a_tier_left_open_is_pinned_under_a_budget(asked: dict[str, Any], sent: str | None) -> None:
    assert changes(CHAT, {**text(1), **asked}).get("service_tier") == sent
    assert "service_tier" not in changes(CHAT, {**text(1), **asked}, limits=Limits())


def test_a_picture_counts_as_the_dearest_and_not_by_its_bytes() -> None:
    def picture(url: str) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"messages": [{"role": "user", "content": [part, part]}]}

    data = bound(CHAT, picture("data:image/png;base64," + "A" * 30_000), at=price(image_tokens=1_000))
    link = bound(CHAT, picture("https://example.com/a.png"), at=price(image_tokens=1_000))
    assert 2_000 < data.tokens_in < 2_600
    assert 2_000 < link.tokens_in < 2_700


def test_a_picture_where_none_is_read_counts_by_its_bytes() -> None:
    fake = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 30_000}
    for body in (
        {**text(1), "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": fake}}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": json.dumps(fake)}}]}]},
        {"messages": [{"role": "user", "content": json.dumps([fake])}]},
    ):
        assert bound(CHAT, body).tokens_in > 30_000


def sound(data: bytes, format: str) -> dict[str, Any]:
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": format}}
    return {"messages": [{"role": "user", "content": [part]}]}


def test_sound_counts_by_the_fewest_bytes_that_a_second_of_its_format_takes() -> None:
    mp3 = b"\xff\xfb\x90\x00" + b"\0" * 29_996
    assert 30_000 // 37 < bound(CHAT, sound(mp3, "mp3")).tokens_in < 1_300
    assert 30_000 * 10 // 16_000 < bound(CHAT, sound(wav(rate=8_000, bits=16), "wav")).tokens_in < 500


@pytest.mark.parametrize("data", [b"OggS" + b"\0" * 500, b"fLaC" + b"\0" * 500, b"\0" * 500, b"", wav(rate=1, bits=8)])
def test_sound_of_a_format_that_says_nothing_of_its_length_fills_the_context(data: bytes) -> None:
    assert bound(CHAT, sound(data, "mp3")).tokens_in == 100_000


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"}]},
        {"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]},
        {"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "file-1"}},
        {"type": "item_reference", "id": "msg_1"},
    ],
)
def test_what_brings_unknown_content_counts_as_a_full_context(item: dict[str, Any]) -> None:
    assert bound(RESPONSES, {"input": [item]}).tokens_in == 100_000
    with pytest.raises(cost_bound.UnboundedError, match="no context size"):
        bound(RESPONSES, {"input": [item]}, at=without("context"))


UNKNOWN: list[tuple[CostBound, dict[str, Any], str]] = [
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "something_new", "x": 1}]}]}, "'something_new'"),
    (
        RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "", "video_url": "u"}]}]},
        "video_url",
    ),
    (
        RESPONSES,
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "", "image_url": "u"}]}]},
        "image_url",
    ),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": 5}]}]}, "image_url"),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": ["input_text"], "text": ""}]}]}, "'list'"),
    (RESPONSES, {"input": [{"type": "new_item", "text": ""}]}, "'new_item'"),
    (RESPONSES, {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]}, "'web_search'"),
    (RESPONSES, {"input": [{"type": "tool_search_output", "tools": [{"type": "mcp"}]}]}, "'mcp'"),
    (RESPONSES, {"input": "x", "tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}, "'mcp'"),
    (RESPONSES, {"input": "x", "tools": [{"type": "tool_search"}]}, "'tool_search'"),
    (RESPONSES, {"input": "x", "tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "'shell'"),
    (RESPONSES, {"input": "x", "prompt": {"id": "pmpt_1"}}, "'prompt'"),
    (RESPONSES, {"input": "x", "reasoning": {"mode": "pro"}}, "several passes"),
    (RESPONSES, {"input": "x", "prompt_cache_options": {"ttl": "24h"}}, "'prompt_cache_options.ttl'"),
    (RESPONSES, {"input": "x", "prompt_cache_options": {"prewarm": True}}, "prewarm"),
    (RESPONSES, {"input": "x", "prompt_cache_options": {"comparison_response_id": "r"}}, "comparison_response_id"),
    (RESPONSES, {"input": "x", "context_management": [{"type": "compaction"}]}, "'context_management'"),
    (RESPONSES, {"input": "x", "moderation": {"model": "m"}}, "'moderation'"),
    (RESPONSES, {"input": "x", "access_programs": {}}, "'access_programs'"),
    (RESPONSES, {"input": "x", "image": {"context_compression": "enabled"}}, "'image'"),
    (RESPONSES, {"input": "x", "something_new": False}, "'something_new'"),
    (CHAT, {"messages": [], "moderation": {"model": "m"}}, "'moderation'"),
    (CHAT, {"messages": [], "web_search_options": {}}, "'web_search_options'"),
    (IMAGES, {"prompt": "x", "svg": {"model": "m"}}, "'svg'"),
    (IMAGES, {"prompt": "x", "frame_count": 5}, "'frame_count'"),
    (IMAGES, {"prompt": "x", "output_format": "gif"}, "'output_format'"),
    (IMAGES, {"prompt": "x", "output_format": "svg"}, "'output_format'"),
    (IMAGES, {"prompt": "x", "output_format": ["png"]}, "'output_format'"),
    (EMBEDDINGS, {"input": [{"type": "video"}]}, "'video'"),
    (SPEECH, {"input": "x", "voices": 2}, "'voices'"),
]


@pytest.mark.parametrize(("entry", "body", "says"), UNKNOWN)
def test_what_is_not_known_to_be_bounded_is_refused_under_a_budget_only(
    entry: CostBound, body: dict[str, Any], says: str
) -> None:
    for limits in (BUDGET, Limits(tokens_per_day=10)):
        with pytest.raises(cost_bound.UnboundedError, match=says):
            bound(entry, body, limits=limits, at=price(character=1, output_per_image=1))
    assert bound(entry, body, limits=Limits(), at=price(character=1, output_per_image=1)).tokens_out == 0


KNOWN: list[tuple[CostBound, dict[str, Any]]] = [
    (RESPONSES, {"tools": [{"type": "tool_search", "execution": "client", "parameters": {"type": "anything"}}]}),
    (
        RESPONSES,
        {"tools": [{"type": "shell", "environment": {"type": "local", "skills": [{"name": "a", "path": "b"}]}}]},
    ),
    (RESPONSES, {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]}),
    (
        RESPONSES,
        {"reasoning": {"mode": "standard", "effort": "low"}, "background": False, "client_metadata": {"x": {"y": 1}}},
    ),
    (RESPONSES, {"prompt_cache_options": {"ttl": "30m", "prewarm": False, "mode": "explicit"}}),
    (RESPONSES, {"prompt_cache_options": {"ttl": "12h"}}),
    (
        RESPONSES,
        {"input": [{"type": "mcp_list_tools", "tools": [{"name": "t", "annotations": {"readOnlyHint": True}}]}]},
    ),
    (RESPONSES, {"something_new": None}),
    (
        CHAT,
        {
            "logit_bias": {"50256": -100},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": 1}}}],
        },
    ),
]


@pytest.mark.parametrize(("entry", "more"), KNOWN)
def test_what_is_only_text_counts_by_its_bytes(entry: CostBound, more: dict[str, Any]) -> None:
    body = body_of(entry, **more)
    assert bound(entry, body, cap=100).tokens_in < len(json.dumps(body)) * 1.2 + 400


def test_a_picture_that_was_generated_counts_as_a_picture() -> None:
    body = {"input": [{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * 400}]}
    assert 10_000 < bound(RESPONSES, body, at=price(image_tokens=10_000)).tokens_in < 10_500


@pytest.mark.parametrize("item", [{"id": "msg_1"}, {"id": "rs_1", "type": "reasoning"}, {"id": "m", "type": "message"}])
def test_a_reference_without_a_type_fills_the_context(item: dict[str, Any]) -> None:
    assert bound(RESPONSES, {"input": [item]}).tokens_in == 100_000


def test_flex_is_reserved_at_the_price_of_the_default_tier() -> None:
    found = bound(CHAT, {**text(1), "service_tier": "flex"})
    assert found.usd == (found.tokens_in + 10 * found.tokens_out) * PICO // 10**6


def test_what_openai_adds_to_a_prompt_is_within_the_bound() -> None:
    """A prompt of 120 tokens that no byte of the body stands for, in the body with the fewest bytes that are no text."""
    body = {"model": "m", "input": "x" * 5_000, "max_output_tokens": 16}
    found = bound(RESPONSES, body)
    assert found.tokens_in >= 5_000 + len(json.dumps(body)) - 5_000 + 120


@pytest.mark.parametrize("name", ["previous_response_id", "conversation"])
def test_stored_parts_count_as_a_full_context(name: str) -> None:
    assert bound(RESPONSES, {"input": "x", name: "id"}).tokens_in == 100_000


def test_no_prompt_counts_more_than_the_context() -> None:
    assert bound(CHAT, text(300_000)).tokens_in == 100_000


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"tools": [{"type": "web_search"}]}, "'web_search'"),
        ({"tools": [{"type": "function"}, {"type": "mcp"}]}, "'mcp'"),
        ({"service_tier": "priority"}, "the service tier 'priority' of the model"),
    ],
)
def test_what_nothing_bounds_is_refused_under_a_budget_only(body: dict[str, Any], says: str) -> None:
    with pytest.raises(cost_bound.UnboundedError, match=says):
        bound(RESPONSES, body)
    assert bound(RESPONSES, body, limits=Limits()).usd >= 0


def test_a_model_without_a_price_is_named_with_the_setting() -> None:
    with pytest.raises(cost_bound.UnboundedError, match=r"the model 'gpt-99' has no price \(setting `prices`\)"):
        RESPONSES.of(
            sent(RESPONSES, {"model": "gpt-99", "input": "x", "max_output_tokens": 16}),
            Policy(limits=BUDGET),
            None,
        )


def test_tools_of_the_callers_own_are_text() -> None:
    assert bound(RESPONSES, {"input": "x", "tools": [{"type": "function"}, {"type": "custom"}]}).usd > 0


def test_a_model_without_price_is_refused_under_a_budget_in_money_only() -> None:
    def of(policy: Policy, body: dict[str, Any]) -> cost_bound.Bound:
        return CHAT.of(sent(CHAT, body), policy, None)

    with pytest.raises(cost_bound.UnboundedError, match="no price"):
        of(Policy(limits=BUDGET), text(1))
    in_tokens = Policy(limits=Limits(tokens_per_day=1000))
    assert of(in_tokens, {**text(1000), "max_tokens": 10}).tokens > 1000 + 10
    with pytest.raises(cost_bound.UnboundedError, match="not capped"):
        of(in_tokens, text(1))


@pytest.mark.parametrize(
    ("most", "cap", "at", "limits", "added"),
    [
        (16_384, None, price(max_output=4_096), Limits(), 4_096),
        (16_384, None, price(max_output=100_000), Limits(), 16_384),
        (16_384, 500, price(max_output=4_096), Limits(), 500),
        (16_384, 50_000, price(max_output=100_000), Limits(), 16_384),
        (16_384, None, without("max_output"), Limits(), None),
        (16_384, None, without("max_output"), Limits(tokens_per_day=10), 16_384),
        (16_384, None, without("max_output"), BUDGET, 16_384),
        (16_384, 500, without("max_output"), Limits(), 500),
        (4_096, None, without("max_output"), Limits(), 4_096),
        (4_097, None, without("max_output"), Limits(), None),
    ],
)
def test_a_cap_that_the_relay_adds_is_one_that_the_model_takes(
    most: int, cap: int | None, at: Price, limits: Limits, added: int | None
) -> None:
    for entry in (CHAT, RESPONSES):
        made = changes(entry, text(1), most=most, cap=cap, at=at, limits=limits)
        assert made.get(entry.output_caps[0]) == added


def test_what_the_caller_asks_for_beyond_the_model_stays_its_own() -> None:
    assert changes(CHAT, {**text(1), "max_tokens": 9_000}, at=price(max_output=4_096), limits=Limits()) == {}


def test_embeddings_and_moderations_give_no_tokens_out() -> None:
    for entry in (EMBEDDINGS, MODERATIONS):
        assert changes(entry, {"input": ["x" * 100]}, cap=5) == {}
        found = bound(entry, {"input": ["x" * 100]}, cap=5)
        assert found.tokens_out == 0
        assert found.tokens_in > 100


def test_speech_is_priced_by_character_and_exactly() -> None:
    found = bound(SPEECH, {"input": "é" * 1000}, at=price(character=15, input=0, output=0))
    assert found.usd == 1000 * 15 * PICO // 10**6
    with pytest.raises(cost_bound.UnboundedError, match="no price by character"):
        bound(SPEECH, {"input": "x"})


def transcription(data: bytes, at: Price, **fields: str) -> cost_bound.Bound:
    text = [Part(name=name, value=value.encode()) for name, value in {"model": "m", **fields}.items()]
    request = Request(
        id="id",
        method="POST",
        path="/v1/audio/transcriptions",
        headers={"content-type": "multipart/form-data; boundary=b"},
        body=multipart.serialise([*text, Part(name="file", value=data, filename=b"a")], {"model": "m", **fields})[0],
        caller=Caller(account="1", principal="A", arn=""),
    )
    boundary = request.body[2 : request.body.index(b"\r\n")].decode()
    request = request.changed(headers={"content-type": f"multipart/form-data; boundary={boundary}"})
    upstream = upstream_request.prepare(request, RequestPolicy(), max_body_bytes=10**7, identifier="")
    return upstream.bound(Policy(limits=BUDGET), at)


def test_a_transcription_is_bounded_by_its_recording() -> None:
    at = price(audio_input=6, context=16_000, max_output=2_000)
    short = transcription(b"\xff\xfb\x90\x00" + b"\0" * 29_996, at, response_format="text")
    assert 810 < short.tokens_in < 1_500
    assert short.tokens_out == 2_000
    assert short.usd < (1_500 * 6 + 2_000 * 10) * PICO // 10**6
    long = transcription(b"OggS" + b"\0" * 500, at, response_format="text")
    assert (long.tokens_in, long.tokens_out) == (16_000, 16_000)
    with pytest.raises(cost_bound.UnboundedError, match="'new_field'"):
        transcription(b"", at, new_field="1")


def test_pictures_count_as_the_largest() -> None:
    body = {"prompt": "a fox", "n": 2, "partial_images": 3}
    found = bound(IMAGES, body, at=price(output_per_image=6_000))
    assert found.tokens_out == 2 * (6_000 + 300)
    with pytest.raises(cost_bound.UnboundedError, match="output_per_image"):
        bound(IMAGES, body)


def asked(path: str, body: dict[str, Any], at: Price, policy: Policy | None = None) -> cost_bound.Bound:
    request = Request(
        id="id",
        method="POST",
        path=path,
        body=json.dumps(body).encode(),
        caller=Caller(account="1", principal="A", arn=""),
    )
    upstream = upstream_request.prepare(request, RequestPolicy(), max_body_bytes=10**7, identifier="")
    return upstream.bound(policy or Policy(limits=BUDGET), at)


def test_each_picture_of_an_edit_is_billed_with_its_prompt_and_its_pictures() -> None:
    url = "data:image/png;base64," + "A" * 8_000
    body = {"model": "m", "prompt": "a hat", "images": [{"image_url": url}] * 2, "mask": {"image_url": url}}
    at = price(output_per_image=6_000, image_input=8, context=10**6)
    one, two = asked("/v1/images/edits", body, at), asked("/v1/images/edits", {**body, "n": 2}, at)
    assert 3 * cost_bound.LARGEST_PICTURE < one.tokens_in < 3 * cost_bound.LARGEST_PICTURE + 1_000
    assert two.tokens_in > 2 * one.tokens_in
    assert two.tokens_out == 2 * one.tokens_out == 12_000
    assert one.usd >= (150_000 * 8 + 6_000 * 10) * PICO // 10**6
    with pytest.raises(cost_bound.UnboundedError, match="output_per_image"):
        asked("/v1/images/edits", body, price())
    with pytest.raises(cost_bound.UnboundedError, match="'complexity'"):
        asked("/v1/images/edits", {**body, "complexity": "high"}, at)


def test_a_compaction_costs_at_most_all_that_the_model_gives_at_a_tier_that_is_known() -> None:
    at = price(tiers={"priority": {"input": 2, "output": 20}})
    found = asked("/v1/responses/compact", {"model": "m", "input": "x" * 1_000}, at)
    assert found.tokens_out == 5_000
    assert (found.tier, found.usd < 0.06 * PICO) == ("default", True)
    free = asked("/v1/responses/compact", {"model": "m", "input": "x" * 1_000}, at, Policy(limits=Limits()))
    assert free.usd == pytest.approx(2 * found.usd, rel=0.05)
    with pytest.raises(cost_bound.UnboundedError, match="not capped"):
        asked("/v1/responses/compact", {"model": "m", "input": "x"}, without("max_output"))
    with pytest.raises(cost_bound.UnboundedError, match="'image'"):
        asked("/v1/responses/compact", {"model": "m", "input": "x", "image": {"context_compression": "enabled"}}, at)


def test_a_compaction_before_a_response_is_one_more_pass() -> None:
    at = price(max_output=5_000)
    said = {"role": "user", "content": "x" * 1_000}
    turn = {"model": "m", "max_output_tokens": 100, "input": [said]}
    plain = asked("/v1/responses", turn, at)
    for trigger in ({"type": "compaction_trigger"}, {"type": "compaction_trigger", "id": "ct_1"}):
        compacted = asked("/v1/responses", {**turn, "input": [said, trigger]}, at)
        assert 2 * plain.tokens_in < compacted.tokens_in < 2 * plain.tokens_in + 200
        assert compacted.tokens_out == 100 + 5_000
    with pytest.raises(cost_bound.UnboundedError, match="not capped"):
        asked("/v1/responses", {**turn, "input": [{"type": "compaction_trigger"}]}, without("max_output"))
    with pytest.raises(cost_bound.UnboundedError, match=r"'input\[0\].new'"):
        asked("/v1/responses", {**turn, "input": [{"type": "compaction_trigger", "new": 1}]}, at)


def test_counting_tokens_is_free_whatever_is_counted() -> None:
    body = {"model": "m", "input": [{"role": "user", "content": [{"type": "new"}]}], "personality": "friendly"}
    assert asked("/v1/responses/input_tokens", body, price()) == cost_bound.Bound()


def test_what_is_missing_is_said_where_the_policy_does_not_need_it() -> None:
    """An override may set the limit that needs it."""
    body, free = {"input": "x", "new_field": {}}, Limits()
    assert bound(RESPONSES, body, limits=free).unbounded.keys() == {Unit.TOKENS, Unit.USD}
    unpriced = RESPONSES.of(sent(RESPONSES, {"input": "x", "max_output_tokens": 16}), Policy(limits=free), None)
    assert unpriced.unbounded.keys() == {Unit.USD}
    assert not bound(RESPONSES, {"input": "x"}, limits=free).unbounded


@pytest.mark.parametrize("asked", [{}, {"service_tier": "auto"}])
def test_a_tier_that_openais_project_chooses_is_reserved_at_the_dearest(asked: dict[str, str]) -> None:
    at = price(tiers={"flex": {"input": 0.5, "output": 1}, "priority": {"input": 2, "output": 20}})
    default = bound(RESPONSES, {"input": "x", "service_tier": "default"}, at=at)
    assert default.usd < bound(RESPONSES, {"input": "x", **asked}, limits=Limits(), at=at).usd <= 2 * default.usd
    assert bound(RESPONSES, {"input": "x", **asked}, at=at).usd == default.usd  # a budget has it pinned
