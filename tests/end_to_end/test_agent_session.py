"""A coding agent's session of more than twenty turns through the local Lambda, as Codex 0.171.0 has it.

The agent's side is played here: it runs what it is asked to run, sends its whole history with each turn, and has it compacted
on the way. The model's side is the stand-in's: it asks for the steps that the user listed, one after the other.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from botocore.credentials import Credentials

from cdk_app.config.environment import AGENT_TOOLS
from clients import EXAMPLE_MODEL
from clients.signed_openai import NO_KEY, LambdaAuth
from clients.signing import Signer
from emulator.fakes.aws import AwsStandIn
from emulator.local_lambda import LocalLambda
from emulator.openai.stand_in import OpenAIStandIn
from emulator.runtime.function import Function

KEY = "sk-" + "x" * 40
STEPS = [f"echo step-{number} >> log.txt; tail -1 log.txt" for number in range(24)]
EXEC = {"type": "custom", "name": "exec", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"}}
GROUP = {"type": "namespace", "name": "functions", "description": "", "tools": [EXEC]}
BROUGHT = {"type": "additional_tools", "role": "developer", "tools": [GROUP]}
COMPACT_AFTER = 10


@pytest.fixture
def sdk(bundle: Path, lambda_python: Path) -> Iterator[openai.OpenAI]:
    with AwsStandIn() as aws, OpenAIStandIn(key=KEY) as stand_in:
        environment = {
            **aws.environment(),
            "OPENAI_BASE_URL": stand_in.url,
            "OPENAI_SECRET_ARN": aws.put_secret(KEY),
            "REQUEST_POLICY": json.dumps({"tools": [*AGENT_TOOLS, "namespace"]}),
        }
        function = Function.of_bundle(bundle, python=lambda_python, environment=environment, timeout=30)
        with LocalLambda(function) as local:
            me = local.identities[0]
            signer = Signer(credentials=Credentials(me.access_key, me.secret_key), region=local.region)
            http = openai.DefaultHttpxClient(auth=LambdaAuth(signer))
            with openai.OpenAI(base_url=f"{local.url}/v1", api_key=NO_KEY, http_client=http, max_retries=0) as client:
                yield client


def turn(sdk: openai.OpenAI, history: list[Any]) -> list[Any]:
    """The items of one streamed response."""
    events = sdk.responses.create(
        model=EXAMPLE_MODEL,
        input=[BROUGHT, *history],  # type: ignore[list-item]
        stream=True,
        store=False,
        include=["reasoning.encrypted_content"],
        extra_body={"client_metadata": {"thread_id": "t"}},
    )
    last: Any = list(events)[-1]
    assert last.type == "response.completed"
    return [item.to_dict(mode="json", warnings=False) for item in last.response.output]


def run(call: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the agent does with a call of its tool: the command in the JavaScript is run."""
    code = re.fullmatch(r"text\(await tools\.exec_command\((.*)\)\)", call["input"])
    assert code
    command = json.loads(code[1])["cmd"]
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    output = [{"type": "input_text", "text": done.stdout}]
    return {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": output}


def test_a_session_of_more_than_twenty_turns_with_tools_and_a_compaction(sdk: openai.OpenAI, tmp_path: Path) -> None:
    asked = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Do:\n" + listed()}]}
    history: list[Any] = [asked]
    turns = 0
    while True:
        if turns == COMPACT_AFTER:
            (sealed,) = turn(sdk, [*history, {"type": "compaction_trigger"}])
            assert sealed["type"] == "compaction"
            history = [asked, sealed]
        (item,) = turn(sdk, history)
        turns += 1
        if item["type"] == "message":
            break
        assert (item["type"], item["namespace"], item["name"]) == ("custom_tool_call", "functions", "exec")
        history += [item, run(item, tmp_path)]
    assert turns == len(STEPS) + 1
    assert tmp_path.joinpath("log.txt").read_text().split() == [f"step-{number}" for number in range(len(STEPS))]
    assert item["content"][0]["text"] == f"All {len(STEPS)} steps are done."


def listed() -> str:
    return "\n".join(f"$ {step}" for step in STEPS)


def test_a_hosted_tool_among_the_agents_is_refused_with_the_setting(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"'web_search'.*\(setting `tools`\)"):
        sdk.responses.create(model=EXAMPLE_MODEL, input="x", tools=[{"type": "web_search"}])
