"""The client for OpenAI's API: one request, one response whose bytes come as they arrive.

The only module that knows httpx, so that its successor stays a one-file swap. Every foreign exception stops here and
becomes a RelayError. The connection below is `transport`'s.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping

import httpcore
import httpx

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.net.wait import Wait
from relay.openai.transport import CONNECT_SECONDS, IDLE_SECONDS, Backend, NetworkStream

# The failures that httpcore raises where the relay uses it. Before any byte of a request has left, and after that.
_UNREACHABLE = (httpcore.ConnectTimeout, httpcore.ConnectError)
_BROKEN = (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError, httpcore.LocalProtocolError)


class Call(Frozen):
    """One request to OpenAI. `path` is relative to the base URL and written by the relay, never by the caller."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class UpstreamResponse:
    """OpenAI's response. Header names are lower-case; `chunks` yields bytes as they arrive and may raise RelayError.

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
        self._backend = Backend(clock)
        self._tls_context = tls_context
        if tls_context is not None:
            tls_context.set_alpn_protocols(["http/1.1"])  # as httpcore does before each connection
        self._transport = _Transport(
            httpcore.ConnectionPool(
                ssl_context=tls_context,
                max_connections=None,
                max_keepalive_connections=1,
                keepalive_expiry=IDLE_SECONDS,
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

    def open(self, call: Call, wait: Wait) -> UpstreamResponse:
        """Sends `call` and returns the response as soon as its head is there.

        Raises RelayError: UPSTREAM_UNREACHABLE when no byte of the request can have been processed,
        UPSTREAM_BROKEN when that is not certain, and what `wait` raises. Nothing is ever sent a second time after a
        byte of it has gone out.
        """
        self._drop_stale_connection()
        self._backend.wait = wait
        url = self._urls.get(call.path) or self._urls.setdefault(call.path, httpx.URL(self._base_url + call.path))
        request = httpx.Request(call.method, url, headers=dict(call.headers), content=call.body)
        with _errors():
            return UpstreamResponse(self._send(request, wait), self._used)

    def close(self) -> None:
        """Closes the connections that are kept; the next call opens a new one."""
        self._backend.drop_ahead()
        self._transport.close()

    def _used(self) -> None:
        self._last_used = self._clock()

    def _send(self, request: httpx.Request, wait: Wait) -> httpx.Response:
        self._backend.connecting = wait.within(CONNECT_SECONDS)
        try:
            return self._transport.handle_request(request)
        except _UNREACHABLE:
            # No byte of the request has left: the one failure that may be tried again.
            if not self._backend.connecting.seconds_left():
                raise
            return self._transport.handle_request(request)

    def _drop_stale_connection(self) -> None:
        idle = self._clock() - self._last_used
        if not 0.0 <= idle <= IDLE_SECONDS:
            self._transport.close()


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    with _errors():
        yield from response.stream  # type: ignore[misc]  # httpx types the stream as sync or async


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except _UNREACHABLE as error:
        raise RelayError(ErrorKind.UPSTREAM_UNREACHABLE, log=_describe(error)) from error
    except _BROKEN as error:
        raise RelayError(ErrorKind.UPSTREAM_BROKEN, log=_describe(error)) from error


def _describe(error: Exception) -> str:
    text = str(error)
    if isinstance(error, httpcore.ProtocolError):
        # What follows a colon in h11's texts is what came, quoted: it may be a completion.
        text = text.partition(":")[0]
    return f"{type(error).__name__}: {text}"


class _Transport(httpx.BaseTransport):
    """httpx over a pool with a network backend of our own, which httpx.HTTPTransport has no parameter for."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
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
        network: NetworkStream = self._response.extensions["network_stream"]
        try:
            # Plain chunks go past httpcore and h11, which are most of what a token costs; what ends them does not.
            while data := network.read_body():
                yield data
            yield from self._response.iter_stream()
        except BaseException:  # whatever it was: it is raised again
            # As httpcore does where it reads itself: OpenAI is told to stop before the caller is told why.
            self.close()
            raise

    def close(self) -> None:
        self._response.close()
