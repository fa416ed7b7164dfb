"""Is a request signed by one of our identities? SigV4, recomputed by botocore's own signer. Knows no sockets.

Texts of the refusals are AWS's. docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from emulator.front.identities import Identity

CLOCK_SKEW = datetime.timedelta(minutes=5)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+)\s*,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\Z"
)


class RefusedError(Exception):
    """A 403. `kind` goes to the x-amzn-ErrorType header, the text to the caller."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """The request as it stood on the wire: `target` is the raw path with its query, headers are in order."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [text for key, text in self.headers if key.lower() == name]
        return ",".join(values) if values else None


class _Signer(SigV4Auth):  # type: ignore[misc]  # botocore is untyped
    """botocore's signer, told which headers the client signed instead of choosing them."""

    def __init__(self, credentials: Credentials, region: str, signed: Sequence[str]) -> None:
        super().__init__(credentials, "lambda", region)
        self._signed = signed

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name, text in request.headers.items():
            if name.lower() in self._signed:
                chosen[name.lower()] = text
        return chosen


class Verifier:
    def __init__(self, identities: Sequence[Identity], region: str) -> None:
        self._identities: Mapping[str, Identity] = {one.access_key: one for one in identities}
        self._region = region

    def verify(self, request: SignedRequest, now: datetime.datetime) -> Identity:
        """The identity that signed `request`. Raises `RefusedError`."""
        match = parse_authorization(request.header("authorization"))
        identity = self._identity_for(match["credential"], request)
        self._check_scope(match["credential"])
        stamp = check_date(request.header("x-amz-date"), match["credential"].split("/")[1], now)
        signed = match["headers"].split(";")
        check_signed_headers(signed, request)
        check_body_hash(request)
        if not hmac.compare_digest(self._signature(request, identity, signed, stamp), match["signature"]):
            raise mismatch()
        return identity

    def _identity_for(self, credential: str, request: SignedRequest) -> Identity:
        identity = self._identities.get(credential.split("/")[0])
        token = request.header("x-amz-security-token") or ""
        if identity is None or not hmac.compare_digest(token.encode(), identity.session_token.encode()):
            raise RefusedError("UnrecognizedClientException", "The security token included in the request is invalid.")
        return identity

    def _check_scope(self, credential: str) -> None:
        scope = credential.split("/")[1:]
        if len(scope) != 4 or scope[3] != "aws4_request":
            raise RefusedError(
                "IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements."
            )
        if scope[1] != self._region:
            raise RefusedError(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region ({self._region}).",
            )
        if scope[2] != "lambda":
            raise RefusedError("InvalidSignatureException", "Credential should be scoped to correct service: 'lambda'.")

    def _signature(self, request: SignedRequest, identity: Identity, signed: Sequence[str], stamp: str) -> str:
        again = AWSRequest(
            method=request.method, url=f"http://{request.header('host')}{request.target}", data=request.body
        )
        for name, text in request.headers:
            again.headers.add_header(name, text)
        again.context["timestamp"] = stamp
        signer = _Signer(Credentials(identity.access_key, identity.secret_key), self._region, signed)
        text = signer.string_to_sign(again, signer.canonical_request(again))
        return str(signer.signature(text, again))


def parse_authorization(header: str | None) -> re.Match[str]:
    if header is None:
        raise RefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = AUTHORIZATION.match(header.strip())
    if match is None:
        raise RefusedError(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
        )
    return match


def check_date(stamp: str | None, scope_day: str, now: datetime.datetime) -> str:
    try:
        at = datetime.datetime.strptime(stamp or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise RefusedError("IncompleteSignatureException", "A valid 'X-Amz-Date' header is required.") from None
    if stamp is None or stamp[:8] != scope_day:
        raise RefusedError(
            "InvalidSignatureException", "Date in Credential scope does not match the day of X-Amz-Date."
        )
    if at < now - CLOCK_SKEW:
        raise RefusedError(
            "InvalidSignatureException", f"Signature expired: {stamp} is more than 5 minutes in the past."
        )
    if at > now + CLOCK_SKEW:
        raise RefusedError(
            "InvalidSignatureException", f"Signature not yet current: {stamp} is more than 5 minutes ahead."
        )
    return stamp


def check_signed_headers(signed: Sequence[str], request: SignedRequest) -> None:
    if "host" not in signed:
        raise RefusedError("InvalidSignatureException", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if any(request.header(name) is None for name in signed):
        raise mismatch()


def check_body_hash(request: SignedRequest) -> None:
    claimed = request.header("x-amz-content-sha256")
    if claimed is not None and claimed != hashlib.sha256(request.body).hexdigest():
        raise RefusedError(
            "InvalidSignatureException",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )


def mismatch() -> RefusedError:
    return RefusedError(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details.",
    )
