"""One execution environment: a Runtime API and the one process that speaks to it, from init to shutdown.

Knows time-outs, crashes, the freeze and the platform's log lines. Does not know where events come from or answers go.
"""

from __future__ import annotations

import asyncio
import pathlib
import signal
import socket
import time
import uuid
from collections.abc import Callable

from emulator.processes import child_process
from emulator.processes.log import LogLine, LogSink
from emulator.processes.peer import belongs_to_session
from emulator.runtime.api import RuntimeApi
from emulator.runtime.function import Function, Idle
from emulator.runtime.invocation import Ending, Invocation, InvocationResponse, Outcome
from emulator.runtime.phase import Phase

LONGEST_LINE = 256 * 1024  # CloudWatch Logs' limit for one event; a longer line is cut into several


class Environment:
    """All methods belong to the event loop's thread. `on_change` is called when it becomes idle or dies."""

    def __init__(
        self,
        function: Function,
        logs: LogSink,
        home: pathlib.Path,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.api = RuntimeApi(on_phase=self._phase_changed, admits=self._admits)
        self.alive = False
        self.init_seconds: float | None = None
        self.last_used = 0.0
        self._function = function
        self._logs = logs
        self._home = home
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._spawned = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._exit: Outcome | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reports: set[asyncio.Task[None]] = set()
        self._started_at = 0.0
        self._stopping = False

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def idle(self) -> bool:
        return self.alive and self.api.waiting

    @property
    def finishing(self) -> bool:
        """The response is complete, the function has not asked for the next event yet."""
        return self.alive and self.api.phase is Phase.RESPONDED

    async def start(self) -> None:
        """Start the process. Raises nothing: a process that cannot start is one that has exited."""
        await self.api.start()
        self._started_at = time.monotonic()
        stream = f"local/[$LATEST]{uuid.uuid4().hex}"
        env = self._function.process_environment(runtime_api=self.api.address, log_stream=stream, home=self._home)
        try:
            self._process = await child_process.start(self._function.command, env=env, cwd=self._function.task_root)
        except OSError as error:
            self._died(f"Runtime.InvalidEntrypoint: {error}")
            return
        self.alive = True
        self._spawned.set()
        process = self._process
        assert process.stdout is not None
        assert process.stderr is not None
        self._tasks = [
            asyncio.create_task(self._read_log(process.stdout, "stdout")),
            asyncio.create_task(self._read_log(process.stderr, "stderr")),
            asyncio.create_task(self._watch(process)),
        ]

    async def ready(self) -> Outcome | None:
        """Waits for the first `/next`. Returns what went wrong instead, if something did."""
        try:
            await asyncio.wait_for(self._ready.wait(), self._function.init_timeout)
        except TimeoutError:
            self._logs.platform(f"INIT_REPORT Phase: init Status: timeout after {self._function.init_timeout} s")
            self.kill()
            return Outcome(ending=Ending.INIT_ERROR, message="init timed out")
        if self.api.init_error is not None:
            self._logs.platform(f"INIT_REPORT Phase: init Status: error {self.api.init_error.error_type}")
            return self.api.init_error
        return self._exit

    def invoke(self, event: bytes, request_id: str, trace_id: str, alias: str = "") -> InvocationResponse:
        """Only when idle."""
        timeout = self._function.timeout
        invocation = Invocation(
            request_id=request_id,
            event=event,
            deadline_ms=int((time.time() + timeout) * 1000),
            function_arn=f"{self._function.arn}:{alias}" if alias else self._function.arn,
            trace_id=trace_id,
            invocation_id=uuid.uuid4().hex,
        )
        self._logs.platform(f"START RequestId: {request_id} Version: $LATEST")
        self.last_used = time.monotonic()
        self._signal(signal.SIGCONT)
        response = self.api.deliver(invocation)
        self._deadline = asyncio.get_running_loop().call_later(timeout, self._time_out, request_id)
        self._reports.add(report := asyncio.create_task(self._report(response, request_id, time.monotonic())))
        report.add_done_callback(self._reports.discard)
        return response

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        self._stopping = True
        if self._process is not None:
            self._signal(signal.SIGCONT)  # SIGTERM waits for a stopped process to go on
            await child_process.stop(self._process)
        self._cancel_deadline()
        await self.api.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=child_process.GRACE)  # a grandchild may hold the log's pipe open

    async def _admits(self, connection: socket.socket) -> bool:
        """Only our own process, and what it starts, may speak to its Runtime API: an event is its caller's prompt."""
        await self._spawned.wait()
        return belongs_to_session(connection, self.pid)

    # -- what happens by itself ------------------------------------------------------------------------------

    def _phase_changed(self, phase: Phase) -> None:
        if phase is Phase.READY:
            self._cancel_deadline()
            if not self._ready.is_set():
                self.init_seconds = time.monotonic() - self._started_at
            if self._function.idle is Idle.FROZEN and not self._stopping:
                self._signal(signal.SIGSTOP)
        if phase in (Phase.READY, Phase.FAILED):
            self._ready.set()
        self._on_change()

    def _time_out(self, request_id: str) -> None:
        message = f"{request_id} Task timed out after {self._function.timeout:.2f} seconds"
        self._logs.platform(message)
        self.api.fail(Outcome(ending=Ending.TIMEOUT, error_type="Sandbox.Timedout", message=message))
        self.alive = False
        self.kill()

    def _died(self, why: str) -> None:
        self.alive = False
        self._cancel_deadline()
        self._exit = Outcome(ending=Ending.INIT_ERROR, error_type="Runtime.ExitError", message=why)
        self.api.fail(Outcome(ending=Ending.EXITED, error_type="Runtime.ExitError", message=why))
        self._ready.set()
        self._on_change()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        if self.alive and self.api.phase is not Phase.CLOSED and not self._stopping:
            self._logs.platform(f"Runtime exited with status {status} Runtime.ExitError")
        self._died(f"Runtime exited with status {status}")

    async def _read_log(self, pipe: asyncio.StreamReader, source: str) -> None:
        rest = b""
        while data := await pipe.read(64 * 1024):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._log(source, line)
        if rest:
            self._log(source, rest)

    async def _report(self, response: InvocationResponse, request_id: str, began: float) -> None:
        outcome = await response.ended()
        took = (time.monotonic() - began) * 1000
        if response.streaming and outcome.ending is Ending.COMPLETE and response.size == 0:
            self._logs.platform(f"WARNING RequestId: {request_id} the streamed response has no byte at all")
        self._logs.platform(f"END RequestId: {request_id}")
        self._logs.platform(f"REPORT RequestId: {request_id} Duration: {took:.2f} ms Status: {outcome.ending.value}")

    def _log(self, source: str, line: bytes) -> None:
        self._logs.add(LogLine(source=source, text=line.decode("utf-8", "replace"), pid=self.pid))

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            child_process.signal_group(self._process.pid, number)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
