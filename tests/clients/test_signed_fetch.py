"""The signing `fetch` under OpenAI's JavaScript SDK."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.signed_door import REGION, SIGNED_HEADERS, Door

ROOT = Path(__file__).parent.parent.parent

NODE_SDK = """
import OpenAI from "openai";
import { signedFetch } from "./clients/signed_fetch.mjs";
const [url, region, signHost] = process.argv.slice(1);
const fetch = signedFetch({ region, signHost });
const relay = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, fetch });
const messages = [{ role: "user", content: "é" }];
const events = await relay.chat.completions.create({ model: "m", stream: true, messages });
for await (const event of events) console.log(event.choices[0].delta.content);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@pytest.mark.parametrize("host", ["", f"abc.lambda-url.{REGION}.on.aws"])
def test_javascript_sdk_streams_event_by_event(door: Door, host: str) -> None:
    door.host = host
    command = ["node", "--input-type=module", "-e", NODE_SDK, door.url, REGION, *([host] if host else [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        door.go.release()
        seen = []
        for line in process.stdout:
            seen.append(line.strip())
            door.go.release()
    assert seen == ["one", "two", "three", "four"]
    signed = door.requests[0].headers["authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert set(signed.split(";")) <= SIGNED_HEADERS
