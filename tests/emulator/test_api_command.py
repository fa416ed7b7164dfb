"""`make local API=1` as people run it: an environment without an API gets one, with a key and a token to come in with."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.timeout(180)  # app.py takes seconds on a quiet machine
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_key_and_a_token_come_in_and_the_bearers_stay_out_of_process_lists() -> None:
    environment = {name: text for name, text in os.environ.items() if name != "OPENAI_API_KEY"}
    command = [sys.executable, "-m", "emulator", "local", "--env", "dev", "--port", "0", "--api"]
    local = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert local.stdout is not None
    try:
        told = dict(part.split("=", 1) for part in local.stdout.readline().split()[2:])
        lines = (ROOT / "build" / "local.env").read_text().splitlines()
        variables = {name: shlex.split(text)[0] for name, text in (line.split("=", 1) for line in lines)}
        assert (variables["API_URL"], variables["API_KEY"]) == (told["api"], told["api-key"])
        for path, bearer in (("/v1", variables["API_KEY"]), ("/sso/v1", variables["API_TOKEN"])):
            body = {"model": "gpt-6-luna", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
            headers = {"authorization": f"Bearer {bearer}"}
            answer = httpx.post(f"{told['api']}{path}/chat/completions", json=body, headers=headers, timeout=60)
            assert answer.status_code == 200, answer.text
            assert answer.text.endswith("data: [DONE]\n\n")
        processes = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
        assert told["api-key"] not in processes
    finally:
        local.terminate()
        assert local.wait(60) == 0
        local.stdout.close()
