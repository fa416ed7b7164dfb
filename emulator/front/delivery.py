"""From an invocation to an HTTP response: what every door of the function does alike, chunk by chunk as it comes.

Knows the prelude and what becomes of a caller who leaves. Knows nothing of signatures, keys or events.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from emulator.processes.log import LogSink
from emulator.runtime import prelude
from emulator.runtime.environment_pool import EnvironmentPool, InitFailedError, ThrottledError
from emulator.runtime.execution_environment import Environment
from emulator.runtime.invocation import Ending, InvocationResponse


class Disconnects(enum.Enum):
    """Whether the function learns that its caller left. Lambda never tells it, and bills to the end."""

    HIDDEN = "hidden"
    TOLD = "told"


class Undelivered(enum.Enum):
    """Why there is no response of the function's."""

    THROTTLED = "throttled"
    FAILED = "failed"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a door waits for the next byte (seconds, None: for ever), and how fast it passes on what is over
    `full_speed_bytes`, in bytes per second."""

    idle_seconds: float | None = None
    full_speed_bytes: int | None = None
    bytes_per_second: int = 2 * 1024 * 1024

    async def next(self, answer: InvocationResponse) -> bytes:
        """Raises TimeoutError."""
        return await asyncio.wait_for(answer.read(), self.idle_seconds)

    async def held_back(self, sent: int, size: int) -> None:
        """Waits as long as the last `size` bytes of all that is `sent` take."""
        if self.full_speed_bytes is not None and sent > self.full_speed_bytes:
            await asyncio.sleep(min(size, sent - self.full_speed_bytes) / self.bytes_per_second)


class Delivery:
    """`alias` is the name by which the function is invoked, "" for its own. `undelivered` makes the response of a request
    that the function has not responded to, which callers learn nothing else of."""

    def __init__(
        self,
        pool: EnvironmentPool,
        logs: LogSink,
        counters: Counter[str],
        disconnects: Disconnects,
        undelivered: Callable[[Undelivered, str], web.Response],
        *,
        alias: str = "",
        pace: Pace | None = None,
    ) -> None:
        self.counters = counters
        self._pool = pool
        self._logs = logs
        self._disconnects = disconnects
        self._undelivered = undelivered
        self._alias = alias
        self._pace = pace or Pace()

    async def invoke(
        self, request: web.BaseRequest, event: bytes, request_id: str, trace_id: str
    ) -> web.StreamResponse:
        """The function's response, passed on as it comes."""
        try:
            environment, answer = await self._pool.invoke(event, request_id, trace_id, self._alias)
        except ThrottledError:
            return self._undelivered(Undelivered.THROTTLED, request_id)
        except InitFailedError as failed:
            self._logs.platform(f"RequestId: {request_id} init failed: {failed.outcome.message}")
            return self._broken(request_id, failed.outcome.ending)
        self.counters["invoked"] += 1
        try:
            return await self._pass_on(request, answer, request_id, trace_id)
        except TimeoutError:
            return self._gone_silent(request, answer, request_id)
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
        body = await self._pace.next(answer)
        if answer.content_type != prelude.CONTENT_TYPE:
            reader.prelude = prelude.Prelude(
                status=200, headers=(("content-type", answer.content_type or "application/octet-stream"),)
            )
        try:
            body = reader.feed(body)
            while reader.prelude is None and (more := await self._pace.next(answer)):
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
        sent = 0
        while True:
            if body:
                await response.write(body)
                await self._pace.held_back(sent := sent + len(body), len(body))
            body = await self._pace.next(answer)
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

    def _gone_silent(self, request: web.BaseRequest, answer: InvocationResponse, request_id: str) -> web.StreamResponse:
        """The door waits no longer; the function is not told and runs on."""
        answer.discard()
        if request.transport is not None and answer.first_byte_at is not None:
            request.transport.close()
        return self._broken(request_id, Ending.TIMEOUT, Undelivered.SILENT)

    def _caller_left(self, environment: Environment, answer: InvocationResponse) -> None:
        self.counters[Ending.CALLER_LEFT.value] += 1
        if self._disconnects is Disconnects.TOLD and answer.outcome is None:
            environment.api.hang_up()
        answer.discard()

    def _broken(self, request_id: str, ending: Ending, cause: Undelivered = Undelivered.FAILED) -> web.Response:
        """The function failed before an answer began: the caller learns nothing but that."""
        self.counters[ending.value] += 1
        return self._undelivered(cause, request_id)


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
