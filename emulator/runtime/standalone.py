"""The Runtime API without process, door and signatures, for tests of a runtime client.

with RuntimeApiOnly() as api:
    ... start the client with AWS_LAMBDA_RUNTIME_API=api.address ...
    received = api.invoke(b'{"the": "event"}')      # received.data, .outcome, .arrivals
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from emulator.processes.loop_thread import LoopThread
from emulator.runtime.api import RuntimeApi
from emulator.runtime.invocation import Invocation, InvocationResponse, Outcome
from emulator.runtime.phase import Phase
from emulator.runtime.response_body import EarlyRefusal

T = TypeVar("T")


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
        """Waits for `/next`, hands the event over, and collects the response to its end, all within `timeout`
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
        response: InvocationResponse = self.api.deliver(invocation)
        arrivals: list[tuple[float, bytes]] = []
        while data := await response.read():
            arrivals.append((time.monotonic() - began, data))
        outcome = await response.ended()
        return Received(
            outcome=outcome,
            content_type=response.content_type,
            data=b"".join(data for _, data in arrivals),
            http_chunks=response.http_chunks,
            arrivals=tuple(arrivals),
        )


def threading_future(work: Callable[[], T]) -> concurrent.futures.Future[T]:
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the future carries it to whoever waits
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
