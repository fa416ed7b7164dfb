"""OpenAI on the wire. The only module that knows httpx (and httpcore below it), so that its successor stays a one-file swap.

Knows connections, heads and bytes. Every foreign exception stops here and becomes a RelayError. What blocks, blocks in
the Watch of the invocation at hand: the network stream below reads without blocking and waits there.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpcore
import httpx

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.net import connect
from relay.net.chunked_body import AnswerFraming
from relay.net.wait import Wait

# DNS, TCP and TLS together. OpenAI's edge answers in tens of milliseconds; 4 s is one lost SYN and its retries.
_CONNECT_SECONDS = 4.0
# An idle connection is used again only within this time, on the wall clock: the environment may have been frozen
# meanwhile, and a connection that its peer or a NAT has forgotten swallows a POST without a word.
_IDLE_SECONDS = 3.0
# Unacknowledged bytes on a dead path end the connection after this time instead of at the deadline (tcp(7)).
_UNACKNOWLEDGED_MS = 5000
# What is written waits for more up to this size, and until the answer is read: a prompt of some pages and its head.
_HELD_BYTES = 16_384
# As httpcore reads.
_READ_BYTES = 65_536


class Call(Frozen):
    """One request to OpenAI. `path` is relative to the base URL and written by the relay, never by the caller."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class UpstreamResponse:
    """OpenAI's answer. Header names are lower-case; `chunks` yields bytes as they arrive and may raise RelayError.

    `close` is always to be called; a connection that was not read to its end is not used again.
    """

    def __init__(self, response: httpx.Response, closed: Callable[[], None]) -> None:
        self._response = response
        self._closed = closed
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.chunks = _chunks(response)

    def close(self) -> None:
        """Gives the connection back, or closes it."""
        self._response.close()
        self._closed()


class Upstream:
    """One client for one base URL. Keeps at most one idle connection, and only as long as that is safe.

    `tls_context` is needed for https; `clock` is the wall clock, in seconds.
    """

    def __init__(
        self, base_url: str, tls_context: ssl.SSLContext | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._base_url = base_url.rstrip("/")
        self._urls: dict[str, httpx.URL] = {}  # as many as there are endpoints
        self._backend = _Backend(clock)
        self._tls_context = tls_context
        if tls_context is not None:
            tls_context.set_alpn_protocols(["http/1.1"])  # as httpcore does before each connection
        self._transport = _Transport(
            httpcore.ConnectionPool(
                ssl_context=tls_context,
                max_connections=None,
                max_keepalive_connections=1,
                keepalive_expiry=_IDLE_SECONDS,
                network_backend=self._backend,
            )
        )
        self._last_used = 0.0

    def connect_ahead(self) -> None:
        """Begins to connect, beside whatever is done next, where `open` would have to. Nothing is sent.

        What is not used in time is used by the next request or closed by it: callers who are refused, in a loop as a rule,
        cause one handshake in three seconds and not one each.
        """
        self._drop_stale_connection()
        if not self._transport.has_idle():
            url = httpx.URL(self._base_url)
            port = url.port or (443 if url.scheme == "https" else 80)
            tls_context = self._tls_context if url.scheme == "https" else None
            self._backend.connect_ahead(url.raw_host.decode("ascii"), port, tls_context)

    def open(self, call: Call, watch: Wait) -> UpstreamResponse:
        """Sends `call` and returns the answer as soon as its head is there.

        Raises RelayError: UPSTREAM_UNREACHABLE when no byte of the request can have been processed,
        UPSTREAM_BROKEN when that is not certain, and what `watch` raises. Nothing is ever sent a second time after a
        byte of it has gone out.
        """
        self._drop_stale_connection()
        self._backend.watch = watch
        url = self._urls.get(call.path) or self._urls.setdefault(call.path, httpx.URL(self._base_url + call.path))
        request = httpx.Request(call.method, url, headers=dict(call.headers), content=call.body)
        with _errors():
            return UpstreamResponse(self._send(request, watch), self._used)

    def close(self) -> None:
        """Closes the connections that are kept; the next call opens a new one."""
        self._backend.drop_ahead()
        self._transport.close()

    def _used(self) -> None:
        self._last_used = self._clock()

    def _send(self, request: httpx.Request, watch: Wait) -> httpx.Response:
        self._backend.connecting = watch.within(_CONNECT_SECONDS)
        try:
            return self._transport.handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            # No byte of the request has left: the one failure that may be tried again.
            if not self._backend.connecting.seconds_left():
                raise
            return self._transport.handle_request(request)

    def _drop_stale_connection(self) -> None:
        idle = self._clock() - self._last_used
        if not 0.0 <= idle <= _IDLE_SECONDS:
            self._transport.close()


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    with _errors():
        yield from response.stream  # type: ignore[misc]  # httpx types the stream as sync or async


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise RelayError(ErrorKind.UPSTREAM_UNREACHABLE, log=_describe(error)) from error
    except httpx.HTTPError as error:
        raise RelayError(ErrorKind.UPSTREAM_BROKEN, log=_describe(error)) from error


def _describe(error: Exception) -> str:
    text = str(error)
    if isinstance(error, httpx.ProtocolError):
        # What follows a colon in h11's texts is what came, quoted: it may be a completion.
        text = text.partition(":")[0]
    return f"{type(error).__name__}: {text}"


_TO_HTTPX: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
}


@contextlib.contextmanager
def _to_httpx() -> Iterator[None]:
    try:
        yield
    except tuple(_TO_HTTPX) as error:
        raise _TO_HTTPX[type(error)](str(error)) from error


class _Transport(httpx.BaseTransport):
    """httpx over a pool with a network backend of our own, which httpx.HTTPTransport has no parameter for."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        with _to_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Stream(response))

    def has_idle(self) -> bool:
        return any(connection.is_idle() for connection in self._pool.connections)

    def close(self) -> None:
        self._pool.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        network: _NetworkStream = self._response.extensions["network_stream"]
        try:
            with _to_httpx():
                # Plain chunks go past httpcore and h11, which are most of what a token costs; what ends them does not.
                while data := network.read_body():
                    yield data
                yield from self._response.iter_stream()
        except BaseException:
            # As httpcore does where it reads itself: OpenAI is told to stop before the caller is told why.
            self.close()
            raise

    def close(self) -> None:
        with _to_httpx():
            self._response.close()


class _Backend(httpcore.NetworkBackend):
    """Connects while `connecting` lasts, resolver included, or takes what was connected ahead; what it returns waits in
    `watch`."""

    watch: Wait
    connecting: Wait

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead: connect.Ahead | None = None
        self._ahead_since = 0.0

    def connect_ahead(self, host: str, port: int, tls_context: ssl.SSLContext | None) -> None:
        if self._ahead is not None and self._is_fresh():
            return
        self.drop_ahead()
        wait = Wait(deadline=time.monotonic() + _CONNECT_SECONDS)

        def make() -> socket.socket:
            sock = _connect(host, port, wait)
            return sock if tls_context is None else connect.wrap_tls(sock, tls_context, host, wait)

        self._ahead, self._ahead_since = connect.Ahead(make), self._clock()

    def drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.drop()
            self._ahead = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        made = self._take_ahead()
        if made is not None:
            return made
        try:
            return _NetworkStream(_connect(host, port, self.connecting), self)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def _take_ahead(self) -> _NetworkStream | None:
        """What was connected ahead, if it is as good as a new connection. Its failure is no reason not to try anew."""
        if self._ahead is None or not self._is_fresh():
            self.drop_ahead()
            return None
        ahead, self._ahead = self._ahead, None
        sock = ahead.take(self.connecting)
        made = None if sock is None else _NetworkStream(sock, self)
        if made is not None and made.has_news():
            made.close()
            return None
        return made

    def _is_fresh(self) -> bool:
        # On the wall clock, because the environment may have been frozen meanwhile.
        return 0.0 <= self._clock() - self._ahead_since <= _IDLE_SECONDS


def _connect(host: str, port: int, wait: Wait) -> socket.socket:
    sock = connect.connect(host, port, wait)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; the tools also run on macOS
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    return sock


class _NetworkStream(httpcore.NetworkStream):
    """A socket that never blocks: what has to wait, waits in the invocation's Watch."""

    def __init__(self, sock: socket.socket, backend: _Backend) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._backend = backend
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._framing = AnswerFraming()
        self._early_body = b""
        self._unsent = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """For httpcore: the head of an answer, and of its body what `read_body` leaves. b"" when the peer has closed."""
        with contextlib.suppress(httpcore.WriteError):
            # As httpcore does: a peer that refuses to read on may have said why, and that is to be read next.
            self._send_held()
        while not (rest := self._framing.take_rest()) and (data := self._receive(max_bytes)):
            self._early_body += self._framing.feed(data)
        return rest

    def read_body(self) -> bytes:
        """Body of the answer of which the head was read; b"" when all that may follow is for httpcore to read."""
        body, self._early_body = self._early_body, b""
        while not body and self._framing.in_body and (data := self._receive(_READ_BYTES)):
            body = self._framing.feed(data)
        return body

    def _receive(self, max_bytes: int) -> bytes:
        """Waits for bytes; b"" when the peer has closed."""
        while True:
            # What the TLS layer holds decrypted, poll(2) no longer sees.
            if self._tls is None or not self._tls.pending():
                self._backend.watch.readable(self._sock.fileno())
            try:
                return self._sock.recv(max_bytes)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue  # half a TLS record, or a socket that only seemed readable
            except ssl.SSLWantWriteError:
                self._backend.watch.writable(self._sock.fileno())
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # What is read after this is another answer.
        self._framing, self._early_body = AnswerFraming(), b""
        if len(self._unsent) + len(buffer) <= _HELD_BYTES:
            # Head and body come one after the other: together they take one packet and wake the other side once.
            self._unsent += buffer
            return
        self._send_held()
        self._send(buffer)

    def _send_held(self) -> None:
        held, self._unsent = self._unsent, b""
        self._send(held)

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._backend.watch.writable(self._sock.fileno())
            except ssl.SSLWantReadError:
                self._backend.watch.readable(self._sock.fileno())
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._tls is not None:
            return self  # connected ahead, with the same context and for the same name
        try:
            return _NetworkStream(
                connect.wrap_tls(self._sock, ssl_context, server_hostname, self._backend.connecting),
                self._backend,
            )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the TLS handshake took too long") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._is_readable()
        if info == "ssl_object":
            return self._tls
        return self._sock if info == "socket" else None

    def _is_readable(self) -> bool:
        """Of an idle connection, where nothing is due: it was closed, or is not to be trusted. What came already, behind
        the last answer, counts too."""
        return not self._framing.exact or self.has_news()

    def has_news(self) -> bool:
        """Whether the peer has sent something or closed, where nothing is due. (TLS 1.3 session tickets also make the bare
        socket readable; the TLS layer swallows them, so it is asked.)"""
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True
