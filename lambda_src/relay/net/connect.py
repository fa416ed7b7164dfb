"""Connecting by a given time: name, addresses and TCP together. Knows sockets; knows nothing of what is said over them.

The standard library's time-outs hold for each address anew and for the resolver not at all.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

# What socket.getaddrinfo returns, one address each: family, kind, protocol, name, address.
Addresses = list[tuple[Any, Any, int, str, Any]]
Resolver = Callable[[str, int], Addresses]


def system_resolver(host: str, port: int) -> Addresses:
    """getaddrinfo(3)."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def connect(host: str, port: int, until: float, resolver: Resolver = system_resolver) -> socket.socket:
    """A connected socket with TCP_NODELAY, blocking, with the time that was left as its time-out.

    `until` is on time.monotonic()'s clock. Raises TimeoutError when it has come, any other OSError when nothing answers.
    """
    last: OSError | None = None
    for family, kind, protocol, _, address in resolve(host, port, until, resolver):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(seconds_left(until))
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise last or OSError(f"{host} has no address")


class Ahead:
    """A connection that is made beside other work, in a thread that ends with it. `make` returns it, or raises."""

    def __init__(self, make: Callable[[], socket.socket]) -> None:
        self._make = make
        self._made: socket.socket | None = None
        self._dropped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, until: float) -> socket.socket | None:
        """The connection; None when there is none by `until`. Why, a connection made anew will say."""
        self._thread.join(seconds_left(until))
        return self._handed_over()

    def drop(self) -> None:
        """Closes it, now or when it is there."""
        made = self._handed_over()
        if made is not None:
            made.close()

    def _handed_over(self) -> socket.socket | None:
        with self._lock:
            made, self._made = self._made, None
            self._dropped = True
        return made

    def _run(self) -> None:
        try:
            made = self._make()
        except Exception:
            return  # the one who takes finds nothing
        with self._lock:
            if not self._dropped:
                self._made = made
                return
        made.close()


def resolve(host: str, port: int, until: float, resolver: Resolver = system_resolver) -> Addresses:
    """The addresses of `host`, by `until`. The resolver knows no time limit, so it runs beside us and may be left behind."""
    found: Addresses = []
    failure: list[Exception] = []

    def look_up() -> None:
        try:
            found.extend(resolver(host, port))
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
            failure.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds_left(until))
    if failure:
        raise failure[0] if isinstance(failure[0], OSError) else OSError(f"{host!r} is no name of a host")
    if not found:
        raise TimeoutError(f"{host} was not resolved in time")
    return found


def seconds_left(until: float) -> float:
    """For a socket's time-out; never 0, which would make it non-blocking instead."""
    return max(0.001, until - time.monotonic())
