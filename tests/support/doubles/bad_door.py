"""A proxy in front of an edge that spoils one thing: what `make smoke` has to notice.

with BadDoor(local_lambda, Fault.LATE) as door:
    ... door.url, signed for local_lambda.url ...
"""

from __future__ import annotations

import asyncio
import enum
from types import TracebackType
from typing import Self

import aiohttp
import yarl
from aiohttp import web

from emulator.local_lambda import LocalLambda
from emulator.net.listener import Listener
from emulator.processes.loop_thread import LoopThread


class Fault(enum.Enum):
    """NONE: passes everything on as it comes. The others are what proxies, settings and services have been seen to do."""

    NONE = "passes on"
    BUFFER = "keeps a response until it is complete"
    LATE = "keeps each chunk until the next one comes"
    OPEN = "signs what is not signed"
    LIE = "ends streams cleanly that have not ended"
    IMPATIENT = "closes what has been silent for a while"
    NO_COMMENTS = "drops comments"


IMPATIENCE_SECONDS = 0.3
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host"})


class BadDoor:
    def __init__(self, behind: LocalLambda, fault: Fault) -> None:
        self._behind = behind
        self._fault = fault
        self._listener = Listener(self._serve)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.port}"

    def __enter__(self) -> Self:
        self._loop = LoopThread()
        self._loop.run(self._listener.start(0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._listener.close())
        self._loop.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name: text for name, text in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        if self._fault is Fault.OPEN and "authorization" not in request.headers:
            kind = {"content-type": "application/json"}
            headers = self._behind.sign(request.method, request.path_qs, body=body, headers=kind)
        url = yarl.URL(self._behind.edge_url + request.raw_path, encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self._patience)
        async with (
            aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session,
            session.request(request.method, url, data=body or None, headers=headers) as answer,
        ):
            return await self._pass_on(request, answer)

    @property
    def _patience(self) -> float | None:
        return IMPATIENCE_SECONDS if self._fault is Fault.IMPATIENT else None

    async def _pass_on(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        for name, text in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                response.headers.add(name, text)
        held: list[bytes] = []
        try:
            async for chunk in answer.content.iter_any():
                sent = self._spoiled(chunk)
                if self._fault is Fault.BUFFER:
                    held.append(sent)
                    continue
                if not response.prepared:
                    await response.prepare(request)
                if self._fault is Fault.LATE:
                    held.append(sent)
                    sent = held.pop(0) if len(held) > 1 else b""
                if sent:
                    await response.write(sent)
        except (aiohttp.ClientError, TimeoutError):
            if request.transport is not None:
                request.transport.close()
            return response
        if not response.prepared:
            await response.prepare(request)
        if held:
            await response.write(b"".join(held))
            await asyncio.sleep(0)
        return response

    def _spoiled(self, chunk: bytes) -> bytes:
        if self._fault is Fault.LIE:
            return chunk.replace(b"data: [DONE]\n\n", b"").partition(b"event: error")[0]
        if self._fault is Fault.NO_COMMENTS:
            return chunk.replace(b": keep-alive\n", b"")
        return chunk
