"""The Function URL: HTTP in, a signed caller, an event; an answer, HTTP out, chunk by chunk as it comes.

Knows HTTP as Lambda's front end speaks it (AuthType AWS_IAM, InvokeMode RESPONSE_STREAM). Knows nothing of processes.
docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html and .../urls-auth.html
"""

from __future__ import annotations

import asyncio
import datetime
import enum
import json
import secrets
import uuid
from collections import Counter
from collections.abc import Callable

from aiohttp import HttpVersion11, web

from emulator.front.event import Door, function_url_event
from emulator.net.listener import Listener, read_body
from emulator.processes.log import LogSink
from emulator.runtime import prelude
from emulator.runtime.environment_pool import EnvironmentPool, InitFailedError, ThrottledError
from emulator.runtime.execution_environment import Environment
from emulator.runtime.invocation import Ending, InvocationResponse
from emulator.signing.signature import RefusedError, SignedRequest, Verifier

EVENT_LIMIT = 6_291_556  # what Lambda's own RequestEntityTooLargeException names
URL_ID = "local0relay0function0url0000000"
TOO_LARGE = f"Request must be smaller than {EVENT_LIMIT} bytes for the InvokeFunction operation"


class Disconnects(enum.Enum):
    """Whether the function learns that its caller left. Lambda never tells it, and bills to the end."""

    HIDDEN = "hidden"
    TOLD = "told"


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
        return await self._invoke(request, event, request_id, trace_id)

    async def _invoke(
        self, request: web.BaseRequest, event: bytes, request_id: str, trace_id: str
    ) -> web.StreamResponse:
        try:
            environment, answer = await self._pool.invoke(event, request_id, trace_id)
        except ThrottledError:
            return self._refuse(429, "TooManyRequestsException", "Rate Exceeded.", request_id)
        except InitFailedError as failed:
            self._logs.platform(f"RequestId: {request_id} init failed: {failed.outcome.message}")
            return self._broken(request_id, failed.outcome.ending)
        self.counters["invoked"] += 1
        try:
            return await self._pass_on(request, answer, request_id, trace_id)
        except ConnectionError:
            self._caller_left(environment, answer)
            return web.Response(status=502)  # nobody reads it; aiohttp takes an exception for a bug and logs it
        except asyncio.CancelledError:
            self._caller_left(environment, answer)
            raise

    async def _pass_on(
        self, request: web.BaseRequest, answer: InvocationResponse, request_id: str, trace_id: str
    ) -> web.StreamResponse:
        reader = prelude.PreludeReader()
        body = await answer.read()
        if answer.content_type != prelude.CONTENT_TYPE:
            reader.prelude = prelude.Prelude(
                status=200, headers=(("content-type", answer.content_type or "application/octet-stream"),)
            )
        try:
            body = reader.feed(body)
            while reader.prelude is None and (more := await answer.read()):
                body = reader.feed(more)
        except prelude.InvalidPreludeError as invalid:
            self._logs.platform(f"WARNING RequestId: {request_id} invalid prelude: {invalid}")
            answer.discard()
            return self._broken(request_id, Ending.REFUSED)
        if reader.prelude is None or (answer.size == 0 and failed(answer)):
            return self._broken(request_id, answer.outcome.ending if answer.outcome else Ending.RESET)
        response = begin(reader.prelude, request_id, trace_id)
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        return await self._stream(request, answer, response, body)

    async def _stream(
        self, request: web.BaseRequest, answer: InvocationResponse, response: web.StreamResponse, body: bytes
    ) -> web.StreamResponse:
        await response.prepare(request)
        while True:
            if body:
                await response.write(body)
            body = await answer.read()
            if not body:
                break
        outcome = answer.outcome
        assert outcome is not None
        self.counters[outcome.ending.value] += 1
        if outcome.ending is not Ending.COMPLETE:
            self._logs.platform(f"stream broken off: {outcome.ending.value} {outcome.error_type} {outcome.message}")
            if request.transport is not None:
                request.transport.close()  # sends what is buffered, then ends without the last chunk
        return response

    def _caller_left(self, environment: Environment, answer: InvocationResponse) -> None:
        self.counters[Ending.CALLER_LEFT.value] += 1
        if self._disconnects is Disconnects.TOLD and answer.outcome is None:
            environment.api.hang_up()
        answer.discard()

    def _broken(self, request_id: str, ending: Ending) -> web.Response:
        """The function failed before an answer began: the caller learns nothing but that."""
        self.counters[ending.value] += 1
        headers = {"x-amzn-RequestId": request_id}
        return web.Response(status=502, text="Internal Server Error", headers=headers)

    def _refuse(self, status: int, kind: str, message: str, request_id: str) -> web.Response:
        self.counters[f"refused {status}"] += 1
        headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": kind}
        text = json.dumps({"Message": message})
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def begin(head: prelude.Prelude, request_id: str, trace_id: str) -> web.StreamResponse:
    response = web.StreamResponse(status=head.status)
    for name, text in head.headers:
        response.headers.add(name, text)
    if "content-type" not in response.headers:
        response.headers["content-type"] = "application/octet-stream"
    response.headers["x-amzn-RequestId"] = request_id
    response.headers["X-Amzn-Trace-Id"] = trace_id
    return response


def failed(answer: InvocationResponse) -> bool:
    return answer.outcome is not None and answer.outcome.ending is not Ending.COMPLETE


def new_trace_id() -> str:
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    return f"Root=1-{now:08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
