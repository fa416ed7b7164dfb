"""What the relay adds never makes a valid request invalid: generated requests, and OpenAI's documented rules as judge.

The judge knows the rules and the models from OpenAI's documentation and from nothing of the relay's.
Sources: platform.openai.com/docs/api-reference/chat/create and .../responses/create, docs/models, docs/guides/reasoning.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from relay.accounts.limit_kinds import Limits
from relay.models import Caller, Request
from relay.policies.policy import Policy
from relay.pricing import prices
from relay.pricing.money import PICO
from relay.request import upstream_request
from relay.request.policy import RequestPolicy
from typing_extensions import get_type_hints

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/a/b")
PRICES = prices.parse(Path(prices.__file__).with_name("prices.json").read_text())
# The most output tokens of each model, and whether it reasons.
MODELS = {
    "gpt-4o": (16_384, False),
    "gpt-4.1": (32_768, False),
    "gpt-5-mini": (128_000, True),
    "gpt-5.4": (128_000, True),
    "o3": (100_000, True),
    "o4-mini": (100_000, True),
    "gpt-4": (8_192, False),
    "gpt-4-turbo": (4_096, False),
    "gpt-3.5-turbo": (4_096, False),
    "gpt-5-chat-latest": (16_384, False),
}
FIELDS = {
    CHAT: get_type_hints(CompletionCreateParamsNonStreaming),
    RESPONSES: get_type_hints(ResponseCreateParamsNonStreaming),
}
ENVIRONMENTS = [
    RequestPolicy(max_output_tokens=cap, stateful=stateful, service_tiers=tiers)
    for cap in (16, 100, 4_096, 16_384, 100_000, 1_000_000)
    for stateful in (False, True)
    for tiers in (("auto", "default"), ("default",), ())
]
CALLERS = [Policy(output_cap=cap) for cap in (None, 16, 5_000, 200_000)]
BUDGETS = [Policy(output_cap=cap, limits=Limits(usd_per_day=10**6 * PICO)) for cap in (None, 16, 5_000, 200_000)]


def problems(path: str, body: Mapping[str, Any]) -> list[str]:
    """What OpenAI refuses in `body`, as its documentation says."""
    most, reasons = MODELS[body["model"]]
    caps = {
        name: body[name]
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")
        if body.get(name) is not None
    }
    rules = {
        "unknown field": set(body) <= set(FIELDS[path]),
        "one cap only": len(caps) <= 1,
        "cap too large": all(cap <= most for cap in caps.values()),
        "cap too small": all(cap >= (16 if path == RESPONSES else 1) for cap in caps.values()),
        "metadata without store": path == RESPONSES or not body.get("metadata") or body.get("store") is True,
        "encrypted content": reasons or "reasoning.encrypted_content" not in (body.get("include") or []),
        "include twice": len(set(body.get("include") or [])) == len(body.get("include") or []),
        "stream options": body.get("stream_options") is None or body.get("stream") is True,
        "include_usage": path == CHAT or "include_usage" not in (body.get("stream_options") or {}),
        "safety_identifier": len(body.get("safety_identifier") or "") <= 64,
        "service_tier": body.get("service_tier") in (None, "auto", "default", "flex", "priority"),
        "store": body.get("store") in (None, True, False),
    }
    return [name for name, holds in rules.items() if not holds]


def generated(dice: random.Random) -> tuple[str, dict[str, Any], RequestPolicy, Policy]:
    """A request that OpenAI takes and the environment allows, with the environment and the caller's policy."""
    path, model = dice.choice([CHAT, RESPONSES]), dice.choice(list(MODELS))
    environment = dice.choice(ENVIRONMENTS)
    policy = dice.choice(CALLERS + (BUDGETS if PRICES.of(model) else []))
    most, reasons = MODELS[model]
    content: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]} if path == CHAT else {"input": "hi"}
    options: dict[str, list[Any]] = {
        "temperature": [0.7, 1, None],
        "metadata": [{"team": "a", "file_id": "x"}, {}, None],
        "stream": [True, False, None],
        "user": ["ann"],
        "safety_identifier": ["x" * 64, None],
        "parallel_tool_calls": [True],
        "service_tier": ["default", None],
        "store": [False, None, *([True] if environment.stateful else [])],
        "tools": [[{"type": "function", "name": "f", "function": {"name": "f"}, "parameters": {"type": "object"}}]],
    }
    if path == CHAT:
        options |= {"n": [1, 2], "seed": [5], "logit_bias": [{"50256": -100}], "stop": [["a"]]}
        options |= {dice.choice(["max_tokens", "max_completion_tokens"]): [1, most, most // 2, None]}
    else:
        options |= {
            "max_output_tokens": [16, most, most // 2, None],
            "instructions": ["be brief", None],
            "truncation": ["auto"],
        }
        options |= {
            "include": [
                None,
                [],
                ["message.output_text.logprobs"],
                *([["reasoning.encrypted_content"]] if reasons else []),
            ]
        }
    chosen = {name: dice.choice(values) for name, values in options.items() if dice.random() < 0.4}
    if chosen.get("stream") is True and dice.random() < 0.5:
        chosen["stream_options"] = dice.choice([None, {}, {"include_obfuscation": False}])
    return path, {"model": model, **content, **chosen}, environment, policy


def sent(path: str, body: Mapping[str, Any], environment: RequestPolicy, policy: Policy) -> dict[str, Any]:
    request = Request(id="id", method="POST", path=path, body=json.dumps(body).encode(), caller=CALLER)
    upstream = upstream_request.prepare(request, environment, max_body_bytes=10**6, identifier="0" * 32)
    upstream.bound(policy, PRICES.of(body["model"]))
    fields: dict[str, Any] = json.loads(upstream.body()[0])
    return fields


def test_three_thousand_valid_requests_are_valid_when_they_are_sent() -> None:
    dice, judged, capped = random.Random(11), 0, 0
    while judged < 3_000:
        path, body, environment, policy = generated(dice)
        if problems(path, body):
            continue  # metadata of a chat that says store: false
        fields = sent(path, body, environment, policy)
        assert problems(path, fields) == [], (path, body, fields, environment, policy)
        clamped = {
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "metadata",
            "include",
            "store",
            "service_tier",
        }
        own = {
            name: value for name, value in body.items() if name not in clamped | {"stream_options", "safety_identifier"}
        }
        assert {name: fields[name] for name in own} == own
        judged += 1
        capped += any(name in fields and body.get(name) is None for name in clamped if name.startswith("max_"))
    assert capped > 1_000


def test_the_judge_finds_what_is_wrong() -> None:
    body = {"model": "gpt-4o", "input": "x"}
    assert problems(RESPONSES, body) == []
    assert problems(RESPONSES, {**body, "max_output_tokens": 15}) == ["cap too small"]
    assert problems(RESPONSES, {**body, "max_output_tokens": 16_385}) == ["cap too large"]
    assert problems(RESPONSES, {**body, "include": ["reasoning.encrypted_content"]}) == ["encrypted content"]
    chat = {"model": "gpt-4o", "messages": []}
    assert problems(CHAT, {**chat, "metadata": {"a": "b"}, "store": False}) == ["metadata without store"]
    assert problems(CHAT, {**chat, "max_tokens": 5, "max_completion_tokens": 5}) == ["one cap only"]
