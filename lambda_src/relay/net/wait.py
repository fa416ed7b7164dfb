"""The one place where an invocation blocks: waiting for upstream's bytes, beside everything else that can happen then.

While upstream is silent the deadline may come near, a heartbeat may fall due, the service may answer early, or the
process may be told to stop. One poll(2) before each read waits for all of them, so that none costs a thread or an event
loop. Knows descriptors and clocks; knows neither OpenAI nor the Runtime API.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Protocol

from relay.errors import ErrorKind, RelayError

# Stands for "never" where nothing is due: poll(2) takes no infinity.
_NEVER_SECONDS = 3600.0


class Downstream(Protocol):
    """Where the answer goes."""

    @property
    def body_size(self) -> int:
        """Bytes written so far."""

    def flush(self) -> None:
        """Puts on the wire what was written."""

    def check_refused(self) -> None:
        """Raises when the other side has ended the exchange."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when it has; -1 while nothing has begun."""


class Wait:
    """Waits on behalf of one invocation. `deadline` is on time.monotonic()'s clock; at it, RelayError(`overdue`) is raised.

    `on_silence` is called whenever downstream was given nothing for `silence` seconds, whatever upstream trickles: a
    heartbeat, or a decision to wait no longer.
    """

    def __init__(self, *, downstream: Downstream, deadline: float, stop_fd: int = -1) -> None:
        self.deadline = deadline
        self.overdue = ErrorKind.UPSTREAM_TIMEOUT
        self.silence = 0.0
        self.on_silence: Callable[[], None] | None = None
        self._downstream = downstream
        self._stop_fd = stop_fd
        self._silent_since = time.monotonic()
        self._seen_size = 0
        self._pollers: dict[tuple[int, int, int], select.poll] = {}

    def seconds_left(self) -> float:
        """Until the deadline; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def readable(self, fd: int) -> None:
        """Returns when `fd` has something to read. To be called before each read, so that time passes in a flood too."""
        self._wait(fd, select.POLLIN)

    def writable(self, fd: int) -> None:
        """Returns when `fd` takes more."""
        self._wait(fd, select.POLLOUT)

    def _wait(self, fd: int, events: int) -> None:
        # What every token passes: nothing is looked at twice, and the rest only when it is due.
        self._downstream.flush()
        poller = self._poller(fd, events)
        now = time.monotonic()
        if self.on_silence is not None and self._downstream.body_size != self._seen_size:
            self._seen_size = self._downstream.body_size
            self._silent_since = now
        while True:
            due = self._due()
            ready = poller.poll(min(max(0.0, due - now), _NEVER_SECONDS) * 1000)
            now = time.monotonic()
            if now < due and len(ready) == 1 and ready[0][0] == fd:
                return  # as nearly always
            self._attend(ready, fd, now)
            if any(ready_fd == fd for ready_fd, _ in ready):
                return

    def _poller(self, fd: int, events: int) -> select.poll:
        """Made once for each set of descriptors, of which an invocation has two or three."""
        downstream_fd = self._downstream.fileno()
        known = self._pollers.get((fd, events, downstream_fd))
        if known is not None:
            return known
        poller = select.poll()
        for other in (downstream_fd, self._stop_fd):
            if other >= 0:
                poller.register(other, select.POLLIN)
        poller.register(fd, events)
        self._pollers[fd, events, downstream_fd] = poller
        return poller

    def _due(self) -> float:
        """When a wait has to be broken off at the latest."""
        if self.on_silence is None:
            return self.deadline
        return min(self._silent_since + self.silence, self.deadline)

    def _attend(self, ready: list[tuple[int, int]], wanted: int, now: float) -> None:
        """Raises what ends the invocation; breaks the silence when it has lasted."""
        for fd, _ in ready:
            if fd == wanted:
                continue
            if fd == self._stop_fd:
                raise RelayError(ErrorKind.SHUTDOWN, log="SIGTERM")
            self._downstream.check_refused()
        if now >= self.deadline:
            raise RelayError(self.overdue, log="not complete at the deadline")
        if self.on_silence is not None and now >= self._silent_since + self.silence:
            self.on_silence()
            self._downstream.flush()
            self._silent_since = now
            self._seen_size = self._downstream.body_size
