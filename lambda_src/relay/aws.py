"""AWS on the wire: two JSON services, signed. The only module that knows AWS credentials, signatures and boto3.

boto3 needs 200-400 ms to import and to make two clients, at every cold start, for calls that are one signed POST each;
so that POST is made here, over http.client. What boto3 is really needed for is finding credentials where they are not
plainly in the environment (SnapStart's container endpoint): there it is imported from the Lambda runtime's own
packages. Foreign exceptions stop here. Source of the signature: docs.aws.amazon.com/IAM/latest/UserGuide,
"Create a signed AWS API request"; the tests compare every signature with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from relay import connecting, store, tls
from relay.keys import StoreError

# How long one call may take, connecting included: a store that is down has to become a 503 within 1.5 s. The
# ledger repeats what is safe to repeat, so its calls are shorter; DynamoDB answers in under 10 ms as a rule.
_SECONDS = {"secretsmanager": 1.2, "dynamodb": 0.8}
# An idle connection is used again only within this time, on the wall clock: the process may have been frozen meanwhile.
_IDLE_SECONDS = 3.0
_ANSWER_BYTES = 1 << 24  # DynamoDB answers with 1 MB at most, Secrets Manager with 64 KB; both in JSON's escapes


class AwsError(Exception):
    """A call that did not do what was asked. `code` is the service's own, or "Unreachable" when there was no answer
    (`status` 0).

    `fields` is the error's JSON. Nothing is said about whether a write was applied: an answer can be lost after it.
    """

    def __init__(self, code: str, fields: Mapping[str, Any] | None = None, *, status: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.fields = fields or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What signs a request. `token` is "" for long-lived keys."""

    access_key: str
    secret_key: str
    token: str = ""


def credentials_from(environ: Mapping[str, str]) -> Callable[[], Credentials]:
    """Where credentials come from, asked before each call.

    On Lambda they are in the environment and live as long as it does. Anything else is left to boto3, which refreshes.
    """
    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    if access_key and secret_key:
        token = environ.get("AWS_SESSION_TOKEN", "")
        fixed = Credentials(access_key=access_key, secret_key=secret_key, token=token)
        return lambda: fixed
    return _Boto3Credentials()


class _Boto3Credentials:
    """boto3's default chain. Imported when first asked: it is not in the bundle but in the runtime's own packages."""

    def __init__(self) -> None:
        self._found: Any = None

    def __call__(self) -> Credentials:
        if self._found is None:
            self._found = _default_chain()
        if self._found is None:
            raise AwsError("NoCredentials")
        frozen = self._found.get_frozen_credentials()
        return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token or "")


def _default_chain() -> Any:
    import site

    site.main()  # `bootstrap` starts Python without it; the runtime's packages are on the path only afterwards
    try:
        import boto3
    except ImportError:
        raise AwsError("NoCredentials") from None
    return boto3.Session().get_credentials()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One of AWS's JSON services. `target` is the prefix of the operation in `x-amz-target`."""

    name: str
    target: str
    json_version: str


SECRETS_MANAGER = Service(name="secretsmanager", target="secretsmanager", json_version="1.1")
DYNAMODB = Service(name="dynamodb", target="DynamoDB_20120810", json_version="1.0")


def endpoint(service: Service, environ: Mapping[str, str]) -> str:
    """The service's URL, by the variables that all AWS SDKs obey."""
    specific = "AWS_ENDPOINT_URL_" + {"secretsmanager": "SECRETS_MANAGER"}.get(service.name, service.name.upper())
    given = environ.get(specific) or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION", "")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return given or f"https://{service.name}.{region}.{suffix}"


class Client:
    """Calls one service at one endpoint, on one connection that is kept while that is safe."""

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
        self._seconds = _SECONDS[service.name]
        self._host = parts.netloc
        self._name, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._secure = parts.scheme == "https"
        self._region = region
        self._credentials = credentials
        self._tls_context = tls_context
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One attempt at `operation`; the answer's JSON. Raises AwsError within about a second. Never repeats a call."""
        data = json.dumps(body, separators=(",", ":")).encode()
        until = time.monotonic() + self._seconds
        try:
            connection = self._connected(until)
            connection.request("POST", "/", body=data, headers=self._headers(operation, data))
            answer = connection.getresponse()
            status, text = answer.status, answer.read(_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise AwsError("Unreachable", {"message": type(error).__name__}) from error
        self._used_at = time.time()
        if answer.will_close:
            self.close()
        return _parsed(status, text)

    def close(self) -> None:
        """Drops the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self, until: float) -> http.client.HTTPConnection:
        if self._connection is not None and not self._is_fresh(self._connection):
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host)
            self._connection.sock = self._connect(until)
        self._connection.sock.settimeout(connecting.seconds_left(until))
        self._connection.response_class = partial(_Response, until)  # type: ignore[assignment]  # it is only called
        return self._connection

    def _connect(self, until: float) -> socket.socket:
        sock = connecting.connect(self._name, self._port, until)
        if not self._secure:
            return sock
        context = self._tls_context or tls.context()
        sock.settimeout(connecting.seconds_left(until))
        try:
            return context.wrap_socket(sock, server_hostname=self._name)
        except OSError:
            sock.close()
            raise

    def _is_fresh(self, connection: http.client.HTTPConnection) -> bool:
        if not 0.0 <= time.time() - self._used_at <= _IDLE_SECONDS:
            return False
        try:
            connection.sock.settimeout(0)
            connection.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False  # nothing is due on an idle connection: it was closed

    def _headers(self, operation: str, data: bytes) -> dict[str, str]:
        headers = {
            "content-type": f"application/x-amz-json-{self._service.json_version}",
            "host": self._host,
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        credentials = self._credentials()
        scope = Scope(service=self._service.name, region=self._region)
        return sign(headers, data, credentials=credentials, scope=scope, at=time.time())


class _Response(http.client.HTTPResponse):
    """http.client's, but read to its end by `until`: the time-out of a socket holds for each byte anew."""

    def __init__(self, until: float, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self.fp = io.BufferedReader(_Reader(sock, self.fp, until))


class _Reader(io.RawIOBase):
    """Reads `sock` by `until`; `file` is what holds it open."""

    def __init__(self, sock: socket.socket, file: IO[bytes], until: float) -> None:
        self._sock = sock
        self._file = file
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() >= self._until:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(connecting.seconds_left(self._until))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class SecretsManager:
    """Reads one secret, by name or ARN."""

    def __init__(self, client: Client, secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def read(self) -> str:
        """The secret's text. Raises StoreError, whose text names the cause and never the value."""
        return self._read({})

    def read_previous(self) -> str | None:
        """The text before the last change, or None when there was none. Raises StoreError."""
        try:
            return self._read({"VersionStage": "AWSPREVIOUS"})
        except StoreError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise

    def _read(self, version: Mapping[str, str]) -> str:
        try:
            text = self._client.call("GetSecretValue", {"SecretId": self._secret_id, **version}).get("SecretString")
        except AwsError as error:
            raise StoreError(f"Secrets Manager: {error.code}") from error
        if not isinstance(text, str):
            raise StoreError("Secrets Manager: the secret has no text value")
        return text


def _code(error: StoreError) -> str:
    return error.__cause__.code if isinstance(error.__cause__, AwsError) else ""


class DynamoDb:
    """The store's one attempt per call. See relay.store.DynamoDb."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises store.StoreError, or its ConditionFailedError with the item as the store judged it."""
        try:
            return self._client.call(operation, body)
        except AwsError as error:
            if error.code == store.CONDITION_FAILED:
                raise store.ConditionFailedError(error.fields.get("Item")) from None
            text = error.fields.get("message") or error.fields.get("Message") or ""
            raise store.StoreError("ServiceUnavailable" if error.status >= 500 else error.code, str(text)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a signature is good for, beside its day."""

    service: str
    region: str


def sign(
    headers: Mapping[str, str], data: bytes, *, credentials: Credentials, scope: Scope, at: float
) -> dict[str, str]:
    """`headers` of a POST to "/" with the date, the token and the signature added. All of them are signed.

    Names are lower-case. `at` is seconds since the epoch.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    signed = {**headers, "x-amz-date": stamp}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(data).hexdigest()}"
    place = f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{place}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in place.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{place}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _parsed(status: int, text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise AwsError("Unreadable", {"message": f"HTTP {status}"}, status=status)
    if status != 200:
        # "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
        code = str(fields.get("__type") or fields.get("code") or f"HTTP{status}")
        raise AwsError(code.rpartition("#")[2], fields, status=status)
    return fields
