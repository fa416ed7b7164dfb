"""The way into the AWS stand-in: Secrets Manager and DynamoDB for those who hold this run's credentials, nothing else.

MiniStack asks nobody who he is, answers every web page and runs code, so it listens on a socket file in a folder of our
own, and this door is in front: it verifies the signature, names the services, and passes on no header that is not needed.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence

import aiohttp
from aiohttp import web

from emulator.net.listener import Listener, read_body
from emulator.signing.identities import Identity
from emulator.signing.signature import RefusedError, SignedRequest, Verifier

SERVICES = {"secretsmanager": "secretsmanager", "DynamoDB_20120810": "dynamodb"}  # prefix of X-Amz-Target: service
_PASSED = ("authorization", "content-type", "x-amz-target")
_RETURNED = ("content-type", "x-amz-crc32", "x-amzn-requestid", "x-amzn-errortype")


class AwsDoor:
    """All methods belong to the event loop's thread. `socket` is where MiniStack listens."""

    def __init__(self, identities: Sequence[Identity], region: str, socket: str) -> None:
        self._verifiers = {service: Verifier(identities, region, service) for service in SERVICES.values()}
        self._socket = socket
        self._listener = Listener(self._serve)
        self._session: aiohttp.ClientSession | None = None

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self) -> None:
        connector = aiohttp.UnixConnector(self._socket, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await self._listener.start(0)

    async def close(self) -> None:
        await self._listener.close()
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        service = SERVICES.get(request.headers.get("x-amz-target", "").partition(".")[0])
        if request.method != "POST" or request.raw_path != "/" or service is None:
            served = " and ".join(sorted(SERVICES.values()))
            return _refuse("UnknownOperationException", f"Only {served} are served here, by POST to /.")
        body = await read_body(request)
        if body is None:
            return _refuse("RequestEntityTooLargeException", "The request is larger than 6 MB.")
        signed = SignedRequest(
            method=request.method, target=request.raw_path, headers=list(request.headers.items()), body=body
        )
        try:
            self._verifiers[service].verify(signed, datetime.datetime.now(datetime.UTC))
        except RefusedError as refused:
            return _refuse(refused.kind, str(refused))
        return await self._pass_on(request, body)

    async def _pass_on(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
        try:
            async with self._session.post("http://ministack/", data=body, headers=headers) as response:
                kept = {name: response.headers[name] for name in _RETURNED if name in response.headers}
                return web.Response(status=response.status, body=await response.read(), headers=kept)
        except aiohttp.ClientError as error:
            return _refuse("InternalFailure", f"The AWS stand-in is gone: {error}", status=500)


def _refuse(kind: str, message: str, status: int = 400) -> web.Response:
    """An error as these two services write it (AWS JSON 1.1: always 400 for what the caller did)."""
    text = json.dumps({"__type": kind, "message": message})
    headers = {"x-amzn-ErrorType": kind}
    return web.Response(status=status, text=text, content_type="application/x-amz-json-1.1", headers=headers)
