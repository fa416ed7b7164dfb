"""The request to stop, as a descriptor that every wait of the process watches beside its own."""

from __future__ import annotations

import os
import signal


class Stop:
    """A request to end the process. `fd` becomes readable with it, for good; `requested` says the same."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self.requested = False

    def request(self) -> None:
        """Asks the process to stop."""
        self.requested = True
        os.write(self._write_fd, b"x")

    def on(self, number: int) -> None:
        """Requests shutdown when signal `number` arrives. Only the main thread may call this.

        Python runs its handlers between two instructions, so after a signal that comes just before poll(2) it would run
        this one after the poll, which may be never. The interpreter's own handler, which is C, writes at once.
        """
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.requested = True
