"""CloudFront, as far as the relay can tell: another host in front of the Function URL that adds the origin's header.

Passes everything on but the host (managed policy AllViewerExceptHostHeader), keeps nothing back, and gives up when the
origin is silent for longer than its read timeout. Does not verify, cache, compress or filter: no WAF is here.
docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from emulator.net.listener import Listener

# What belongs to one connection and not to the message: RFC 9110, section 7.6.1. The host is the origin's own.
NOT_PASSED = frozenset({"connection", "host", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})
NO_WEBSOCKETS = {
    "message": "WebSocket and realtime connections are not supported: use POST with stream: true.",
    "type": "invalid_request_error",
    "param": None,
    "code": "websockets_not_supported",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The distribution's origin as configured. `secret` is asked at each request, as a deployment may change it.

    `refuses_websockets`: a function at the edge answers their handshakes, as cdk_app/edge/no_websockets.js does.
    """

    header: str
    secret: Callable[[], str]
    read_timeout: float = 120.0
    refuses_websockets: bool = True


class EdgeDoor:
    """All methods belong to the event loop's thread. `origin` is the Function URL, without a slash at its end."""

    def __init__(self, edge: Edge, origin: str) -> None:
        self._edge = edge
        self._origin = origin
        self._listener = Listener(self._serve)
        self._session: aiohttp.ClientSession | None = None

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self, port: int) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        await self._listener.start(port)

    async def close(self) -> None:
        await self._listener.close()
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._session is not None
        edge_id = secrets.token_urlsafe(42)
        if self._edge.refuses_websockets and "sec-websocket-key" in request.headers:
            headers = {"x-amz-cf-id": edge_id, "x-cache": "FunctionGeneratedResponse from cloudfront"}
            return web.json_response({"error": NO_WEBSOCKETS}, status=426, headers=headers)
        body = await request.read()
        try:
            async with self._session.request(
                request.method,
                yarl.URL(self._origin + request.raw_path, encoded=True),
                data=body or None,
                headers=self._headers(request, edge_id),
                skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._edge.read_timeout),
            ) as answer:
                return await _pass_on(request, answer, edge_id)
        except TimeoutError:
            return _error(504, "The origin did not answer in time.", edge_id)
        except aiohttp.ClientError:
            return _error(502, "The origin could not be reached.", edge_id)

    def _headers(self, request: web.BaseRequest, edge_id: str) -> CIMultiDict[str]:
        headers = CIMultiDict((name, text) for name, text in request.headers.items() if _is_passed(name))
        headers[self._edge.header] = self._edge.secret()  # in place of what a caller may have sent
        headers["x-amz-cf-id"] = edge_id
        headers.add("via", "1.1 local.cloudfront.net (CloudFront)")
        return headers


async def _pass_on(request: web.BaseRequest, answer: aiohttp.ClientResponse, edge_id: str) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    for name, text in answer.headers.items():
        if _is_passed(name):
            response.headers.add(name, text)
    response.headers["x-amz-cf-id"] = edge_id
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        # An answer that has begun can only break off; an end that looks regular would be a lie.
        if request.transport is not None:
            request.transport.close()
    return response


def _is_passed(name: str) -> bool:
    return name.lower() not in NOT_PASSED


def _error(status: int, text: str, edge_id: str) -> web.Response:
    return web.Response(status=status, text=text, headers={"x-amz-cf-id": edge_id, "x-cache": "Error from cloudfront"})
