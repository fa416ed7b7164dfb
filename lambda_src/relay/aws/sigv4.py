"""Signature Version 4 for POSTs to "/". No I/O.

Source: docs.aws.amazon.com/IAM/latest/UserGuide, "Create a signed AWS API request"; the tests compare every signature
with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

from relay.aws.credentials import Credentials
from relay.frozen import Frozen


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
        """Returns `headers` with the date, the token and the signature added. All of them are signed.

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
