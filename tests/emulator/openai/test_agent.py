"""The steps that a user's message lists, asked for one after the other by the tools that an agent brings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.openai.agent import next_step
from emulator.openai.text import Reply

PATCH = "*** Begin Patch\n*** Add File: a.txt\n+$ not a command\n*** End Patch"
ASKED = f"Please:\n$ ls -la\n{PATCH}\n$ cat a.txt\nThat costs $ 5."
CODE = {"type": "custom", "name": "exec"}
GROUPED = {"type": "namespace", "name": "functions", "tools": [{"type": "function", "name": "wait"}, CODE]}
SHELL = {"type": "function", "name": "shell", "parameters": {"properties": {"command": {"type": "array"}}}}
BASH = {"type": "function", "function": {"name": "bash", "parameters": {"properties": {"command": {"type": "string"}}}}}


def step(done: int, tools: list[Any], *, brought: bool = False) -> Reply | None:
    """What is asked for once `done` steps have an output."""
    turns: list[Any] = [{"type": "additional_tools", "tools": tools}] if brought else []
    turns.append({"role": "user", "content": [{"type": "input_text", "text": ASKED}]})
    for number in range(done):
        turns += [
            {"type": "custom_tool_call", "call_id": str(number)},
            {"type": "custom_tool_call_output", "output": "ok"},
        ]
    return next_step({"input": turns, "tools": [] if brought else tools})


@pytest.mark.parametrize("brought", [False, True])
def test_codex_is_asked_in_its_own_language(brought: bool) -> None:
    calls = [step(done, [GROUPED], brought=brought) for done in range(4)]
    assert [call.arguments if call else None for call in calls[:3]] == [
        'text(await tools.exec_command({"cmd": "ls -la"}))',
        f"text(await tools.apply_patch({json.dumps(PATCH)}))",
        'text(await tools.exec_command({"cmd": "cat a.txt"}))',
    ]
    assert [(call.kind, call.tool, call.namespace, call.call_id) for call in calls if call and call.tool] == [
        ("custom", "exec", "functions", f"call_stand_in_{number}") for number in (1, 2, 3)
    ]
    assert calls[3] == Reply(text="All 3 steps are done.")


def test_a_function_that_runs_commands_is_called_by_its_schema() -> None:
    shell, patch = step(0, [SHELL]), step(1, [{"type": "custom", "name": "apply_patch"}, SHELL])
    assert shell
    assert patch
    assert json.loads(shell.arguments) == {"command": ["bash", "-lc", "ls -la"]}
    assert (patch.tool, patch.kind, patch.arguments) == ("apply_patch", "custom", PATCH)


def test_a_chat_is_asked_as_well_and_from_its_last_list_of_steps() -> None:
    first, again = {"role": "user", "content": "$ ls"}, {"role": "user", "content": "$ pwd\n$ whoami"}
    ran = [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "ok"}]
    asked = next_step({"messages": [first, *ran, again, *ran], "tools": [BASH]})
    assert asked
    assert (asked.tool, json.loads(asked.arguments)) == ("bash", {"command": "whoami"})


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_compaction_keeps_what_was_done(before: int) -> None:
    user = {"role": "user", "content": ASKED}
    sealed = next_step(
        {"input": [user, *[{"type": "custom_tool_call_output"}] * before, {"type": "compaction_trigger"}]}
    )
    assert sealed
    assert sealed.kind == "compaction"
    item = {"type": "compaction", "encrypted_content": sealed.text}
    assert next_step({"input": [user, item], "tools": [CODE]}) == step(before, [CODE])
    again = next_step({"input": [user, item, {"type": "custom_tool_call_output"}], "tools": [CODE]})
    assert again == step(before + 1, [CODE])


@pytest.mark.parametrize(
    "body",
    [
        {"input": "$ ls", "tools": [CODE]},
        {"input": [{"role": "user", "content": "Costs 5 $ each."}], "tools": [CODE]},
        {"input": [{"role": "assistant", "content": "$ ls"}], "tools": [CODE]},
        {"input": [{"role": "user", "content": "$ ls"}], "tools": [{"type": "function", "name": "f"}]},
        {"input": [{"role": "user", "content": "$ ls"}]},
        {},
    ],
)
def test_what_lists_no_step_or_brings_no_tool_for_it_is_not_an_agents(body: dict[str, Any]) -> None:
    assert next_step(body) is None
