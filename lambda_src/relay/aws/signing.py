"""Signs AWS calls: Signature Version 4 for POSTs to "/", and where credentials come from. The only module that imports boto3.

boto3 takes 200-400 ms to import and to build two clients, at every cold start, for calls that are one signed POST each.
It is needed only for finding credentials where they are not plainly in the environment (SnapStart's container
endpoint): there it is imported from the Lambda runtime's own packages.

Source: docs.aws.amazon.com/IAM/latest/UserGuide, "Create a signed AWS API request"; the tests compare every signature
with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from relay.aws.errors import AwsError
from relay.frozen import Frozen


class Credentials(Frozen):
    """What signs a request. `token` is "" for long-lived keys."""

    access_key: str
    secret_key: str
    token: str = ""


class Scope(Frozen):
    """What a signature is good for, beside its day."""

    service: str
    region: str


class Signer:
    """Signs POSTs to "/". `credentials` gives what signs, and is asked each time; it may raise AwsError.

    Keeps the key of the day, which lets nobody do what the credentials it comes from do not.
    """

    def __init__(self, scope: Scope, credentials: Callable[[], Credentials]) -> None:
        self._scope = scope
        self._credentials = credentials
        self._key_of = ("", "")
        self._key = b""

    def sign(self, headers: Mapping[str, str], data: bytes, *, at: float) -> dict[str, str]:
        """Returns `headers` with the date, the token and the signature added. All of them are signed.

        Names are lower-case, and values have no spaces around them. `at` is seconds since the epoch.
        """
        credentials = self._credentials()
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


def credential_source(access_key: str, secret_key: str, token: str) -> Callable[[], Credentials]:
    """Returns the source of credentials, to be called before each request. It raises AwsError("NoCredentials").

    On Lambda they are given by the environment and live as long as it does. Where they are "", boto3 finds and
    refreshes them.
    """
    if access_key and secret_key:
        fixed = Credentials(access_key=access_key, secret_key=secret_key, token=token)
        return lambda: fixed
    return _Boto3Credentials()


class _Boto3Credentials:
    """boto3's default chain, looked up at the first call."""

    def __init__(self) -> None:
        self._chain: Any = None  # botocore has no types

    def __call__(self) -> Credentials:
        if self._chain is None:
            self._chain = _default_chain()
        if self._chain is None:
            raise AwsError("NoCredentials")
        frozen = self._chain.get_frozen_credentials()
        return Credentials(access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token or "")


def _default_chain() -> Any:
    import site

    site.main()  # `bootstrap` starts Python without it; the runtime's packages are on the path only afterwards
    try:
        import boto3
    except ImportError:
        raise AwsError("NoCredentials") from None
    return boto3.Session().get_credentials()
