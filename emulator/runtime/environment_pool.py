"""All execution environments of one function: warm ones first, a new one when none is idle, no more than allowed."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import time
from collections.abc import Sequence

from emulator.processes.log import LogSink
from emulator.runtime.execution_environment import Environment
from emulator.runtime.function import Function
from emulator.runtime.invocation import InvocationResponse, Outcome

# An environment whose response has ended asks for its next event within milliseconds. A caller who sends
# request after request would otherwise always find it busy, which on AWS the network's way hides.
PATIENCE = 0.25


class ThrottledError(Exception):
    """As many environments as the function may have are busy."""


class InitFailedError(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class EnvironmentPool:
    def __init__(self, function: Function, logs: LogSink, home: pathlib.Path) -> None:
        self.function = function
        self.cold_starts = 0
        self.init_seconds: list[float] = []
        self._logs = logs
        self._home = home
        self._environments: list[Environment] = []
        self._reserved: set[Environment] = set()  # chosen or starting, not yet given their event
        self._changed = asyncio.Event()
        self._burials: set[asyncio.Task[None]] = set()

    @property
    def environments(self) -> Sequence[Environment]:
        return tuple(self._environments)

    async def invoke(
        self, event: bytes, request_id: str, trace_id: str, alias: str = ""
    ) -> tuple[Environment, InvocationResponse]:
        """Invokes the function by one of its aliases, or by its own name. Raises ThrottledError and InitFailedError."""
        environment = await self._acquire()
        try:
            return environment, environment.invoke(event, request_id, trace_id, alias)
        finally:
            self._reserved.discard(environment)

    async def warm(self, count: int) -> None:
        """Have `count` idle environments, as provisioned concurrency would."""
        while len(self._environments) < min(count, self.function.concurrency):
            self._reserved.discard(await self._launch())

    async def close(self) -> None:
        await asyncio.gather(*(environment.stop() for environment in self._environments))
        await asyncio.gather(*self._burials, return_exceptions=True)
        self._environments.clear()

    async def _acquire(self) -> Environment:
        patience_ends = time.monotonic() + PATIENCE
        while True:
            idle = [one for one in self._environments if one.idle and one not in self._reserved]
            if idle:
                chosen = max(idle, key=lambda one: one.last_used)
                self._reserved.add(chosen)
                return chosen
            left = patience_ends - time.monotonic()
            if left > 0 and any(one.finishing for one in self._environments):
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), left)
            elif len(self._environments) < self.function.concurrency:
                return await self._launch()
            else:
                raise ThrottledError

    async def _launch(self) -> Environment:
        environment = Environment(self.function, self._logs, self._home, self._environment_changed)
        self._environments.append(environment)
        self._reserved.add(environment)
        self.cold_starts += 1
        await environment.start()
        failure = await environment.ready()
        if failure is not None:
            self._reserved.discard(environment)
            self._bury(environment)
            raise InitFailedError(failure)
        self.init_seconds.append(environment.init_seconds or 0.0)
        return environment

    def _environment_changed(self) -> None:
        self._changed.set()
        for environment in list(self._environments):
            if not environment.alive and environment not in self._reserved:
                self._bury(environment)

    def _bury(self, environment: Environment) -> None:
        if environment in self._environments:
            self._environments.remove(environment)
            task = asyncio.get_running_loop().create_task(environment.stop())
            self._burials.add(task)
            task.add_done_callback(self._burials.discard)
