"""The signing proxy as a process of its own, in front of a door that verifies signatures."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.signed_door import CHAT, Door, sse, unsigned

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Running:
    url: str
    process: subprocess.Popen[str]


@pytest.fixture
def proxy(door: Door, request: pytest.FixtureRequest) -> Iterator[Running]:
    more = getattr(request, "param", [])
    command = [sys.executable, "-m", "clients.signing_proxy", "--target", door.url, "--port", "0", *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[0] == "ready"
        yield Running(url=ready[1].removesuffix("/v1"), process=process)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_proxy_signs_and_streams_event_by_event(door: Door, proxy: Running) -> None:
    seen = b""
    door.go.release()
    with httpx.stream("POST", proxy.url + CHAT, json=unsigned()) as answer:
        for piece in answer.iter_raw():
            seen += piece
            door.go.release()
    assert seen == b"".join(map(sse, ("one", "two", "three", "four"))) + b"data: [DONE]\n\n"
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-request-id"] == "r1"


def test_proxy_passes_a_cut_stream_on_as_cut(door: Door, proxy: Running) -> None:
    door.go.release(4)
    with (
        httpx.stream("POST", proxy.url + CHAT, json=unsigned("cut")) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        answer.read()


def test_proxy_leaves_when_its_caller_leaves(door: Door, proxy: Running) -> None:
    door.go.release()
    with httpx.stream("POST", proxy.url + CHAT, json=unsigned()) as answer:
        next(answer.iter_raw())
    assert door.left.wait(10)


def test_proxy_keeps_what_is_not_the_callers_to_send(door: Door, proxy: Running) -> None:
    door.go.release(4)
    headers = {"authorization": "Bearer sk-mine", "cookie": "a=b", "openai-beta": "assistants=v2"}
    httpx.post(proxy.url + CHAT, json=unsigned(), headers=headers)
    sent = door.requests[0].headers
    assert sent["openai-beta"] == "assistants=v2"
    assert sent["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert "cookie" not in sent


@pytest.mark.parametrize("proxy", [["--target", "http://127.0.0.1:1"]], indirect=True)
def test_proxy_answers_in_openai_shape_when_the_target_is_not_there(proxy: Running) -> None:
    answer = httpx.post(proxy.url + CHAT, json=unsigned())
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "signing_proxy"


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
def test_proxy_refuses_web_pages(door: Door, proxy: Running, headers: dict[str, str]) -> None:
    assert httpx.post(proxy.url + CHAT, json=unsigned(), headers=headers).status_code == 403
    assert door.requests == []


def test_proxy_refuses_what_lambda_would(door: Door, proxy: Running) -> None:
    answer = httpx.post(proxy.url + CHAT, content=b" " * (6 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "signing_proxy"
    assert door.requests == []


@pytest.mark.parametrize("proxy", [["--token", "s3same"]], indirect=True)
def test_proxy_wants_its_token(door: Door, proxy: Running) -> None:
    door.go.release(4)
    url = proxy.url + CHAT
    assert httpx.post(url, json=unsigned()).status_code == 401
    assert httpx.post(url, json=unsigned(), headers={"authorization": "Bearer other"}).status_code == 401
    assert httpx.post(url, json=unsigned(), headers={"authorization": "Bearer s3same"}).status_code == 200


def test_proxy_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    command = [sys.executable, "-m", "clients.signing_proxy", "--target", "https://x.example", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "credentials" in done.stderr
