"""The Function URL: HTTP in, a signed caller, an event; an answer, HTTP out, chunk by chunk as it comes.

Knows HTTP as Lambda's front end speaks it (AuthType AWS_IAM, InvokeMode RESPONSE_STREAM). Knows nothing of processes.
docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html and .../urls-auth.html
"""

from __future__ import annotations

import datetime
import json
import secrets
import uuid
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from emulator.front.delivery import Delivery, Disconnects, Undelivered
from emulator.front.event import Door, function_url_event
from emulator.net.listener import Listener, read_body
from emulator.processes.log import LogSink
from emulator.runtime.environment_pool import EnvironmentPool
from emulator.signing.signature import RefusedError, SignedRequest, Verifier

EVENT_LIMIT = 6_291_556  # what Lambda's own RequestEntityTooLargeException names
URL_ID = "local0relay0function0url0000000"
TOO_LARGE = f"Request must be smaller than {EVENT_LIMIT} bytes for the InvokeFunction operation"


class FunctionUrl:
    """`clock` gives the time signatures are checked against. `counters` counts outcomes by name."""

    def __init__(
        self,
        fleet: EnvironmentPool,
        verifier: Verifier,
        logs: LogSink,
        *,
        disconnects: Disconnects = Disconnects.HIDDEN,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._pool = fleet
        self._delivery = Delivery(fleet, logs, self.counters, disconnects, self._undelivered)
        self._verifier = verifier
        self._logs = logs
        self._disconnects = disconnects
        self._clock = clock
        self._listener = Listener(self._serve, report=logs.platform, cancels=disconnects is Disconnects.TOLD)

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self, port: int) -> None:
        await self._listener.start(port)

    async def close(self) -> None:
        await self._listener.close()

    # -- one request -----------------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id, trace_id = str(uuid.uuid4()), new_trace_id()
        body = await read_body(request)
        if body is None:
            return self._refuse(413, "RequestEntityTooLargeException", TOO_LARGE, request_id)
        signed = SignedRequest(
            method=request.method, target=request.raw_path, headers=list(request.headers.items()), body=body
        )
        now = self._clock()
        try:
            caller = self._verifier.verify(signed, now)
        except RefusedError as refused:
            return self._refuse(403, refused.kind, str(refused), request_id)
        door = Door(
            url_id=URL_ID,
            domain=f"{URL_ID}.lambda-url.{self._pool.function.region}.on.aws",
            trace_id=trace_id,
            request_id=request_id,
            source_ip=request.remote or "127.0.0.1",
            now=now,
        )
        event = function_url_event(signed, caller, door)
        if len(event) > EVENT_LIMIT:
            return self._refuse(413, "RequestEntityTooLargeException", TOO_LARGE, request_id)
        return await self._delivery.invoke(request, event, request_id, trace_id)

    def _undelivered(self, cause: Undelivered, request_id: str) -> web.Response:
        if cause is Undelivered.THROTTLED:
            return self._refuse(429, "TooManyRequestsException", "Rate Exceeded.", request_id)
        return web.Response(status=502, text="Internal Server Error", headers={"x-amzn-RequestId": request_id})

    def _refuse(self, status: int, kind: str, message: str, request_id: str) -> web.Response:
        self.counters[f"refused {status}"] += 1
        headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": kind}
        text = json.dumps({"Message": message})
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def new_trace_id() -> str:
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    return f"Root=1-{now:08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
