"""The clients against a door that verifies signatures from their specification, not with botocore."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote

import httpx
import openai
import pytest
from aiohttp import web
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError, NoRegionError
from openai.types.chat import ChatCompletionMessageParam

from clients import smoke
from clients.signed_openai import LambdaAuth, async_client, client
from clients.signing import Signer, endpoint, signer

ROOT = Path(__file__).parent.parent.parent
REGION = "eu-central-1"
SECRET = "a-secret-of-forty-characters-for-the-tests"
SIGNED_HEADERS = {"content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
CHAT = "/v1/chat/completions"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


def sse(text: str) -> bytes:
    chunk = {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }  # fmt: skip
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def refusal(request: web.Request, body: bytes, host: str) -> str:
    """Why the signature does not hold, or "".

    Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return "unsigned"
    parts = dict(item.strip().split("=", 1) for item in rest.split(","))
    _, date, region, service, _ = scope = parts["Credential"].split("/")
    if (region, service) != (REGION, "lambda"):
        return f"scope {region}/{service}"
    names = parts["SignedHeaders"].split(";")
    values = {**{k.lower(): v for k, v in request.headers.items()}, "host": host}
    path, _, query = request.raw_path.partition("?")
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(query, True))
    canonical = "\n".join(
        (
            request.method,
            quote(path, safe="/-_.~"),
            "&".join(f"{k}={v}" for k, v in pairs),
            *(f"{name}:{' '.join(values[name].split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        )
    )
    key = f"AWS4{SECRET}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((scheme, values["x-amz-date"], "/".join(scope[1:]), digest))
    good = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(good, parts["Signature"]) else f"signature over {names}"


@dataclass
class Door:
    """A Function URL, and behind it an OpenAI whose next event is sent only when `go` is released."""

    host: str = ""  # what signatures must be made for; "" is its own address
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    streaming: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def run(self, ready: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application(client_max_size=10**8)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*runner.addresses[0][:2])
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def stop(self) -> None:
        self.go.release(1000)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(request)
        self.bodies.append(body)
        why = refusal(request, body, self.host or request.host)
        if why:
            return web.json_response({"Message": f"Forbidden: {why}"}, status=403)
        if request.path != CHAT:
            return self._error(404)
        try:
            asked = json.loads(body)
        except ValueError:
            return self._error(400)
        if asked["model"] == "gone":
            return web.Response(status=302, headers={"location": "http://127.0.0.1:1/elsewhere"})
        return await self._stream(request, asked["model"])

    async def _stream(self, request: web.Request, model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "x-request-id": "r1"})
        await response.prepare(request)
        self.streaming.set()
        try:
            for text in ("one", "two", "three", "four"):
                await asyncio.get_running_loop().run_in_executor(None, self.go.acquire)
                await response.write(sse(text))
                if model == "cut" and request.transport is not None:
                    request.transport.abort()
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
        return response

    @staticmethod
    def _error(status: int) -> web.Response:
        error = {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
        return web.json_response({"error": error}, status=status)


@pytest.fixture
def door() -> Iterator[Door]:
    door, ready = Door(), threading.Event()
    thread = threading.Thread(target=door.run, args=(ready,))
    thread.start()
    assert ready.wait(10)
    yield door
    door.stop()
    thread.join(10)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


def test_sdk_streams_event_by_event(door: Door) -> None:
    with client(door.url) as relay:
        events = relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        seen = []
        door.go.release()
        for event in events:
            # The next event does not exist yet: one that arrives has not waited for another.
            seen.append(event.choices[0].delta.content)
            door.go.release()
    assert seen == ["one", "two", "three", "four"]


def test_only_headers_that_no_hop_changes_are_signed(door: Door) -> None:
    door.go.release(4)
    with client(door.url) as relay:
        list(relay.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    authorization = door.requests[0].headers["authorization"]
    assert set(authorization.split("SignedHeaders=")[1].split(",")[0].split(";")) == SIGNED_HEADERS


def test_asyncio_sdk_is_signed_too(door: Door) -> None:
    door.go.release(4)

    async def ask() -> list[str | None]:
        async with async_client(door.url) as relay:
            events = await relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return [event.choices[0].delta.content async for event in events]

    assert asyncio.run(ask()) == ["one", "two", "three", "four"]


def test_signs_for_the_function_url_when_sent_to_a_distribution(door: Door) -> None:
    door.host = f"abc.lambda-url.{REGION}.on.aws"
    door.go.release(8)
    with client(door.url, sign_host=door.host) as relay:
        list(relay.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    with client(door.url) as relay, pytest.raises(openai.PermissionDeniedError):
        relay.chat.completions.create(model="m", messages=MESSAGES, stream=True)


def test_each_try_is_signed_anew(door: Door) -> None:
    class Rotating(Credentials):  # type: ignore[misc]
        def get_frozen_credentials(self) -> Credentials:
            self.access_key = f"AKIA{len(door.requests)}"
            return Credentials(self.access_key, SECRET)

    signs = Signer(credentials=Rotating("", SECRET), region=REGION)
    door.go.release(8)
    with openai.DefaultHttpxClient(auth=LambdaAuth(signs)) as http:
        relay = openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", http_client=http)
        for _ in range(2):
            list(relay.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    keys = [request.headers["authorization"].split("Credential=")[1].split("/")[0] for request in door.requests]
    assert keys == ["AKIA0", "AKIA1"]


def test_signature_headers_do_not_follow_a_redirect(door: Door) -> None:
    with client(door.url, region=REGION) as relay, pytest.raises(openai.APIStatusError) as raised:
        relay.chat.completions.create(model="gone", messages=MESSAGES)
    assert raised.value.status_code == 302


@pytest.mark.parametrize("query", ["a=b&a=a", "b=%2F&a=x%20y", "empty=", "u=%C3%A9&t=~-._"])
def test_query_is_signed_canonically(door: Door, query: str) -> None:
    url = f"{door.url}/v1/models?{query}"
    signed = signer(door.url).sign("GET", url, b"")
    assert httpx.get(url, headers=signed).status_code == 404


def test_path_with_escapes_is_signed(door: Door) -> None:
    url = f"{door.url}/v1/models/ft%3Agpt%20x"
    assert httpx.get(url, headers=signer(door.url).sign("GET", url, b"")).status_code == 404


def test_region_is_read_from_the_function_url() -> None:
    assert signer("https://abc.lambda-url.ap-south-1.on.aws/").region == "ap-south-1"
    assert signer("https://d1.cloudfront.net", sign_host="abc.lambda-url.us-east-2.on.aws").region == "us-east-2"
    assert signer("https://relay.example.com").region == REGION
    assert signer("https://abc.lambda-url.ap-south-1.on.aws/", region="eu-west-1").region == "eu-west-1"


def test_missing_credentials_and_region_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(NoRegionError):
        signer("https://relay.example.com")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NoCredentialsError):
        signer("https://abc.lambda-url.ap-south-1.on.aws/")


@pytest.mark.parametrize("url", ["https://h", "https://h/", "https://h/v1", "https://h/v1/"])
def test_endpoint_is_found_in_every_way_of_writing_it(url: str) -> None:
    assert endpoint(url) == "https://h"


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


def unsigned(model: str = "m") -> dict[str, object]:
    return {"model": model, "messages": MESSAGES, "stream": True}


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


def findings(door: Door) -> dict[str, bool]:
    with httpx.Client() as http:
        at = smoke.Endpoint(url=door.url, model="m", http=http, signer=signer(door.url))
        return {finding.promise: finding.kept for finding in smoke.check(at)}


def test_smoke_sees_what_is_promised(door: Door) -> None:
    pacing = threading.Thread(target=_pace, args=(door,))
    pacing.start()
    seen = findings(door)
    pacing.join()
    assert [promise for promise, kept in seen.items() if not kept] == []


def _pace(door: Door) -> None:
    """Lets the four events out 50 ms apart: what the check sees is then separate on a busy machine, too."""
    assert door.streaming.wait(10)
    pause = threading.Event()
    for _ in range(4):
        pause.wait(0.05)
        door.go.release()


def test_smoke_sees_a_buffered_stream() -> None:
    together = [smoke.Arrival(at=1.0, events=20), smoke.Arrival(at=1.0001, events=10)]
    assert not smoke.cadence(together, 0.1).kept
    apart = [smoke.Arrival(at=0.02 * number, events=1) for number in range(30)]
    assert smoke.cadence(apart, 0.1).kept
    assert not smoke.cadence([], 0.1).kept


def test_smoke_sees_an_unlocked_door() -> None:
    def open_door(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    with httpx.Client(transport=httpx.MockTransport(open_door)) as http:
        at = smoke.Endpoint(url="http://x", model="m", http=http, signer=signer("http://x"))
        assert not any(finding.kept for finding in smoke.check(at))


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


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_signs_the_way_the_readme_says(door: Door) -> None:
    door.go.release(4)
    command = [
        "curl", "-sN", "--aws-sigv4", f"aws:amz:{REGION}:lambda", "--user", f"AKIAEXAMPLE:{SECRET}",
        "-H", "x-amz-security-token: a-session-token", "-H", "content-type: application/json",
        "-d", json.dumps(unsigned()), door.url + CHAT,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.endswith(b"data: [DONE]\n\n")
