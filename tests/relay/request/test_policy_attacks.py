"""Attempts to get past the allow-list, the caps and the stateless rule. What counts is what would be sent to OpenAI.

Every attempt ends in a refusal from the error table, or in bytes that a second, independent reading finds within policy.
"""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from relay.errors import RelayError
from relay.models import Caller, Request
from relay.policies.policy import Policy
from relay.request import upstream_request
from relay.request.policy import RequestPolicy

POLICY = RequestPolicy(models=("gpt-5", "ok", "whisper-1"), max_output_tokens=100, max_choices=2)
# Hosted tools are allowed here, but nothing stored.
TOOLED = RequestPolicy(
    models=("gpt-5",), tools=("function", "code_interpreter", "image_generation", "shell", "namespace", "file_search")
)
CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/a/b")
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
FORM = "multipart/form-data; boundary=b"

Attack = tuple[str, str, bytes]  # what is tried, the path, the body


def send(
    path: str, body: bytes, content_type: str = "application/json", policy: RequestPolicy = POLICY
) -> bytes | None:
    """What would be sent, or None when the request is refused."""
    request = Request(
        id="id", method="POST", path=path, headers={"content-type": content_type}, body=body, caller=CALLER
    )
    try:
        wanted = upstream_request.prepare(request, policy, max_body_bytes=6_000_000, identifier="hash")
        wanted.bound(Policy(), None)
        sent, _ = wanted.body()
    except RelayError as refusal:
        refuses(refusal)
        return None
    assert wanted.endpoint.upstream == path.removeprefix("/v1")
    return sent


def refuses(refusal: RelayError) -> None:
    assert 400 <= refusal.kind.spec.status < 500
    assert len(refusal.body()) < 1000


def body_of(path: str, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]} if path == CHAT else {"input": "hi"}
    return {"model": "gpt-5", **content, **changes}


def encoded(path: str, **changes: Any) -> bytes:
    return json.dumps(body_of(path, **changes)).encode()


# ---- the second reading


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


# Names below which a caller keeps what it likes, beside two lists of ids that refer to nothing.
OWN: tuple[str, ...] = (
    "schema",
    "parameters",
    "input_schema",
    "output_schema",
    "metadata",
    "arguments",
    "env",
    "headers",
    "svg_usage",
)
OWN += ("acknowledged_safety_checks", "pending_safety_checks")


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for name, each in value.items():
            if name not in OWN:
                yield from parts(each)
    elif isinstance(value, list):
        for each in value:
            yield from parts(each)


def is_within(sent: bytes, policy: RequestPolicy) -> None:
    """Fails unless what is sent keeps `policy`, which is never `stateful` here."""
    fields = json.loads(sent, object_pairs_hook=once)
    assert fields["model"] in policy.models
    assert fields.get("stream") in (None, True, False)
    assert type(fields.get("stream")) in (type(None), bool)
    caps = [fields[name] for name in ("max_completion_tokens", "max_tokens", "max_output_tokens") if name in fields]
    assert all(type(cap) is int and 1 <= cap <= policy.max_output_tokens for cap in caps if cap is not None)
    assert any(cap is not None for cap in caps)
    assert fields.get("n") is None or fields["n"] <= policy.max_choices
    assert fields["store"] is False
    assert fields.get("service_tier") in (None, *policy.service_tiers)
    assert not {"previous_response_id", "conversation", "prompt"} & {
        name for name in fields if fields[name] is not None
    }
    assert fields.get("background") in (None, False)
    assert fields.get("web_search_options") is None
    for part in parts({name: value for name, value in fields.items() if name != "id"}):
        assert part.get("model") in (None, *policy.models)
        assert not [
            name for name in part if name.endswith(("file_id", "file_ids", "store_ids", "container_id")) and part[name]
        ]
        assert part.get("type") != "item_reference"
        if part.get("id"):
            assert part.get("type") or part.get("role")
            payload = {
                "reasoning": "encrypted_content",
                "compaction": "encrypted_content",
                "image_generation_call": "result",
            }
            assert part.get(payload.get(str(part.get("type")), "id"))
        for tool in (part.get("tools") or ()) if part.get("type") != "mcp_list_tools" else ():
            assert tool["type"] in policy.tools


# ---- the attempts


def anything(*values: Any) -> tuple[Any, ...]:
    return values


NAMES = (
    "GPT-5|Gpt-5|gpt-5 | gpt-5|gpt-5\n|gpt-5\0|gpt-5\t|\ufeffgpt-5|gpt-5\u200b|gpt\u20115|gpt\u2010-5|gpt\u20135|"
    "gpt-\uff15|\uff47pt-5|g\u0440t-5|gpt-5\u0301|gpt\u00ad-5|gpt-5/../gpt-6|../gpt-6|gpt-5,gpt-6|gpt-5;gpt-6|gpt-5?model=gpt-6|gpt-5#|"
    "openai/gpt-5|models/gpt-5|gpt-5:free|ft:gpt-5:org::id|gpt-5-2025-08-07|gpt-5*|*|.*|gpt%2d5|gpt-5%00||null|undefined|"
    "gpt-6|gpt-5gpt-5|\u202egpt-5|gpt-5\u202c|gpt-5\r\nx: y"
)


def spellings() -> Iterator[Attack]:
    """The forbidden model gpt-6 and misspelt allowed ones, in every disguise."""
    odd = [None, True, 0, 5, 1.5, [], ["gpt-5"], ["gpt-5", "gpt-6"], {}, {"id": "gpt-5"}, {"gpt-5": 1}, "o" * 100_000]
    for name in [*NAMES.split("|"), *odd]:
        for path in (CHAT, RESPONSES):
            yield f"model {name!r:.30}", path, encoded(path, model=name)
    for path in (CHAT, RESPONSES):
        rest = json.dumps(body_of(path))[1:].encode()
        for field in (b'"model":"gpt-6"', b'"mod\\u0065l":"gpt-6"', b'"\\u006dodel":"gpt-6"'):
            yield f"twice {field!r}", path, b"{" + field + b"," + rest
            yield f"twice, last {field!r}", path, b"{" + rest[:-1] + b"," + field + b"}"
        for field in (
            b'"Model":"gpt-6"',
            b'"MODEL":"gpt-6"',
            b'"model ":"gpt-6"',
            b'"model\\u0000":"gpt-6"',
            b'"":"gpt-6"',
        ):
            yield f"beside {field!r}", path, b"{" + field + b"," + rest
    yield "no model", CHAT, b'{"messages":[]}'
    yield "two bodies", CHAT, encoded(CHAT) + encoded(CHAT, model="gpt-6")
    yield "in a list", CHAT, b"[" + encoded(CHAT, model="gpt-6") + b"]"
    yield "a query", CHAT + "?model=gpt-6", encoded(CHAT)


def dear() -> Iterator[Attack]:
    """Fields that cost money."""
    bad_numbers = [0, -1, -(10**30), 10**30, 101, 1e9, 50.0, 1.5, True, False, "5", "101", [], [50], {}, {"a": 1}]
    for path, name in (
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        (CHAT, "max_output_tokens"),
        (RESPONSES, "max_output_tokens"),
        (RESPONSES, "max_tokens"),
        (CHAT, "n"),
    ):
        for number in bad_numbers:
            if (path, name) not in ((CHAT, "max_output_tokens"), (RESPONSES, "max_tokens")):
                yield f"{name} {number!r:.20}", path, encoded(path, **{name: number})
    yield "one cap low, one high", CHAT, encoded(CHAT, max_tokens=1, max_completion_tokens=10**6)
    yield "one cap null, one high", CHAT, encoded(CHAT, max_completion_tokens=None, max_tokens=10**6)
    yield "both caps null", CHAT, encoded(CHAT, max_completion_tokens=None, max_tokens=None)
    yield "cap as exponent", CHAT, encoded(CHAT)[:-1] + b',"max_tokens":1e6}'
    yield "cap twice", CHAT, encoded(CHAT)[:-1] + b',"max_tokens":5,"max_tokens":1000}'
    for tier in ["priority", "flex", "scale", "fast", "Auto", "", "default ", 1, True, [], ["auto"], {}, {"auto": 1}]:
        for path in (CHAT, RESPONSES):
            yield f"tier {tier!r}", path, encoded(path, service_tier=tier)
    for options in anything({}, {"search_context_size": "high"}, [], "x", 1, False):
        yield f"web search {options!r}", CHAT, encoded(CHAT, web_search_options=options)
    for flag in anything("true", "false", 1, 0, 1.0, [], [True], {}, "", "yes"):
        for path in (CHAT, RESPONSES):
            yield f"stream {flag!r}", path, encoded(path, stream=flag)
    for flag in anything(True, 1, 0, 0.0, "true", "", [], {}):
        yield f"background {flag!r}", RESPONSES, encoded(RESPONSES, background=flag)
    for options in anything([], "x", 1, True, {"include_usage": False}, {"include_usage": "no"}, {"include_usage": []}):
        yield f"stream options {options!r}", CHAT, encoded(CHAT, stream=True, stream_options=options)


HOSTED = [
    "web_search",
    "web_search_preview",
    "web_search_2025_08_26",
    "file_search",
    "code_interpreter",
    "mcp",
    "shell",
]
HOSTED += [
    "computer_use_preview",
    "computer",
    "image_generation",
    "local_shell",
    "apply_patch",
    "namespace",
    "tool_search",
]
HOSTED += ["programmatic_tool_calling", "Function", "FUNCTION", "function ", "", "web_search\0", "retrieval"]


def tools() -> Iterator[Attack]:
    for kind in [*HOSTED, None, 1, True, [], ["function"], {"type": "function"}]:
        tool = {"type": kind, "name": "f", "server_url": "https://x", "vector_store_ids": ["vs_1"]}
        for path in (CHAT, RESPONSES):
            yield f"tool {kind!r}", path, encoded(path, tools=[tool])
            yield f"second tool {kind!r}", path, encoded(path, tools=[{"type": "function", "name": "f"}, tool])
        for holder in ("additional_tools", "tool_search_output", "message", "new_item"):
            item = {"type": holder, "role": "developer", "call_id": "c", "tools": [tool]}
            yield f"{holder} {kind!r}", RESPONSES, encoded(RESPONSES, input=[item])
    shapes: tuple[Any, ...] = (
        {},
        {"type": "mcp"},
        "mcp",
        1,
        True,
        [[]],
        ["mcp"],
        [None],
        [[{"type": "mcp"}]],
        [{}],
        [{"function": {}}],
    )
    for given in shapes:
        yield f"tools {given!r}", RESPONSES, encoded(RESPONSES, tools=given)
    nested = {"type": "namespace", "name": "n", "tools": [{"type": "mcp", "server_url": "https://x"}]}
    yield "nested tool", RESPONSES, encoded(RESPONSES, tools=[nested])
    yield (
        "deep tool",
        RESPONSES,
        encoded(RESPONSES, input=[{"type": "x", "content": [{"type": "y", "tools": [nested]}]}]),
    )


REFERENCES: list[Any] = [
    {"type": "input_file", "file_id": "file-1"},
    {"type": "input_image", "file_id": "file-1", "detail": "auto"},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"type": "item_reference", "id": "msg_1"},
    {"id": "msg_1"},
    {"id": "msg_1", "type": None},
    {"id": "msg_1", "type": ""},
    {"id": "msg_1", "role": None},
    {"id": "msg_1", "role": ""},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
    {"type": "image_generation_call", "id": "ig_1"},
    {"type": "image_generation_call", "id": "ig_1", "result": None, "status": "completed"},
    {"type": "compaction", "id": "cmp_1"},
    {"type": ["reasoning"], "id": "rs_1"},
    {"type": {"item_reference": 1}, "id": "msg_1"},
    {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "code": "", "outputs": []},
    {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": "file-1"}},
    {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "file-1"}]},
    {"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]},
    {"role": "user", "content": [{"type": "text", "text": "", "x": [[[{"y": {"file_ids": ["file-1"]}}]]]}]},
    {"role": "assistant", "audio": {"id": "audio_1"}},
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
    {"role": "user", "content": [], "previous_response_id": "resp_1"},
    {"role": "user", "content": [], "new_kind_of_id": "new_1"},
]


def stored() -> Iterator[Attack]:
    for reference in REFERENCES:
        yield f"input {reference!r:.60}", RESPONSES, encoded(RESPONSES, input=[reference])
        yield (
            f"later input {reference!r:.60}",
            RESPONSES,
            encoded(RESPONSES, input=[{"role": "user", "content": ""}, reference]),
        )
        yield f"messages {reference!r:.60}", CHAT, encoded(CHAT, messages=[reference])
        yield f"content {reference!r:.60}", CHAT, encoded(CHAT, messages=[{"role": "user", "content": [reference]}])
        yield f"instructions {reference!r:.60}", RESPONSES, encoded(RESPONSES, instructions=[reference])
        yield (
            f"prediction {reference!r:.60}",
            CHAT,
            encoded(CHAT, prediction={"type": "content", "content": [reference]}),
        )
    tops: dict[str, Any] = {
        "previous_response_id": "resp_1",
        "conversation": {"id": "conv_1"},
        "prompt": {"id": "pmpt_1", "version": "1"},
        "prompt_cache_options": {"comparison_response_id": "resp_1"},
        "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}},
        "attachments": [{"file_id": "file-1"}],
        "audio": {"voice": {"id": "voice_1"}, "format": "mp3"},
        "moderation": {"model": "gpt-6"},
        "moderation ": {"model": ["gpt-5"]},
        "thread_id": "thread_1",
        "vector_store_ids": ["vs_1"],
    }
    for name, value in tops.items():
        for path in (CHAT, RESPONSES):
            yield f"top {name}", path, encoded(path, **{name: value})
            yield (
                f"top {name} as a word",
                path,
                encoded(path, **{name: "x_1"} if name.endswith("_id") else {name: value}),
            )
    for path in (CHAT, RESPONSES):
        for value in ("conv_1", [], {}, 0, False, ""):
            yield f"conversation {value!r}", path, encoded(path, conversation=value)
            yield f"previous {value!r}", path, encoded(path, previous_response_id=value)
        for value in (True, 1, 0, "true", "false", "", [], {}, 1.0):
            yield f"store {value!r}", path, encoded(path, store=value)


ATTACKS = [*spellings(), *dear(), *tools(), *stored()]


@pytest.mark.parametrize(("path", "body"), [attack[1:] for attack in ATTACKS], ids=[attack[0] for attack in ATTACKS])
def test_nothing_outside_policy_is_sent(path: str, body: bytes) -> None:
    sent = send(path, body)
    if sent is not None:
        is_within(sent, POLICY)


def test_there_are_enough_attempts_and_some_are_only_narrowed() -> None:
    passed = [name for name, path, body in ATTACKS if send(path, body) is not None]
    assert len(ATTACKS) > 400
    assert {"one cap low, one high", "both caps null"} <= set(passed)
    assert len(passed) < len(ATTACKS) / 5


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "code_interpreter", "container": "cntr_1"},
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}},
        {"type": "image_generation", "input_image_mask": {"file_id": "file-1"}},
        {"type": "image_generation", "model": "gpt-6"},
        {"type": "image_generation", "svg": {"model": "gpt-6"}},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}},
        {"type": "shell", "environment": {"skills": [{"type": "skill_reference", "skill_id": "skill_1"}]}},
        {"type": "namespace", "tools": [{"type": "mcp", "server_url": "https://x"}]},
        {"type": "namespace", "tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
        {"type": "function", "container": "cntr_1"},
    ],
)
def test_an_allowed_tool_reaches_nothing_stored_and_no_other_model(tool: dict[str, Any]) -> None:
    assert send(RESPONSES, encoded(RESPONSES, tools=[tool]), policy=TOOLED) is None


FINE = [
    (CHAT, {"metadata": {"file_id": "x", "tools": "y"}, "store": False}),
    (
        CHAT,
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"properties": {"file_id": {"id": 1}}}}}
            ]
        },
    ),
    (
        CHAT,
        {"functions": [{"name": "f", "parameters": {"properties": {"file_id": {"id": "x"}, "model": {"type": "x"}}}}]},
    ),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"file_id": {"id": 1}}}}},
    ),
    (CHAT, {"tools": [], "stop": ["file_id"], "user": "u", "logit_bias": {"1": 2}, "modalities": ["text"], "seed": 1}),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {}}]}]}),
    (CHAT, {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": '{"file_id":"x"}'}]}),
    (CHAT, {"messages": [{"role": "user", "content": "file_id previous_response_id item_reference"}]}),
    (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:", "filename": "a"}}]}
            ]
        },
    ),
    (
        CHAT,
        {"tool_choice": {"type": "function", "function": {"name": "f"}}, "previous_response_id": None, "store": False},
    ),
    (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"vector_store_ids": {}}}}]}),
    (RESPONSES, {"tools": [{"type": "custom", "name": "f", "format": {"type": "grammar", "definition": "x"}}]}),
    (
        RESPONSES,
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"properties": {"file_id": {"id": 1}}}}}},
    ),
    (RESPONSES, {"input": [{"type": "message", "role": "assistant", "id": "msg_1", "content": []}]}),
    (RESPONSES, {"input": [{"role": "assistant", "id": "msg_1", "content": "x"}]}),
    (RESPONSES, {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}]}),
    (RESPONSES, {"input": [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}]}),
    (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "c", "output": '{"file_id":"x"}'}]}),
    (
        RESPONSES,
        {"conversation": None, "prompt": None, "background": False, "store": False, "previous_response_id": None},
    ),
    (
        RESPONSES,
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
    ),
]


@pytest.mark.parametrize(("path", "changes"), FINE)
def test_a_caller_may_name_its_own_things_as_it_likes(path: str, changes: dict[str, Any]) -> None:
    sent = send(path, encoded(path, **changes))
    assert sent is not None
    is_within(sent, POLICY)
    assert {**json.loads(sent), **changes} == json.loads(sent)


def field(name: str, value: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


FORMS = {
    "two models": field("model", "whisper-1") + field("model", "gpt-6"),
    "two models, bad first": field("model", "gpt-6") + field("model", "whisper-1"),
    "model and list": field("model", "whisper-1") + field("model[]", "gpt-6"),
    "list only": field("model[]", "gpt-6"),
    "model as a file": field("model", "gpt-6").replace(b'"model"', b'"model"; filename="a"'),
    "other case": field("model", "whisper-1") + field("Model", "gpt-6"),
    "blanks": field("model", " gpt-6 "),
    "line break": field("model", "whisper-1\r\n"),
    "a boundary within": field("model", "whisper-1")
    + field("prompt", "\r\n--b \r\n" + field("model", "gpt-6").decode()),
    "a form within": field("model", "whisper-1")
    + field("prompt", '\r\n--c\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-6\r\n--c--'),
    "after the end": field("model", "whisper-1") + b"--b--\r\n" + field("model", "gpt-6"),
    "before the start": field("model", "gpt-6").replace(b"--b", b"--c") + field("model", "whisper-1"),
    "utf-7": field("model", "+AGc-pt-6"),
    "encoded": field("model", "Z3B0LTY=").replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
    "extended name": b"--b\r\nContent-Disposition: form-data; name*=utf-8''model\r\n\r\ngpt-6\r\n"
    + field("model", "whisper-1"),
    "two names": field("model", "whisper-1").replace(b'"model"', b'"x"; name="model"'),
    "stream 1": field("model", "whisper-1") + field("stream", "1"),
    "stream TRUE": field("model", "whisper-1") + field("stream", "TRUE"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_form_never_says_another_model_than_was_checked(form: bytes) -> None:
    sent = send("/v1/audio/transcriptions", form + b"--b--\r\n", FORM)
    if sent is None:
        return
    boundary = sent[2 : sent.index(b"\r\n")].decode()
    head = f'Content-Type: multipart/form-data; boundary="{boundary}"\r\n\r\n'.encode()
    message = email.message_from_bytes(head + sent, policy=email.policy.HTTP)
    said = [
        part.get_content().rstrip("\r\n")
        for part in message.iter_parts()
        if "model" in str(part["content-disposition"])
    ]
    assert said == ["whisper-1"]


PATHS = """
//v1/chat/completions /v1//chat/completions /v1/./chat/completions /v1/chat/completions/ /v1/chat/../chat
/v1/chat/completions/. /v1/%2e%2e/v1/chat/completions /v1/chat%2fcompletions /v1/chat/completions;x
/v1\\chat\\completions @evil/v1/chat/completions http://evil/v1/chat/completions /V1/chat/completions
/v1/Chat/Completions /v1/chat/completions%20 /v1/chat/completions\0 /v1/chat/completions#x / *
/v1/files /v1/batches /v1/assistants /v1/vector_stores /v1/fine_tuning/jobs /v1/organization/costs
/v1/responses/resp_1 /v1/responses/resp_1/cancel /v1/conversations /v1/containers /v1/completions
/v1/images/variations /v1/audio/translations /v1/videos /v1/chat/completions/chatcmpl-1 /chat/completions
/v1/models /v1/models/x /v1/realtime /v1/realtime/sessions /v1/embeddings/../responses
"""


@pytest.mark.parametrize(
    "path",
    [
        *PATHS.split(),
        "",
        "/v1/" * 20_000,
    ],
)
def test_a_path_that_is_not_in_the_table_sends_nothing(path: str) -> None:
    assert send(path, encoded(CHAT)) is None


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/moderations", {"input": "x"}),
        ("/v1/images/generations", {"prompt": "x"}),
        ("/v1/audio/speech", {"input": "x", "voice": "alloy"}),
    ],
)
@pytest.mark.parametrize("name", ["gpt-6", "OK", "ok ", "", None, ["ok"], {"id": "ok"}, True, 1])
def test_every_endpoint_keeps_the_allow_list(path: str, fields: dict[str, Any], name: Any) -> None:
    assert send(path, json.dumps({**fields, "model": name}).encode()) is None
    assert json.loads(send(path, json.dumps({**fields, "model": "ok"}).encode()) or b"")["model"] == "ok"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/images/generations", {"prompt": "x", "n": 3}),
        ("/v1/images/generations", {"prompt": "x", "n": True}),
        ("/v1/images/generations", {"prompt": "x", "svg": {"model": "gpt-6"}}),
        ("/v1/images/generations", {"prompt": "x", "stream": "true"}),
        ("/v1/images/generations", {"prompt": "x", "image": {"file_id": "file-1"}}),
        ("/v1/audio/speech", {"input": "x", "voice": {"id": "voice_1"}}),
        ("/v1/audio/speech", {"input": "x", "voice": "alloy", "stream_format": "SSE"}),
        ("/v1/audio/speech", {"input": "x", "voice": "alloy", "stream_format": True}),
    ],
)
def test_the_other_endpoints_keep_their_rules(path: str, fields: dict[str, Any]) -> None:
    assert send(path, json.dumps({**fields, "model": "ok"}).encode()) is None
