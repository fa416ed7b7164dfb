"""What coding agents send: their tools run on their own machine, and an environment allows these by one name.

The requests are shaped as Codex 0.171.0 sent them to a recording server on 27 November 2026, with the texts shortened.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from relay.errors import RelayError
from relay.models import Caller, Request
from relay.request import upstream_request
from relay.request.policy import RequestPolicy
from relay.request.upstream_request import UpstreamRequest

from cdk_app.config.environment import AGENT_TOOLS

CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/a/b")
AGENTS = RequestPolicy(tools=AGENT_TOOLS)
CODEX = RequestPolicy(tools=(*AGENT_TOOLS, "namespace"))
OWN = {"turn_id": "01a21eed-da97-7d13-8df6-ff78031c2f9a"}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"}
FUNCTION = {
    "type": "function",
    "name": "wait",
    "description": "Waits.",
    "strict": False,
    "parameters": {"type": "object"},
}
EXEC = {"type": "custom", "name": "exec", "description": "Runs JavaScript.", "format": GRAMMAR}
GROUPS = [
    {"type": "namespace", "name": "functions", "description": "", "tools": [EXEC, FUNCTION]},
    {"type": "namespace", "name": "clock", "description": "", "tools": [FUNCTION]},
]


def said(role: str, text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": "msg_01a21eed-daf3-7b51-be2d-e4140cad072f",
        "role": role,
        "content": [{"type": "output_text" if role == "assistant" else "input_text", "text": text}],
        "internal_chat_message_metadata_passthrough": OWN,
    }


CALL = {"id": "ctc_1", "call_id": "call_1", "name": "exec", "namespace": "functions", "status": "completed"}
OUTPUT = [{"type": "input_text", "text": "Script completed"}, {"type": "input_text", "text": "README.md"}]
TURN: dict[str, Any] = {
    "model": "gpt-6-luna",
    "stream": True,
    "input": [
        {"type": "additional_tools", "id": "at_01a21eed-daf3-7b51", "role": "developer", "tools": GROUPS},
        said("developer", "You are Codex."),
        said("user", "What is here?"),
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "custom_tool_call", "input": "text(1)", **CALL},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": OUTPUT},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "context": "all_turns"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "01a21eed-da61-7e61-a3c1-4647f04ae6e8",
    "text": {"verbosity": "low"},
    "client_metadata": {"session_id": "01a21eed", "thread_id": "01a21eed", **OWN},
}


def prepared(fields: dict[str, Any], policy: RequestPolicy) -> UpstreamRequest:
    request = Request(id="id", method="POST", path="/v1/responses", body=json.dumps(fields).encode(), caller=CALLER)
    return upstream_request.prepare(request, policy, max_body_bytes=10**6, identifier="hash")


def refusal(fields: dict[str, Any], policy: RequestPolicy) -> RelayError:
    with pytest.raises(RelayError) as caught:
        prepared(fields, policy)
    return caught.value


def test_a_turn_of_codex_is_sent_as_it_is_and_bounded() -> None:
    wanted = prepared(TURN, CODEX)
    assert (wanted.contents.unbounded, wanted.contents.fills_context) == ("", False)
    assert wanted.fields == {**TURN, "safety_identifier": "hash"}


def test_where_namespaces_are_not_allowed_the_refusal_names_the_setting() -> None:
    refused = refusal(TURN, AGENTS)
    assert refused.param == "input[0].tools[0]"
    assert "'namespace'" in refused.text
    assert "(setting `tools`)" in refused.text


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "c"},
        {"type": "apply_patch"},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "tool_search", "execution": "client"},
    ],
    ids=lambda tool: tool["type"],
)
def test_tools_of_agents_run_at_the_callers_and_cost_nothing_of_their_own(tool: dict[str, Any]) -> None:
    assert prepared({"model": "m", "input": "x", "tools": [tool]}, AGENTS).contents.unbounded == ""
    grouped = {"type": "namespace", "name": "n", "description": "", "tools": [tool]}
    assert prepared({"model": "m", "input": "x", "tools": [grouped]}, CODEX).contents.unbounded == ""


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "mcp", "server_url": "https://example.com"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation"},
        {"type": "shell"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "shell", "environment": "local-ish"},
        {"type": "tool_search"},
        {"type": "tool_search", "execution": "server"},
        {"type": "shell:local"},
    ],
    ids=str,
)
def test_what_openai_would_run_is_no_tool_of_an_agents(tool: dict[str, Any]) -> None:
    for fields in ({"tools": [tool]}, {"tools": [{"type": "namespace", "name": "n", "tools": [tool]}]}):
        refused = refusal({"model": "m", "input": "x", **fields}, CODEX)
        assert "(setting `tools`)" in refused.text


def test_an_environment_may_allow_a_hosted_tool_beside_them() -> None:
    searching = RequestPolicy(tools=(*AGENT_TOOLS, "web_search"))
    wanted = prepared({"model": "m", "input": "x", "tools": [{"type": "web_search"}]}, searching)
    assert "'web_search'" in wanted.contents.unbounded  # so a budget in dollars still refuses it
