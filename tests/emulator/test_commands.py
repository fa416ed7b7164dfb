"""The two commands as people run them: the real app.py, the real bundle, real sockets, another process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator import demo
from emulator.command_line import main
from emulator.fakes.raw_upstream import RawUpstream, chat_chunk, chat_events, chat_stream
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function

pytestmark = pytest.mark.timeout(180)  # app.py takes seconds on a quiet machine
ROOT = Path(__file__).resolve().parent.parent.parent
DOUBLE = ROOT / "tests" / "support" / "doubles" / "raw_runtime.py"
KEY = "sk-developers-own"
BODY = json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    process: subprocess.Popen[str]
    upstream: RawUpstream
    url: str
    region: str
    user: str

    def curl(self, *more: str, user: str = "") -> subprocess.CompletedProcess[bytes]:
        command = ["curl", "-sN", "-H", "content-type: application/json", "-d", BODY, *more]
        if user:
            command += ["--aws-sigv4", f"aws:amz:{self.region}:lambda", "--user", user]
        return subprocess.run(
            [*command, f"{self.url}/v1/chat/completions"], capture_output=True, timeout=30, check=True
        )


def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    environment = {name: text for name, text in os.environ.items() if name != "OPENAI_API_KEY"} | settings
    return subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    word, url, *rest = process.stdout.readline().split()
    assert word == "ready"
    return {"url": url, **dict(part.split("=", 1) for part in rest)}


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in task.joinpath("children").read_text().split()]
    return found


def gone(pids: list[int], within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with RawUpstream() as upstream:
        process = start("local", "--port", "0", "--upstream", upstream.url, OPENAI_API_KEY=KEY)
        try:
            told = ready(process)
            user = f"{told['access-key']}:{told['secret-key']}"
            yield Local(process=process, upstream=upstream, url=told["url"], region=told["region"], user=user)
        finally:
            below = children(process.pid)
            process.send_signal(signal.SIGTERM)
            status = process.wait(20)
            assert process.stdout is not None
            rest = process.stdout.read()
            process.stdout.close()
    assert below
    assert (status, rest, gone(below)) == (0, "", True)


def test_curl_gets_what_the_upstream_sent_byte_for_byte_as_it_comes(local: Local, tmp_path: Path) -> None:
    words = [f"word{number} " for number in range(20)]
    local.upstream.answer(*chat_stream(*words, pause=0.02))
    dump = tmp_path / "head"
    done = local.curl("-D", str(dump), user=local.user)
    assert done.stdout == b"".join(chat_events(*words))
    assert "text/event-stream" in dump.read_text()
    assert local.upstream.requests[-1].header("authorization") == f"Bearer {KEY}"


def test_unsigned_and_wrongly_signed_requests_never_reach_the_relay(local: Local) -> None:
    before, processes = len(local.upstream.requests), children(local.process.pid)
    for user in ("", local.user[:-1] + "x", "AKIANOBODY:" + "x" * 40):
        answer = local.curl("-w", "%{http_code}", user=user).stdout
        assert answer.endswith(b"403")
        assert b'{"Message": "' in answer
    assert (len(local.upstream.requests), children(local.process.pid)) == (before, processes)


PROGRAM = """
import pathlib, sys, time
from emulator.fakes.aws import AwsStandIn
from emulator.runtime.function import Function
from emulator.local_lambda import LocalLambda
from emulator.openai.stand_in import OpenAIStandIn
double = pathlib.Path(sys.argv[1])
function = Function(command=(sys.executable, "-I", "-S", str(double)), task_root=double.parent)
with OpenAIStandIn(key="sk-x"), AwsStandIn(), LocalLambda(function) as relay:
    relay.warm(1)
    print("started", flush=True)
    time.sleep(600)
"""


def test_a_killed_parent_leaves_no_orphans() -> None:
    command = [sys.executable, "-c", PROGRAM, str(DOUBLE)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.stdout.close()
    below = children(process.pid)
    assert len(below) == 3
    process.kill()
    process.wait(10)
    assert gone(below)


def test_the_demo_shows_an_answer_and_what_it_took() -> None:
    process = start("demo", "--prompt", "Does it work?")
    output, _ = process.communicate(timeout=170)
    assert process.returncode == 0
    assert "> Does it work?" in output
    assert "these words travel back through it one by one" in output
    assert "status 200" in output
    assert "first token after" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["local", "--env", "nowhere", "--port", "0"], "'nowhere' failed"),
        (["local", "--set", "NOVALUE"], "--set takes NAME=VALUE"),
        (["local", "--identities", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]


# -- the demo's judgement, with a function that does as it is told -----------------------------------------------------


def asked(events: list[bytes], *end: list[object]) -> demo.DemoResult:
    steps: list[list[object]] = [["begin", None]]
    steps += [["write", event.decode()] for event in events]
    steps += end
    function = Function(
        command=(sys.executable, "-I", "-S", str(DOUBLE)),
        task_root=DOUBLE.parent,
        environment={"STEPS": json.dumps(steps)},
    )
    with LocalLambda(function) as relay:
        return demo.ask(relay, upstream="a double", prompt="?", model="m", out=io.StringIO())


def test_the_demo_is_content_with_a_complete_stream() -> None:
    shown = asked(chat_events("a", "b"), ["end", None])
    assert (shown.complete, shown.chunks, shown.finish_reason, shown.problem) == (True, 4, "stop", "")


@pytest.mark.parametrize(
    ("events", "end"),
    [
        (chat_events("a")[:-1], [["end", None]]),
        ([chat_events("a")[1], b"data: [DONE]\n\n"], [["end", None]]),
        (chat_events("a"), [["kill_self", None]]),
        ([*chat_events("a")[:-1], b'event: error\ndata: {"error":{"message":"cut"}}\n\n'], [["end", None]]),
        ([chat_chunk({"content": "x"})], [["reset", None]]),
    ],
    ids=["no [DONE]", "no finish reason", "broken after the end", "error event", "reset"],
)
def test_the_demo_takes_no_incomplete_stream_for_a_good_one(events: list[bytes], end: list[list[object]]) -> None:
    shown = asked(events, *end)
    assert not shown.complete
    assert shown.problem
