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

# How often what ends an invocation is looked for while bytes pour in without a wait, in seconds.
_LOOK_SECONDS = 0.05


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


class Watch:
    """Waits on behalf of one invocation. `deadline` is on time.monotonic()'s clock; at it, RelayError(`overdue`) is raised.

    `on_silence` is called whenever downstream was given nothing for `silence` seconds, whatever upstream trickles: a
    heartbeat, or a decision to wait no longer.
    """

    def __init__(self, *, downstream: Downstream, deadline: float, stop_fd: int = -1) -> None:
        self.deadline = deadline
        self.overdue = Kind.UPSTREAM_TIMEOUT
        self.silence = 0.0
        self.on_silence: Callable[[], None] | None = None
        self._downstream = downstream
        self._stop_fd = stop_fd
        self._silent_since = time.monotonic()
        self._seen_size = 0
        self._look_at = 0.0

    def seconds_left(self) -> float:
        """Until the deadline; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def readable(self, fd: int) -> None:
        """Returns when `fd` has something to read."""
        self._wait(fd, select.POLLIN)

    def writable(self, fd: int) -> None:
        """Returns when `fd` takes more."""
        self._wait(fd, select.POLLOUT)

    def look(self) -> None:
        """To be called before each read, waiting or not: while bytes pour in, nobody waits, and time passes all the same.

        Costs one look at the clock, and a look around every 50 ms.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + min(_LOOK_SECONDS, max(0.0, self.deadline - now))
            self._downstream.flush()
            self._attend(self._others().poll(0))

    def _wait(self, fd: int, events: int) -> None:
        self._downstream.flush()
        poller = self._others()
        poller.register(fd, events)
        while True:
            ready = poller.poll(max(0.0, self._wake() - time.monotonic()) * 1000)
            self._attend(ready)
            if any(ready_fd == fd for ready_fd, _ in ready):
                return

    def _others(self) -> select.poll:
        poller = select.poll()
        downstream_fd = self._downstream.fileno()
        for fd in (downstream_fd, self._stop_fd):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        return poller

    def _wake(self) -> float:
        """When a wait has to be broken off at the latest. An hour stands for never: poll takes no infinity."""
        self._note_writing()
        due = self._silent_since + self.silence if self.on_silence else time.monotonic() + 3600.0
        return min(due, self.deadline)

    def _attend(self, ready: list[tuple[int, int]]) -> None:
        """Raises what ends the invocation; breaks the silence when it has lasted."""
        for fd, _ in ready:
            if fd == self._stop_fd:
                raise RelayError(Kind.SHUTDOWN, log="SIGTERM")
            if fd == self._downstream.fileno():
                self._downstream.check_refused()
        now = time.monotonic()
        if now >= self.deadline:
            raise RelayError(self.overdue, log="not complete at the deadline")
        self._note_writing()
        if self.on_silence and now >= self._silent_since + self.silence:
            self.on_silence()
            self._downstream.flush()
            self._silent_since = now

    def _note_writing(self) -> None:
        if self._downstream.body_size != self._seen_size:
            self._seen_size = self._downstream.body_size
            self._silent_since = time.monotonic()
