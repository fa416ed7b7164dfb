"""One TCP connection to the Runtime API: sends whole requests or pieces of one, and receives responses.

A non-blocking socket, waits that know their end, and whether the last exchange was whole. Knows HTTP's framing of
requests; knows neither paths nor what is sent.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from collections.abc import Sequence

from relay.lambda_runtime.errors import ResponseRefusedError, RuntimeApiError
from relay.net.http1_response import BadResponseError, ResponseReader

RESPONSE_SECONDS = 5.0
"""The API is on the loopback of the same machine: a response that takes longer than this is not coming."""

_READ_BYTES = 65536
# Of a response. Lambda's events have 6 MB (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
_MOST_BYTES = 1 << 26
# After a request to stop, a reader that stalls or an API that does not respond gets this much more time. Lambda kills the
# process 0.5 or 2 s after SIGTERM, depending on its extensions
# (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, "Shutdown phase").
_STOP_SECONDS = 0.5

Fields = Sequence[tuple[str, str]]


def field_lines(fields: Fields) -> bytes:
    """Header or trailer fields as HTTP/1.1 writes them. Nothing is escaped: values are the relay's own or checked."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


class Connection:
    """One connection. Deadlines are on time.monotonic()'s clock, in seconds.

    Once `stop_fd` is readable, no wait lasts longer than half a second.
    """

    def __init__(self, host: str, port: int, *, stop_fd: int = -1) -> None:
        self._sock = socket.create_connection((host, port), timeout=RESPONSE_SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setblocking(False)
        self.fd = self._sock.fileno()
        self._stop_fd = stop_fd
        self._stop_by = math.inf
        # Between exchanges nothing is due: what arrives then, or beside a request, is looked for without waiting.
        self._arrival = _poller(self._sock, select.POLLIN)
        self._arrival_or_stop = _poller(self._sock, select.POLLIN, stop_fd)
        self._progress_or_stop = _poller(self._sock, select.POLLIN | select.POLLOUT, stop_fd)
        self._sent = self._answered = True

    def usable(self) -> bool:
        """Whether both sides are ready for another exchange."""
        # A readable socket means that the other side closed it.
        return self._sent and self._answered and not self.readable()

    def readable(self) -> bool:
        """Whether the service has sent something (or closed)."""
        return bool(self._arrival.poll(0))

    def begin(self) -> None:
        """Notes that a request is about to be sent. No other may be, until its response has been read."""
        self._sent = self._answered = False

    def finish(self) -> None:
        """Notes that all of the request was sent."""
        self._sent = True

    def exchange(self, request: bytes, deadline: float) -> ResponseReader:
        """Sends a whole request and waits for its response."""
        self.ask(request, deadline)
        return self.receive(deadline)

    def ask(self, request: bytes, deadline: float) -> None:
        """Sends a whole request."""
        self.begin()
        self.send(request, deadline)
        self.finish()

    def arrives_before_stop(self) -> bool:
        """Waits, without a time limit, for something to read here or a request to stop; whether it is here."""
        if self._stop_by < math.inf:
            return False
        return any(fd != self._stop_fd for fd, _ in self._arrival_or_stop.poll())

    def send(self, data: bytes, deadline: float) -> None:
        """Writes all of `data`, waiting for a slow reader up to `deadline`.

        Raises ResponseRefusedError when the service responds instead of reading, RuntimeApiError at the deadline and
        when the connection breaks.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                self._wait(self._progress_or_stop, deadline)
                if self.readable():
                    raise ResponseRefusedError(self.receive(deadline).status) from None
            except OSError as error:
                # A service that refuses may close at once, with its response still to be read.
                with contextlib.suppress(RuntimeApiError):
                    raise ResponseRefusedError(self.receive(time.monotonic()).status) from None
                raise RuntimeApiError(f"write failed: {error}") from error

    def receive(self, deadline: float) -> ResponseReader:
        """Waits for the response; complete."""
        self._wait(self._arrival_or_stop, deadline)
        return self.arrived(deadline)

    def arrived(self, deadline: float) -> ResponseReader:
        """The response of which the first bytes are there; complete."""
        response = ResponseReader(_MOST_BYTES)
        try:
            while not response.feed(self._read(deadline)):
                pass
        except BadResponseError as error:
            raise RuntimeApiError(str(error)) from error
        self._answered = response.reusable
        return response

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()

    def _read(self, deadline: float) -> bytes:
        while True:
            try:
                return self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                self._wait(self._arrival_or_stop, deadline)
            except OSError as error:
                raise RuntimeApiError(f"read failed: {error}") from error

    def _wait(self, poller: select.poll, deadline: float) -> None:
        while True:
            left = min(deadline, self._stop_by) - time.monotonic()
            ready = poller.poll(max(0, int(left * 1000)))
            if not ready:
                raise RuntimeApiError("no progress before the deadline")
            if any(fd != self._stop_fd for fd, _ in ready):
                return
            self._hurry()

    def _hurry(self) -> None:
        """From the request to stop on: bounds all waits, and watches the socket alone."""
        self._stop_by = time.monotonic() + _STOP_SECONDS
        for poller in (self._arrival_or_stop, self._progress_or_stop):
            poller.unregister(self._stop_fd)


def _poller(sock: socket.socket, events: int, beside: int = -1) -> select.poll:
    poller = select.poll()
    poller.register(sock, events)
    if beside >= 0:
        poller.register(beside, select.POLLIN)
    return poller
