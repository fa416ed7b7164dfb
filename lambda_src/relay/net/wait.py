"""The one place where the relay blocks: waits for a descriptor, beside everything else that can happen meanwhile.

While one peer is silent the deadline may come near, a heartbeat may fall due, the caller's side may end the exchange,
or the process may be asked to stop. One poll(2) before each read waits for all of them, so that none costs a thread or
an event loop. Knows descriptors and clocks; knows neither OpenAI nor the Runtime API.
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
    """Where the response goes: the Runtime API's stream, or nowhere (`NoDownstream`)."""

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable when the other side has ended the exchange; -1 while nothing has begun."""

    @property
    def body_size(self) -> int:
        """Bytes of body written so far."""

    def flush(self) -> None:
        """Puts on the wire what was written."""

    def check_refused(self) -> None:
        """Raises when the other side has ended the exchange."""


class NoDownstream:
    """For waits on behalf of nobody who is being written to, such as a call to AWS."""

    fd = -1
    body_size = 0

    def flush(self) -> None:
        """Does nothing."""

    def check_refused(self) -> None:
        """Does nothing."""


def _timed_out() -> Exception:
    return TimeoutError("not done in time")


class Wait:
    """Waits on behalf of one piece of work, until `deadline` (seconds on time.monotonic()'s clock).

    At the deadline it raises what `overdue` returns; RelayError(SHUTDOWN) as soon as `stop_fd` is readable (-1: never);
    what `downstream.check_refused` raises when the other side has ended the exchange. `on_silence` is called whenever
    downstream was given nothing for `silence` seconds, however much upstream sends: for a heartbeat.
    """

    def __init__(
        self,
        *,
        deadline: float,
        stop_fd: int = -1,
        overdue: Callable[[], Exception] = _timed_out,
        downstream: Downstream | None = None,
        silence: float = 0.0,
        on_silence: Callable[[], None] | None = None,
    ) -> None:
        self.deadline = deadline
        self._stop_fd = stop_fd
        self._overdue = overdue
        self._downstream = downstream or NoDownstream()
        self._silence = silence
        self._on_silence = on_silence
        self._silent_since = time.monotonic()
        self._seen_size = 0
        self._pollers: dict[tuple[int, int, int], select.poll] = {}

    def seconds_left(self) -> float:
        """Until the deadline; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def drain_within(self, seconds: float) -> None:
        """Brings the deadline to `seconds` from now at the latest, and ends the heartbeats: the response is complete."""
        self.deadline = min(self.deadline, time.monotonic() + seconds)
        self._on_silence = None

    def close(self) -> None:
        """Lets go of what it calls, which as a rule holds it: objects that hold one another stay until the garbage collector
        comes, some fifty requests later."""
        self._overdue, self._downstream, self._on_silence = _timed_out, NoDownstream(), None

    def within(self, seconds: float) -> Wait:
        """A wait for a part of the work that is over after `seconds` or at the deadline, whichever comes first.

        It hears the same request to stop, breaks no silence, and raises TimeoutError at its end.
        """
        return Wait(deadline=min(time.monotonic() + seconds, self.deadline), stop_fd=self._stop_fd)

    def readable(self, fd: int) -> None:
        """Returns when `fd` has something to read. To be called before each read, so that time passes in a flood too."""
        self._wait(fd, select.POLLIN)

    def writable(self, fd: int) -> None:
        """Returns when `fd` takes more; a socket that is connecting does so when that has succeeded or failed."""
        self._wait(fd, select.POLLOUT)

    def _wait(self, fd: int, events: int) -> None:
        # What every token passes: nothing is looked at twice, and the rest only when it is due.
        self._downstream.flush()
        poller = self._poller(fd, events)
        now = time.monotonic()
        if self._on_silence is not None and self._downstream.body_size != self._seen_size:
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
            # A heartbeat may have begun the response: from then on the other side can end the exchange.
            poller = self._poller(fd, events)

    def _poller(self, fd: int, events: int) -> select.poll:
        """Made once for each set of descriptors, of which an invocation has two or three."""
        downstream_fd = self._downstream.fd
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
        if self._on_silence is None:
            return self.deadline
        return min(self._silent_since + self._silence, self.deadline)

    def _attend(self, ready: list[tuple[int, int]], waited_for: int, now: float) -> None:
        """Raises what ends the work; breaks the silence when it has lasted."""
        for fd, _ in ready:
            if fd == waited_for:
                continue
            if fd == self._stop_fd:
                raise RelayError(ErrorKind.SHUTDOWN, log="SIGTERM")
            self._downstream.check_refused()
        if now >= self.deadline:
            raise self._overdue()
        if self._on_silence is not None and now >= self._silent_since + self._silence:
            self._on_silence()
            self._downstream.flush()
            self._silent_since = now
            self._seen_size = self._downstream.body_size
