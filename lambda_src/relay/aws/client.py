"""One AWS JSON service: a signed POST per call, on a connection that is kept while that is safe.

Knows HTTP/1.1 by `net`, the services' endpoints and their error shape. Repeats nothing: whoever calls knows what is
safe to repeat. Why not boto3: docs/decisions/0011.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from relay.aws.credentials import Credentials
from relay.aws.errors import AwsError
from relay.aws.sigv4 import Scope, Signer
from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.models import Json, JsonObject
from relay.net import connect, tls
from relay.net.http1_response import BadResponseError, ResponseReader

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


def endpoint(service: Service, environ: Mapping[str, str]) -> str:
    """The service's URL, by the variables that all AWS SDKs obey."""
    specific = "AWS_ENDPOINT_URL_" + {"secretsmanager": "SECRETS_MANAGER"}.get(service.name, service.name.upper())
    given = environ.get(specific) or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION", "")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return given or f"https://{service.name}.{region}.{suffix}"


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
        self._signer = Signer(Scope(service=service.name, region=region))
        self._credentials = credentials
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
        limit = time.monotonic() + self._service.call_seconds
        until = limit if until is None else min(until, limit)
        try:
            _check_stop(stop_fd)
            sock = self._connected(until)
            sock.sendall(self._request(operation, data))
            response = _read(sock, until, stop_fd)
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

    def _connected(self, until: float) -> socket.socket:
        """A connection that is good, with what is left until `until` as its time-out."""
        if time.monotonic() >= until:
            raise TimeoutError("no time left")
        if self._sock is not None and not self._is_fresh(self._sock):
            self.close()
        if self._sock is None:
            self._sock = self._connect(until)
        self._sock.settimeout(connect.seconds_left(until))
        return self._sock

    def _connect(self, until: float) -> socket.socket:
        sock = connect.connect(self._name, self._port, until)
        if not self._secure:
            return sock
        context = self._tls_context or tls.context()
        sock.settimeout(connect.seconds_left(until))
        try:
            return context.wrap_socket(sock, server_hostname=self._name)
        except OSError:
            sock.close()
            raise

    def _is_fresh(self, sock: socket.socket) -> bool:
        if not 0.0 <= time.time() - self._used_at <= _IDLE_SECONDS:
            return False
        try:
            sock.settimeout(0)
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
        signed = self._signer.sign(headers, data, credentials=self._credentials(), at=time.time())
        signed |= {"accept-encoding": "identity", "content-length": str(len(data))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        return f"POST / HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + data


def _read(sock: socket.socket, until: float, stop_fd: int) -> ResponseReader:
    """Reads a response to its end by `until`: the time-out of a socket holds for each read anew."""
    response = ResponseReader(_RESPONSE_BYTES)
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    if stop_fd >= 0:
        poller.register(stop_fd, select.POLLIN)
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response takes too long")
        # What TLS has already decrypted does not make the socket readable.
        if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            ready = poller.poll(left * 1000)
            if any(fd == stop_fd for fd, _ in ready):
                raise RelayError(ErrorKind.SHUTDOWN, log="SIGTERM while waiting for AWS")
            if not ready:
                continue
        sock.settimeout(connect.seconds_left(until))
        if response.feed(sock.recv(_READ_BYTES)):
            return response


def _check_stop(stop_fd: int) -> None:
    if stop_fd < 0:
        return
    poller = select.poll()
    poller.register(stop_fd, select.POLLIN)
    if poller.poll(0):
        raise RelayError(ErrorKind.SHUTDOWN, log="SIGTERM before AWS was asked")


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
