"""A Function URL that verifies signatures from their specification, not with botocore, and an OpenAI behind it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

from aiohttp import web
from openai.types.chat import ChatCompletionMessageParam

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
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, auto_decompress=False)
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
        if request.headers.get("upgrade") == "websocket":
            return self._error(426, "websockets_not_supported")
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
    def _error(status: int, code: str | None = None) -> web.Response:
        error = {"message": "no", "type": "invalid_request_error", "param": None, "code": code}
        return web.json_response({"error": error}, status=status)


def unsigned(model: str = "m") -> dict[str, object]:
    return {"model": model, "messages": MESSAGES, "stream": True}
