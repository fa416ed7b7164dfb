"""Lambda's Runtime API (2018-06-01) on a real socket, for one execution environment.

Knows the wire and the order of calls. Knows nothing of processes, time-outs, preludes or the caller's HTTP.
Statuses and error bodies follow docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html,
.../runtimes-custom.html#runtimes-custom-response-streaming and, where those are silent, AWS's own Runtime Interface Emulator
(github.com/aws/aws-lambda-runtime-interface-emulator).

What no public source states, and is decided here: `/next` while an invocation is unanswered is a 403; a response that AWS
would have to refuse after it has begun is refused early, while its body is still being written.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import h11

from emulator.net.h11_connection import Connection, ConnectionLostError, serve
from emulator.net.listener import names_this_machine
from emulator.runtime.invocation import Ending, Invocation, InvocationResponse, Outcome
from emulator.runtime.phase import Phase
from emulator.runtime.response_body import BUFFERED_LIMIT, STREAM_LIMIT, EarlyRefusal, copy
from emulator.runtime.wire import ACCEPTED, JSON, VERSION, error_body, error_outcome, next_headers


@dataclass(slots=True)
class _Current:
    invocation: Invocation
    response: InvocationResponse
    connection: Connection | None = None  # the one that carries the response
    hung_up: bool = False


async def admit_everybody(connection: socket.socket) -> bool:
    return True


class RuntimeApi:
    """The API one process sees at AWS_LAMBDA_RUNTIME_API. All methods belong to the event loop's thread."""

    def __init__(
        self,
        *,
        on_phase: Callable[[Phase], None] = lambda phase: None,
        admits: Callable[[socket.socket], Awaitable[bool]] = admit_everybody,
    ) -> None:
        self.phase = Phase.INIT
        self.address = ""
        self.calls: deque[str] = deque(maxlen=10_000)  # "GET next", "POST response 202", ... in order
        self.init_error: Outcome | None = None
        self.stream_limit = STREAM_LIMIT
        self._on_phase = on_phase
        self._admits = admits
        self._refusal: EarlyRefusal | None = None
        self._current: _Current | None = None
        self._waiters: list[asyncio.Future[Invocation]] = []
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def start(self) -> None:
        self._server, port = await serve(self._handle, self._connections, self._admits)
        self.address = f"127.0.0.1:{port}"

    async def close(self) -> None:
        self._enter(Phase.CLOSED)
        self.fail(Outcome(ending=Ending.EXITED, message="the environment was shut down"))
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            await connection.shut()

    @property
    def waiting(self) -> bool:
        """A function waits in `/next` for an invocation."""
        return self.phase is Phase.READY and any(not waiter.done() for waiter in self._waiters)

    # -- the service's side ----------------------------------------------------------------------------------

    def deliver(self, invocation: Invocation) -> InvocationResponse:
        """Give an invocation to the function that waits in `/next`. Only in phase READY."""
        waiter = next((w for w in reversed(self._waiters) if not w.done()), None)
        if self.phase is not Phase.READY or waiter is None:
            raise RuntimeError(f"nobody waits in /next (phase {self.phase.value})")
        self._current = _Current(invocation, InvocationResponse())
        self._enter(Phase.RUNNING)
        waiter.set_result(invocation)
        return self._current.response

    def fail(self, outcome: Outcome) -> None:
        """End the invocation under way from outside (time-out, exit): later calls for it find it stale."""
        if self._current is not None:
            self._current.response.end(outcome)

    def hang_up(self) -> None:
        """Reset the connection that carries the response: how a local caller's leaving is made visible."""
        if self._current is None:
            return
        self._current.hung_up = True
        if self._current.connection is not None:
            self._current.connection.abort()

    def refuse_next_response(self, refusal: EarlyRefusal) -> None:
        self._refusal = refusal

    def supersede(self, invocation_id: str) -> None:
        """Pretend the service gave the work to somebody else: a response that echoes the old id gets a 410."""
        if self._current is None:
            raise RuntimeError("no invocation is under way")
        self._current.invocation = replace(self._current.invocation, invocation_id=invocation_id)

    # -- the function's side ---------------------------------------------------------------------------------

    async def _handle(self, connection: Connection, request: h11.Request) -> None:
        method, path = request.method.decode(), request.target.decode("latin-1").split("?")[0]
        if not names_this_machine([text.decode("latin-1") for name, text in request.headers if name == b"host"]):
            await self._reply(connection, f"{method} {path}", 403, "Forbidden", "the Host is not this machine")
            return
        parts = path.removeprefix(VERSION).strip("/").split("/") if path.startswith(VERSION + "/") else []
        match (method, parts):
            case ("GET", ["invocation", "next"]):
                await self._next(connection)
            case ("POST", ["init", "error"]):
                await self._init_error(connection, request)
            case ("POST", ["invocation", request_id, "response"]):
                await self._response(connection, request, request_id)
            case ("POST", ["invocation", request_id, "error"]):
                await self._error(connection, request, request_id)
            case _:
                await self._reply(connection, f"{method} {path}", 404, "NotFound", "no such operation")

    async def _next(self, connection: Connection) -> None:
        if self.phase not in (Phase.INIT, Phase.READY, Phase.RESPONDED):
            await self._forbid(connection, "GET next", Phase.READY)
            return
        self.calls.append("GET next")
        waiter: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._current = None
        self._enter(Phase.READY)
        try:
            invocation = await connection.wait_for(waiter)
        finally:
            self._waiters.remove(waiter)
        await connection.reply(200, next_headers(invocation), invocation.event)

    async def _response(self, connection: Connection, request: h11.Request, request_id: str) -> None:
        headers = dict(request.headers)
        current = self._current
        mode = headers.get(b"lambda-runtime-function-response-mode", b"")
        if self.phase is not Phase.RUNNING or current is None:
            await self._forbid(connection, "POST response", Phase.RESPONDING)
        elif request_id != current.invocation.request_id:
            await self._reply(connection, "POST response", 400, "InvalidRequestID", "Invalid request ID")
        elif self._is_stale(headers, current):
            await self._gone(connection, "POST response")
        elif mode not in (b"", b"streaming"):
            kind, message = "InvalidFunctionResponseMode", "Invalid function response mode"
            await self._reply(connection, "POST response", 400, kind, message)
        else:
            current.connection = connection
            current.response.content_type = headers.get(b"content-type", b"").decode("latin-1")
            current.response.streaming = mode == b"streaming"
            self._enter(Phase.RESPONDING)
            if current.hung_up:
                connection.abort()
            await self._take_body(connection, current.response)

    async def _take_body(self, connection: Connection, response: InvocationResponse) -> None:
        try:
            refusal, self._refusal = self._refusal, None
            refusal = await copy(
                connection, response, self.stream_limit if response.streaming else BUFFERED_LIMIT, refusal
            )
        except ConnectionLostError as lost:
            response.end(Outcome(ending=Ending.RESET, message=str(lost)))
            self._finish_responding()
            raise
        except h11.RemoteProtocolError as broken:
            response.end(Outcome(ending=Ending.REFUSED, error_type="TruncatedHTTPRequest", message=str(broken)))
            self._finish_responding()
            kind, message = "TruncatedHTTPRequest", "HTTP request detected as truncated"
            await self._reply(connection, "POST response", 400, kind, message)
            return
        self._finish_responding()
        if refusal is None:
            self.calls.append("POST response 202")
            await connection.reply(202, JSON, ACCEPTED)
            return
        message = f"the response was refused with {refusal.status}"
        response.end(Outcome(ending=Ending.REFUSED, error_type=refusal.error_type, message=message))
        await self._reply(connection, "POST response", refusal.status, refusal.error_type, message)

    async def _error(self, connection: Connection, request: h11.Request, request_id: str) -> None:
        headers, current = dict(request.headers), self._current
        body = await connection.whole_body(BUFFERED_LIMIT)
        if self.phase is not Phase.RUNNING or current is None:
            await self._forbid(connection, "POST error", Phase.RESPONDING)
        elif request_id != current.invocation.request_id:
            await self._reply(connection, "POST error", 400, "InvalidRequestID", "Invalid request ID")
        elif self._is_stale(headers, current):
            await self._gone(connection, "POST error")
        else:
            self._enter(Phase.RESPONDED)
            current.response.end(error_outcome(Ending.FUNCTION_ERROR, headers, body))
            self.calls.append("POST error 202")
            await connection.reply(202, JSON, ACCEPTED)

    async def _init_error(self, connection: Connection, request: h11.Request) -> None:
        body = await connection.whole_body(BUFFERED_LIMIT)
        if self.phase is not Phase.INIT:
            await self._forbid(connection, "POST init/error", Phase.FAILED)
            return
        self.init_error = error_outcome(Ending.INIT_ERROR, dict(request.headers), body)
        self._enter(Phase.FAILED)
        self.calls.append("POST init/error 202")
        await connection.reply(202, JSON, ACCEPTED)

    # -- small parts -----------------------------------------------------------------------------------------

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._on_phase(phase)

    def _finish_responding(self) -> None:
        if self.phase is Phase.RESPONDING:
            self._enter(Phase.RESPONDED)

    def _is_stale(self, headers: dict[bytes, bytes], current: _Current) -> bool:
        echoed = headers.get(b"lambda-runtime-invocation-id")
        superseded = echoed is not None and echoed.decode("latin-1") != current.invocation.invocation_id
        return superseded or current.response.outcome is not None

    async def _gone(self, connection: Connection, call: str) -> None:
        self._enter(Phase.RESPONDED)
        if self._current is not None:
            self._current.response.end(Outcome(ending=Ending.REFUSED, message="the invocation is no longer current"))
        await self._reply(connection, call, 410, "StaleInvocation", "The invocation is no longer current")

    async def _forbid(self, connection: Connection, call: str, target: Phase) -> None:
        message = f"State transition from {self.phase.value} to {target.value} failed for runtime."
        message += " Error: State transition is not allowed"
        await self._reply(connection, call, 403, "InvalidStateTransition", message)

    async def _reply(self, connection: Connection, call: str, status: int, kind: str, message: str) -> None:
        self.calls.append(f"{call} {status}")
        await connection.reply(status, JSON, error_body(kind, message))
