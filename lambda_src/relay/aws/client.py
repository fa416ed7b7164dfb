"""One AWS JSON service: a signed POST per call, on a connection that is kept while that is safe.

Knows HTTP/1.1 by `net`, the services' endpoints and their error shape. Repeats nothing: whoever calls knows what is
safe to repeat. Why not boto3: docs/decisions/0011.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from relay.aws.errors import AwsError
from relay.aws.signing import Credentials, Scope, Signer
from relay.errors import RelayError
from relay.frozen import Frozen
from relay.models import Json, JsonObject
from relay.net import connect, tls
from relay.net.http1_response import BadResponseError, ResponseReader
from relay.net.wait import Wait

# An idle connection is used again only within this time, on the wall clock: the process may have been frozen meanwhile.
_IDLE_SECONDS = 3.0
_RESPONSE_BYTES = 1 << 24  # DynamoDB returns 1 MB at most, Secrets Manager 64 KB; both in JSON's escapes
_READ_BYTES = 1 << 16
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class Service(Frozen):
    """One of AWS's JSON services.

    `target` is the prefix of the operation in `x-amz-target`. `call_seconds` is the most that one call may take,
    connecting included, however much time is left.
    """

    name: str
    target: str
    json_version: str
    call_seconds: float


SECRETS_MANAGER = Service(name="secretsmanager", target="secretsmanager", json_version="1.1", call_seconds=1.2)
DYNAMODB = Service(name="dynamodb", target="DynamoDB_20120810", json_version="1.0", call_seconds=0.8)
"""DynamoDB responds in under 10 ms as a rule, and the ledger repeats what is safe to repeat, so its calls are shorter."""


class Client:
    """Calls one service at one endpoint. One call at a time."""

    def __init__(
        self,
        service: Service,
        *,
        url: str,
        region: str,
        credentials: Callable[[], Credentials],
        tls_context: ssl.SSLContext | None,
    ) -> None:
        parts = urlsplit(url)
        self._service = service
        self._host = parts.netloc
        self._name, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._secure = parts.scheme == "https"
        self._signer = Signer(Scope(service=service.name, region=region), credentials)
        self._tls_context = tls_context
        self._sock: socket.socket | None = None
        self._used_at = 0.0

    def call(
        self, operation: str, body: Mapping[str, Any], *, until: float | None = None, stop_fd: int = -1
    ) -> JsonObject:
        """Makes one attempt at `operation` and returns the response's JSON.

        It is over by `until` (time.monotonic()'s clock), and within the service's `call_seconds` in any case. Raises
        AwsError; RelayError(SHUTDOWN) as soon as `stop_fd` becomes readable.
        """
        data = _COMPACT.encode(body).encode()
        now = time.monotonic()
        limit = now + self._service.call_seconds
        wait = Wait(deadline=limit if until is None else min(until, limit), stop_fd=stop_fd)
        try:
            if wait.deadline <= now:
                raise TimeoutError("no time left")
            sock = self._connected(wait)
            _send(sock, self._request(operation, data), wait)
            response = _receive(sock, wait)
        except (OSError, BadResponseError) as error:
            self.close()
            raise AwsError("Unreachable", {"message": type(error).__name__}) from error
        except RelayError:
            self.close()  # a response that nobody waits for would be read as the next one's
            raise
        self._used_at = time.time()
        if not response.reusable:
            self.close()
        return _parse(response.status, response.body)

    def close(self) -> None:
        """Drops the connection; the next call opens a new one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _connected(self, wait: Wait) -> socket.socket:
        """A connection that is good; it does not block."""
        if self._sock is not None and not self._is_fresh(self._sock):
            self.close()
        if self._sock is None:
            self._sock = self._connect(wait)
        return self._sock

    def _connect(self, wait: Wait) -> socket.socket:
        sock = connect.connect(self._name, self._port, wait)
        if not self._secure:
            return sock
        context = self._tls_context or tls.context()
        return connect.wrap_tls(sock, context, self._name, wait)

    def _is_fresh(self, sock: socket.socket) -> bool:
        if not 0.0 <= time.time() - self._used_at <= _IDLE_SECONDS:
            return False
        try:
            sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False  # nothing is due on an idle connection: it was closed

    def _request(self, operation: str, data: bytes) -> bytes:
        headers = {
            "content-type": f"application/x-amz-json-{self._service.json_version}",
            "host": self._host,
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        signed = self._signer.sign(headers, data, at=time.time())
        signed |= {"accept-encoding": "identity", "content-length": str(len(data))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        return f"POST / HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + data


def _send(sock: socket.socket, data: bytes, wait: Wait) -> None:
    view = memoryview(data)
    wait.writable(sock.fileno())  # also hears a request to stop before anything is sent
    while view:
        try:
            view = view[sock.send(view) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            wait.writable(sock.fileno())
        except ssl.SSLWantReadError:
            wait.readable(sock.fileno())


def _receive(sock: socket.socket, wait: Wait) -> ResponseReader:
    """Reads a response to its end."""
    response = ResponseReader(_RESPONSE_BYTES)
    while True:
        # What TLS has already decrypted does not make the socket readable.
        if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            wait.readable(sock.fileno())
        try:
            if response.feed(sock.recv(_READ_BYTES)):
                return response
        except (BlockingIOError, ssl.SSLWantReadError):
            continue  # half a TLS record


def _parse(status: int, text: bytes) -> JsonObject:
    try:
        fields: Json = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise AwsError("Unreadable", {"message": f"HTTP {status}"}, status=status)
    if status != 200:
        # "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
        code = str(fields.get("__type") or fields.get("code") or f"HTTP{status}")
        raise AwsError(code.rpartition("#")[2], fields, status=status)
    return fields
