"""The way into the OpenAI stand-in: who has the key is answered at every endpoint that the relay serves.

Plain conversations are aimock's, with its fixtures and its pace; what aimock cannot make up for any request (tool calls,
JSON by a schema, vectors, pictures, sound) is made up here. A user's own fixtures come before that.
"""

from __future__ import annotations

import email.message
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
from aiohttp import web

from emulator.net.listener import Listener, read_body
from emulator.openai import agent, media, responses, text

Json = dict[str, Any]
EVENTS = "text/event-stream; charset=utf-8"
_NOT_RETURNED = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class OpenAIDoor:
    """All methods belong to the event loop's thread. `aimock` gives its origin, and waits until it serves."""

    def __init__(self, key: str, aimock: Callable[[], str], *, fixtures_first: bool) -> None:
        self._authorization = f"Bearer {key}".encode()
        self._aimock = aimock
        self._fixtures_first = fixtures_first
        self._listener = Listener(self._serve)
        self._session: aiohttp.ClientSession | None = None

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        await self._listener.start(0)

    async def close(self) -> None:
        await self._listener.close()
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        authorization = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(authorization, self._authorization):
            return _error(401, "invalid_api_key", "Incorrect API key provided.")
        content = await read_body(request)
        if content is None:
            return _error(413, "request_too_large", "The request is larger than 6 MB.")
        if self._fixtures_first and request.method == "POST":
            response = await self._ask_aimock(request, content)
            return response or await self._make_up(request, content, always=True)
        return await self._make_up(request, content, always=False)

    async def _make_up(self, request: web.BaseRequest, content: bytes, *, always: bool) -> web.StreamResponse:
        """`always`: also plain text, which otherwise is aimock's."""
        match (request.method, request.path):
            case ("GET", "/v1/models"):
                return web.json_response(media.models())
            case ("POST", "/v1/audio/transcriptions"):
                return await _transcribe(request, _fields(request, content))
            case ("POST", "/v1/images/edits" | "/v1/images/generations"):
                return await _draw(request, _fields(request, content))
            case ("POST", "/v1/embeddings" | "/v1/moderations" | "/v1/audio/speech"):
                return await _media(request, _parse(content))
            case ("POST", "/v1/responses/input_tokens"):
                return web.json_response(responses.input_tokens(_parse(content)))
            case ("POST", "/v1/responses/compact"):
                return web.json_response(responses.compaction(_parse(content)))
            case ("POST", "/v1/chat/completions" | "/v1/responses"):
                body = _parse(content)
                reply = (
                    agent.next_step(body) or text.reply_to(body) or (text.Reply(text=text.SENTENCE) if always else None)
                )
                if reply is not None:
                    return await _converse(request, body, reply)
        response = await self._ask_aimock(request, content)
        return response or _error(404, "not_found", f"The stand-in does not serve {request.method} {request.path}.")

    async def _ask_aimock(self, request: web.BaseRequest, content: bytes) -> web.StreamResponse | None:
        """None when it has no fixture for the request."""
        assert self._session is not None
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        url = self._aimock() + request.raw_path
        try:
            async with self._session.request(request.method, url, data=content or None, headers=headers) as answer:
                if answer.status == 404:
                    return None
                return await _pass_on(request, answer)
        except aiohttp.ClientConnectionError as error:
            return _error(502, "stand_in_gone", f"The OpenAI stand-in (aimock) broke off: {error}")


async def _pass_on(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Without aimock's CORS headers: no page is meant to read this."""
    response = web.StreamResponse(status=answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in _NOT_RETURNED and not name.lower().startswith("access-control-"):
            response.headers.add(name, value)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError):
        # A response that has begun can only break off; an end that looks regular would be a lie.
        if request.transport is not None:
            request.transport.close()
    return response


async def _converse(request: web.BaseRequest, body: Json, reply: text.Reply) -> web.StreamResponse:
    whole, events = (
        (responses.responses, responses.responses_events)
        if request.path == "/v1/responses"
        else (text.chat, text.chat_events)
    )
    if body.get("stream") is True:
        return await _stream(request, events(body, reply))
    return web.json_response(whole(body, reply))


async def _media(request: web.BaseRequest, body: Json) -> web.StreamResponse:
    match request.path:
        case "/v1/embeddings":
            return web.json_response(media.embeddings(body))
        case "/v1/moderations":
            return web.json_response(media.moderations(body))
    sound = media.speech(body)
    if sound is None:
        return _error(400, "unsupported", "The stand-in speaks mp3, wav and pcm: set response_format to one of these.")
    if body.get("stream_format") == "sse":
        return await _stream(request, media.speech_events(sound[1]))
    return web.Response(body=sound[1], content_type=sound[0])


async def _draw(request: web.BaseRequest, body: Json) -> web.StreamResponse:
    if body.get("stream") in (True, "true"):
        kind = "image_edit" if request.path == "/v1/images/edits" else "image_generation"
        return await _stream(request, media.image_events(body, kind))
    return web.json_response(media.image(body))


async def _transcribe(request: web.BaseRequest, fields: Json) -> web.StreamResponse:
    model = str(fields.get("model", ""))
    if fields.get("stream") == "true":
        return await _stream(request, media.transcription_events(model))
    content_type, content = media.transcription(str(fields.get("response_format", "json")), model)
    return web.Response(body=content.encode(), headers={"content-type": content_type})


async def _stream(request: web.BaseRequest, events: Iterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": EVENTS})
    await response.prepare(request)
    for event in events:
        await response.write(event)
    return response


def _fields(request: web.BaseRequest, content: bytes) -> Json:
    """Those of a form or of a body of JSON."""
    content_type = request.headers.get("content-type", "")
    return {**form_fields(content_type, content)} if content_type.startswith("multipart/") else _parse(content)


def form_fields(content_type: str, content: bytes) -> dict[str, str]:
    """The fields of a multipart form that are no files."""
    message = email.message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + content)
    fields = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None:
            payload = part.get_payload(decode=True)
            fields[name] = payload.decode("utf-8", "replace").strip() if isinstance(payload, bytes) else ""
    return fields


def _parse(content: bytes) -> Json:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error(status: int, code: str, message: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
