"""A local Lambda with a Function URL, as one object for tests, tools and the commands.

    function = Function.of_bundle(pathlib.Path("build/lambda"), python=..., environment={...}, timeout=5,
    concurrency=2) with LocalLambda(function, disconnects=Disconnects.TOLD) as it:
        headers = it.sign("POST", "/v1/chat/completions", body=body, headers={"content-type":
        "application/json"}) httpx.post(it.url + "/v1/chat/completions", content=body, headers=headers)

`LocalLambda(function)` runs any `Function` (another command, other limits). Inside the block:
  url, port           where the Function URL listens
  identities, sign()  who may call; the first identity (an IAM user) unless another is given
  logs                LogSink: lines(), text(), wait_for(...): the processes' output and the platform's lines
  pids()              the processes that live now; counters() what the door and the fleet counted
  calls()             what each process called on its Runtime API, in order ("GET next", "POST response 202",
  ...) refuse_next_response(...), supersede()   faults of the Runtime API, for the process that is next or at
  work warm(n)             have n processes waiting, as provisioned concurrency would
`RuntimeApiOnly` is the Runtime API without process, door and signatures, for tests of a runtime client.

Everything runs in one thread with its own event loop; all methods here are for other threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import pathlib
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from emulator.answer import Answer, Invocation, Outcome
from emulator.fleet import Fleet
from emulator.function import Function
from emulator.function_url import Disconnects, FunctionUrl
from emulator.identities import Identity, local_role_session, local_user
from emulator.logs import LogSink
from emulator.runtime_api import EarlyRefusal, Phase, RuntimeApi
from emulator.signature import Verifier

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-lambda", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = 60.0) -> T:
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout)

    def call(self, work: Callable[[], T]) -> T:
        async def once() -> T:
            return work()

        return self.run(once())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class LocalLambda:
    def __init__(
        self,
        function: Function,
        *,
        port: int = 0,
        identities: Sequence[Identity] = (),
        disconnects: Disconnects = Disconnects.HIDDEN,
        logs: LogSink | None = None,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.function = function
        self.identities = tuple(identities) or (local_user(), local_role_session())
        self.logs = logs or LogSink()
        self._wanted_port = port
        self._disconnects = disconnects
        self._clock = clock

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="local-lambda-home-")
        self._loop = LoopThread()
        try:
            self._loop.run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._stop())
        self._end()

    @property
    def port(self) -> int:
        return self._door.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def region(self) -> str:
        return self.function.region

    def sign(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        identity: Identity | None = None,
    ) -> dict[str, str]:
        signer = identity or self.identities[0]
        return signer.sign(method, self.url + path, region=self.region, body=body, headers=headers)

    def pids(self) -> list[int]:
        return self._loop.call(lambda: [one.pid for one in self._fleet.environments])

    def calls(self) -> dict[int, list[str]]:
        return self._loop.call(lambda: {one.pid: list(one.api.calls) for one in self._fleet.environments})

    def counters(self) -> dict[str, int]:
        return self._loop.call(lambda: {**self._door.counters, "cold starts": self._fleet.cold_starts})

    def init_seconds(self) -> list[float]:
        """Process start to first `/next`, for each process that got there."""
        return self._loop.call(lambda: list(self._fleet.init_seconds))

    def warm(self, count: int) -> None:
        self._loop.run(self._fleet.warm(count))

    def refuse_next_response(self, refusal: EarlyRefusal) -> None:
        """Every process that lives now refuses its next response."""

        def tell() -> None:
            for environment in self._fleet.environments:
                environment.api.refuse_next_response(refusal)

        self._loop.call(tell)

    async def _start(self) -> None:
        self._fleet = Fleet(self.function, self.logs, pathlib.Path(self._home.name))
        verifier = Verifier(self.identities, self.function.region)
        self._door = FunctionUrl(self._fleet, verifier, self.logs, disconnects=self._disconnects, clock=self._clock)
        await self._door.start(self._wanted_port)

    async def _stop(self) -> None:
        await self._fleet.close()
        await self._door.close()

    def _end(self) -> None:
        self._loop.close()
        self._home.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a runtime client answered: raw bytes as posted (prelude, NULs and body), and how it ended."""

    outcome: Outcome
    content_type: str
    data: bytes
    http_chunks: int
    arrivals: tuple[tuple[float, bytes], ...]  # seconds since the invocation was handed over


class RuntimeApiOnly:
    """The Runtime API alone. `address` goes into AWS_LAMBDA_RUNTIME_API."""

    def __init__(self) -> None:
        self.api = RuntimeApi(on_phase=self._phase_changed)
        self._ready = asyncio.Event()

    def __enter__(self) -> Self:
        self._loop = LoopThread()
        self._loop.run(self.api.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self.api.close())
        self._loop.close()

    @property
    def address(self) -> str:
        return self.api.address

    def calls(self) -> list[str]:
        return self._loop.call(lambda: list(self.api.calls))

    def waiting(self) -> bool:
        """Whether a client waits in `/next` now."""
        return self._loop.call(lambda: self.api.waiting)

    def invoke(self, event: bytes, *, deadline_in: float = 30.0, timeout: float = 10.0, **fields: Any) -> Received:
        """Waits for `/next`, hands the event over, and collects the answer to its end, all within `timeout`
        s.
        """
        invocation = Invocation(
            request_id=str(uuid.uuid4()),
            event=event,
            deadline_ms=int((time.time() + deadline_in) * 1000),
            invocation_id=uuid.uuid4().hex,
        )
        return self._loop.run(self._invoke(replace(invocation, **fields)), timeout)

    def begin(self, event: bytes, **fields: Any) -> concurrent.futures.Future[Received]:
        """As `invoke`, without waiting."""
        return threading_future(lambda: self.invoke(event, **fields))

    def refuse_next_response(self, refusal: EarlyRefusal) -> None:
        self._loop.call(lambda: self.api.refuse_next_response(refusal))

    def supersede(self, invocation_id: str = "superseded") -> None:
        self._loop.call(lambda: self.api.supersede(invocation_id))

    def hang_up(self) -> None:
        self._loop.call(self.api.hang_up)

    def _phase_changed(self, phase: Phase) -> None:
        self._ready.set()

    async def _invoke(self, invocation: Invocation) -> Received:
        while not self.api.waiting:
            self._ready.clear()
            await self._ready.wait()
        began = time.monotonic()
        answer: Answer = self.api.deliver(invocation)
        arrivals: list[tuple[float, bytes]] = []
        while data := await answer.read():
            arrivals.append((time.monotonic() - began, data))
        outcome = await answer.ended()
        return Received(
            outcome=outcome,
            content_type=answer.content_type,
            data=b"".join(data for _, data in arrivals),
            http_chunks=answer.http_chunks,
            arrivals=tuple(arrivals),
        )


def threading_future(work: Callable[[], T]) -> concurrent.futures.Future[T]:
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
