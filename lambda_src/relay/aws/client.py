"""AWS on the wire: two JSON services, signed. The only module that knows AWS credentials, signatures and boto3.

boto3 needs 200-400 ms to import and to make two clients, at every cold start, for calls that are one signed POST each;
so that POST is made here. What boto3 is really needed for is finding credentials where they are not
plainly in the environment (SnapStart's container endpoint): there it is imported from the Lambda runtime's own
packages. Foreign exceptions stop here. Source of the signature: docs.aws.amazon.com/IAM/latest/UserGuide,
"Create a signed AWS API request"; the tests compare every signature with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from relay.frozen import Frozen
from relay.ledger import store
from relay.net import connect, tls
from relay.net.http1_response import BadResponseError, ResponseReader
from relay.openai.credentials import SecretError

# How long one call may take, connecting included: a store that is down has to become a 503 within 1.5 s. The
# ledger repeats what is safe to repeat, so its calls are shorter; DynamoDB answers in under 10 ms as a rule.
_SECONDS = {"secretsmanager": 1.2, "dynamodb": 0.8}
# An idle connection is used again only within this time, on the wall clock: the process may have been frozen meanwhile.
_IDLE_SECONDS = 3.0
_ANSWER_BYTES = 1 << 24  # DynamoDB answers with 1 MB at most, Secrets Manager with 64 KB; both in JSON's escapes
_READ_BYTES = 1 << 16
_COMPACT = json.JSONEncoder(separators=(",", ":"))


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


class Credentials(Frozen):
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


class Service(Frozen):
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
        self._signer = Signer(Scope(service=service.name, region=region))
        self._credentials = credentials
        self._tls_context = tls_context
        self._sock: socket.socket | None = None
        self._used_at = 0.0

    def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One attempt at `operation`; the answer's JSON. Raises AwsError within about a second. Never repeats a call."""
        data = _COMPACT.encode(body).encode()
        until = time.monotonic() + self._seconds
        try:
            sock = self._connected(until)
            sock.sendall(self._request(operation, data))
            answer = _answer(sock, until)
        except (OSError, BadResponseError) as error:
            self.close()
            raise AwsError("Unreachable", {"message": type(error).__name__}) from error
        self._used_at = time.time()
        if not answer.reusable:
            self.close()
        return _parsed(answer.status, answer.body)

    def close(self) -> None:
        """Drops the connection; the next call opens a new one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _connected(self, until: float) -> socket.socket:
        """A connection that is good, with what is left until `until` as its time-out."""
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


def _answer(sock: socket.socket, until: float) -> ResponseReader:
    """Read to its end by `until`: the time-out of a socket holds for each read anew."""
    answer = ResponseReader(_ANSWER_BYTES)
    while True:
        if time.monotonic() >= until:
            raise TimeoutError("the answer takes too long")
        sock.settimeout(connect.seconds_left(until))
        if answer.feed(sock.recv(_READ_BYTES)):
            return answer


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
        except SecretError as error:
            if _code(error) == "ResourceNotFoundException":
                return None
            raise

    def _read(self, version: Mapping[str, str]) -> str:
        try:
            text = self._client.call("GetSecretValue", {"SecretId": self._secret_id, **version}).get("SecretString")
        except AwsError as error:
            raise SecretError(f"Secrets Manager: {error.code}") from error
        if not isinstance(text, str):
            raise SecretError("Secrets Manager: the secret has no text value")
        return text


def _code(error: SecretError) -> str:
    return error.__cause__.code if isinstance(error.__cause__, AwsError) else ""


class DynamoDb:
    """The store's one attempt per call. See relay.ledger.store.DynamoDb."""

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


class Scope(Frozen):
    """What a signature is good for, beside its day."""

    service: str
    region: str


class Signer:
    """Signs POSTs to "/". Keeps the key of the day, which lets nobody do what the credentials it comes from do not."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._key_of = ("", "")
        self._key = b""

    def sign(self, headers: Mapping[str, str], data: bytes, *, credentials: Credentials, at: float) -> dict[str, str]:
        """`headers` with the date, the token and the signature added. All of them are signed.

        Names are lower-case, and values have no spaces around them. `at` is seconds since the epoch.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        signed = {**headers, "x-amz-date": stamp}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token.strip()
        order = sorted(signed)
        names = ";".join(order)
        lines = "".join([f"{name}:{signed[name]}\n" for name in order])
        canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(data).hexdigest()}"
        place = f"{stamp[:8]}/{self._scope.region}/{self._scope.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{place}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(credentials.secret_key, place), text.encode(), "sha256").hex()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{place}, SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _signing_key(self, secret: str, place: str) -> bytes:
        if self._key_of != (secret, place):
            key = f"AWS4{secret}".encode()
            for part in place.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, (secret, place)
        return self._key


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
