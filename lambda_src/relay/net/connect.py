"""Connecting by a given time: name, addresses, TCP and TLS together. Knows sockets, not what is sent over them.

The standard library's time-outs hold for each address anew and for the resolver not at all, and none of them hears a
request to stop: so nothing here blocks but a `Wait`.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

from relay.net.wait import Wait

# What socket.getaddrinfo returns, one address each: family, kind, protocol, name, address.
Addresses = Sequence[tuple[int, int, int, str, tuple[object, ...]]]
Resolver = Callable[[str, int], Addresses]


def system_resolver(host: str, port: int) -> Addresses:
    """getaddrinfo(3)."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def connect(host: str, port: int, wait: Wait, resolver: Resolver = system_resolver) -> socket.socket:
    """A connected socket with TCP_NODELAY that does not block.

    Raises what `wait` raises at its deadline (TimeoutError as a rule), any other OSError when no address answers.
    """
    last: OSError | None = None
    for family, kind, protocol, _, address in resolve(host, port, wait, resolver):
        sock = socket.socket(family, kind, protocol)
        try:
            _connect(sock, address, wait)
        except OSError as error:
            sock.close()
            last = error
            continue
        except BaseException:  # a request to stop, too: nobody else knows the socket yet
            sock.close()
            raise
        return sock
    raise last or OSError(f"{host} has no address")


def _connect(sock: socket.socket, address: tuple[object, ...], wait: Wait) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(address)
    except BlockingIOError:
        wait.writable(sock.fileno())
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number)) from None


def wrap_tls(sock: socket.socket, context: ssl.SSLContext, host: str | None, wait: Wait) -> ssl.SSLSocket:
    """`sock` with TLS on it, verified for `host`; takes the same socket over, and closes it on failure.

    Raises what `wait` raises, ssl.SSLError or another OSError when the handshake fails.
    """
    try:
        sock.setblocking(False)
        tls = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:  # whatever it is: nobody else knows the socket yet
        sock.close()
        raise
    try:
        _shake_hands(tls, wait)
    except BaseException:  # a request to stop, too: nobody else knows the socket yet
        tls.close()
        raise
    return tls


def _shake_hands(tls: ssl.SSLSocket, wait: Wait) -> None:
    while True:
        try:
            tls.do_handshake()
            return
        except ssl.SSLWantReadError:
            wait.readable(tls.fileno())
        except ssl.SSLWantWriteError:
            wait.writable(tls.fileno())


class _Beside:
    """Work in a thread that ends with it and may be left behind. `fd` becomes readable when it is done."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.fd, self._done_fd = os.pipe()
        self._work = work
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            os.close(self._done_fd)

    def close(self) -> None:
        """Stops looking; the thread ends by itself."""
        os.close(self.fd)


class Ahead:
    """A connection that is made beside other work. `make` returns it, or raises."""

    def __init__(self, make: Callable[[], socket.socket]) -> None:
        self._make = make
        self._sock: socket.socket | None = None
        self._dropped = False
        self._lock = threading.Lock()
        self._thread: _Beside | None = _Beside(self._run)

    def take(self, wait: Wait) -> socket.socket | None:
        """The connection; None when there is none in time: why, the caller finds out by connecting anew.

        Raises what else `wait` raises; the connection is closed then.
        """
        if self._thread is None:
            return None
        try:
            wait.readable(self._thread.fd)
        except TimeoutError:
            pass
        except BaseException:  # a request to stop, too: the thread's socket would stay open
            self.drop()
            raise
        return self._hand_over()

    def drop(self) -> None:
        """Closes it, now or when it is there."""
        sock = self._hand_over()
        if sock is not None:
            sock.close()

    def _hand_over(self) -> socket.socket | None:
        with self._lock:
            sock, self._sock = self._sock, None
            self._dropped = True
        if self._thread is not None:
            self._thread.close()
            self._thread = None
        return sock

    def _run(self) -> None:
        try:
            sock = self._make()
        except Exception:
            return  # whatever it was: the one who takes finds nothing, and connects anew
        with self._lock:
            if not self._dropped:
                self._sock = sock
                return
        sock.close()


def resolve(host: str, port: int, wait: Wait, resolver: Resolver = system_resolver) -> Addresses:
    """The addresses of `host`. The resolver knows no time limit, so it runs beside us and may be left behind."""
    addresses: list[tuple[int, int, int, str, tuple[object, ...]]] = []
    failure: list[Exception] = []

    def look_up() -> None:
        try:
            addresses.extend(resolver(host, port))
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
            failure.append(error)

    thread = _Beside(look_up)
    try:
        wait.readable(thread.fd)
    except TimeoutError:
        raise TimeoutError(f"{host} was not resolved in time") from None
    finally:
        thread.close()
    if failure:
        raise failure[0] if isinstance(failure[0], OSError) else OSError(f"{host!r} is no name of a host")
    return addresses
