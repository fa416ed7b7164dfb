"""The one place where an invocation blocks: waiting for upstream's bytes, beside everything else that can happen then.

While upstream is silent the deadline may come near, a heartbeat may fall due, the service may answer early, or the
process may be told to stop. One poll(2) waits for all of them, so that none costs a thread, an event loop or anything
at all while bytes are flowing. Knows descriptors and clocks; knows neither OpenAI nor the Runtime API.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Protocol

from relay.errors import Kind, RelayError


class Downstream(Protocol):
    """Where the answer goes."""

    def flush(self) -> None:
        """Puts on the wire what was written."""

    def check_refused(self) -> None:
        """Raises when the other side has ended the exchange."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when it has."""


class Watch:
    """Waits on behalf of one invocation. `deadline` is on time.monotonic()'s clock; at it, RelayError(`overdue`) is raised.

    `on_silence` is called whenever nothing has come for `silence` seconds: a heartbeat, or a decision to wait no longer.
    """

    def __init__(self, *, downstream: Downstream, deadline: float, stop_fd: int = -1) -> None:
        self.deadline = deadline
        self.overdue = Kind.UPSTREAM_TIMEOUT
        self.silence = 0.0
        self.on_silence: Callable[[], None] | None = None
        self._downstream = downstream
        self._stop_fd = stop_fd

    def seconds_left(self) -> float:
        """Until the deadline; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def readable(self, fd: int) -> None:
        """Returns when `fd` has something to read."""
        self._wait(fd, select.POLLIN)

    def writable(self, fd: int) -> None:
        """Returns when `fd` takes more."""
        self._wait(fd, select.POLLOUT)

    def _wait(self, fd: int, events: int) -> None:
        self._downstream.flush()
        downstream_fd = self._downstream.fileno()
        poller = select.poll()
        poller.register(fd, events)
        poller.register(downstream_fd, select.POLLIN)
        if self._stop_fd >= 0:
            poller.register(self._stop_fd, select.POLLIN)
        silent_since = time.monotonic()
        while True:
            now = time.monotonic()
            wake = self._wake(silent_since, now)
            ready = {ready_fd for ready_fd, _ in poller.poll(max(0.0, wake - now) * 1000)}
            if fd in ready:
                return
            if downstream_fd in ready:
                self._downstream.check_refused()
            if self._stop_fd in ready:
                raise RelayError(Kind.SHUTDOWN, log="SIGTERM")
            silent_since = self._elapsed(silent_since)

    def _wake(self, silent_since: float, now: float) -> float:
        """When the wait has to be broken off at the latest. An hour stands for never: poll takes no infinity."""
        due = silent_since + self.silence if self.on_silence else now + 3600.0
        return min(due, self.deadline)

    def _elapsed(self, silent_since: float) -> float:
        now = time.monotonic()
        if now >= self.deadline:
            raise RelayError(self.overdue, log="no byte from upstream before the deadline")
        if self.on_silence and now >= silent_since + self.silence:
            self.on_silence()
            self._downstream.flush()
            return now
        return silent_since
