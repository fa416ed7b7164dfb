"""How the OpenAI stand-in plays the model behind a coding agent: by the steps that the user's message lists. Pure.

Each line of the message that begins with "$ " is a command, and what stands from "*** Begin Patch" to "*** End Patch" is a
patch. The stand-in asks the agent for one after the other, by the tools that the agent has for it, and says in the end that
they are done. So an agent's loop can be tried without a model.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from emulator.openai.text import Json, Reply

PROMPT = "$ "
PATCH = ("*** Begin Patch", "*** End Patch")
# What agents call the tool that runs a command, and its parameter.
_NAMES = (
    "exec_command",
    "shell",
    "shell_command",
    "bash",
    "run_command",
    "execute_bash",
    "run_shell_command",
    "terminal",
)
_PARAMETERS = ("cmd", "command", "commands", "script")
# Codex's newer models write JavaScript, which calls the tools: github.com/openai/codex, code mode.
_CODE = "exec"


def next_step(body: Json) -> Reply | None:
    """The next step, or the last word once all are done; None where none is listed or no tool can do it."""
    turns = [turn for turn in body.get("messages") or body.get("input") or () if isinstance(turn, dict)]
    asked = next((index for index in reversed(range(len(turns))) if _steps(turns[index])), None)
    if turns and turns[-1].get("type") == "compaction_trigger":
        return compaction(turns)
    if asked is None:
        return None
    steps, done = _steps(turns[asked]), _done(turns[asked:])
    if done >= len(steps):
        return Reply(text=f"All {len(steps)} steps are done.")
    for tool, namespace in _tools([*(body.get("tools") or ()), *_brought(turns)], ""):
        call = _call(tool, steps[done])
        if call is not None:
            kind: Literal["function", "custom"] = "custom" if tool.get("type") == "custom" else "function"
            name = str(tool.get("function", tool).get("name"))
            return Reply(tool=name, arguments=call, kind=kind, namespace=namespace, number=done + 1)
    return None


def _steps(turn: Json) -> list[str]:
    """Commands and whole patches, in their order."""
    if turn.get("role") != "user":
        return []
    content = turn.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    steps: list[str] = []
    patch: list[str] | None = None
    for line in "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict)).splitlines():
        if line == PATCH[0]:
            patch = []
        if patch is not None:
            patch.append(line)
        elif line.startswith(PROMPT):
            steps.append(line.removeprefix(PROMPT).strip())
        if patch is not None and line == PATCH[1]:
            steps.append("\n".join(patch))
            patch = None
    return steps


def compaction(turns: Sequence[Json]) -> Reply:
    """All that has to be known of `turns`: how many steps are done."""
    asked = next((index for index in reversed(range(len(turns))) if _steps(turns[index])), 0)
    state = {"done": _done(turns[asked:]), "digest": hashlib.sha256(json.dumps(turns).encode()).hexdigest()}
    return Reply(kind="compaction", text=base64.b64encode(json.dumps(state).encode()).decode())


def _done(turns: Sequence[Json]) -> int:
    """How many steps have an output, or had one before the conversation was compacted."""
    outputs = sum(turn.get("role") == "tool" or str(turn.get("type", "")).endswith("_call_output") for turn in turns)
    sealed = [str(turn.get("encrypted_content", "")) for turn in turns if turn.get("type") == "compaction"]
    return int(outputs) + sum(int(json.loads(base64.b64decode(text))["done"]) for text in sealed)


def _brought(turns: Sequence[Json]) -> Iterator[Json]:
    """Tools that come with the input."""
    for turn in turns:
        if turn.get("type") == "additional_tools":
            yield from turn.get("tools") or ()


def _tools(tools: Sequence[Any], namespace: str) -> Iterator[tuple[Json, str]]:
    """Each tool with the namespace that it stands in, "" for none."""
    for tool in tools:
        if tool.get("type") == "namespace":
            yield from _tools(tool.get("tools") or (), str(tool.get("name", "")))
        else:
            yield tool, namespace


def _call(tool: Json, step: str) -> str | None:
    """What the tool is called with to do `step`; None when it does not do such things."""
    function = tool.get("function", tool)
    is_patch = step.startswith(PATCH[0])
    if tool.get("type") == "custom":
        if function.get("name") == _CODE:
            called = f"apply_patch({json.dumps(step)})" if is_patch else f"exec_command({json.dumps({'cmd': step})})"
            return f"text(await tools.{called})"
        return step if is_patch and function.get("name") == "apply_patch" else None
    if is_patch or function.get("name") not in _NAMES:
        return None
    properties = (function.get("parameters") or {}).get("properties") or {}
    for name in _PARAMETERS:
        if name in properties:
            is_list = properties[name].get("type") == "array"
            return json.dumps({name: ["bash", "-lc", step] if is_list else step})
    return None
