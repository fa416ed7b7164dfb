"""Checks that a request is signed by one of the local identities: Signature Version 4 in the Authorization header.

No I/O. Texts of the refusals are AWS's: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.signing.canonical_request import canonical_requests, to_bytes
from emulator.signing.identities import Identity

ALGORITHM = "AWS4-HMAC-SHA256"
CLOCK_SKEW = datetime.timedelta(minutes=5)
STAMP = "%Y%m%dT%H%M%SZ"
# Added behind the caller's signature by CloudFront; every other x-amz- header has to be signed.
NOT_SIGNED = frozenset({"x-amz-cf-id"})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """The parts of the header. `scope` is day, region, service and terminator."""

    access_key: str
    scope: tuple[str, ...]
    signed_headers: tuple[str, ...]
    signature: str


class Verifier:
    """Knows who may call one service in one region."""

    def __init__(self, identities: Sequence[Identity], region: str, service: str = "lambda") -> None:
        self._identities: Mapping[str, Identity] = {identity.access_key: identity for identity in identities}
        self._region = region
        self._service = service

    def verify(self, request: SignedRequest, now: datetime.datetime) -> Identity:
        """The identity that signed `request`. Raises `RefusedError`."""
        authorization = parse_authorization(request.header("authorization"))
        identity = self._identity_for(authorization.access_key, request)
        self._check_scope(authorization.scope)
        stamp = check_date(request, authorization.scope[0], now)
        payload_hash = hashlib.sha256(request.body).hexdigest()
        check_body_hash(request, payload_hash)
        check_signed_headers(authorization.signed_headers, request)
        canonical = canonical_requests(
            request.method, request.target, request.headers, authorization.signed_headers, payload_hash
        )
        expected = [sign(identity.secret_key, stamp, authorization.scope, each) for each in canonical]
        if not any(hmac.compare_digest(each, to_bytes(authorization.signature)) for each in expected):
            raise mismatch()
        return identity

    def _identity_for(self, access_key: str, request: SignedRequest) -> Identity:
        identity = self._identities.get(access_key)
        token = to_bytes(request.header("x-amz-security-token") or "")
        if identity is None or not hmac.compare_digest(token, identity.session_token.encode()):
            raise RefusedError("UnrecognizedClientException", "The security token included in the request is invalid.")
        return identity

    def _check_scope(self, scope: tuple[str, ...]) -> None:
        _, region, service, terminator = scope
        if region != self._region:
            raise invalid(f"Credential should be scoped to a valid region ({self._region}). ")
        if service != self._service:
            raise invalid(f"Credential should be scoped to correct service: '{self._service}'. ")
        if terminator != "aws4_request":
            raise invalid(
                f"Credential should be scoped with a valid terminator: 'aws4_request', not '{printable(terminator)}'. "
            )


def sign(secret_key: str, stamp: str, scope: tuple[str, ...], canonical: bytes) -> bytes:
    """The signature, in hexadecimal, of one canonical request."""
    text = f"{ALGORITHM}\n{stamp}\n{'/'.join(scope)}\n{hashlib.sha256(canonical).hexdigest()}"
    key = b"AWS4" + secret_key.encode()
    for part in scope:
        key = hmac.digest(key, to_bytes(part), "sha256")
    return hmac.digest(key, to_bytes(text), "sha256").hex().encode()


def parse_authorization(header: str | None) -> Authorization:
    """Raises RefusedError for what is missing or cannot be read."""
    if header is None:
        raise RefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = header.strip().partition(" ")
    hashed = base64.b64encode(hashlib.sha256(to_bytes(header)).digest()).decode()
    fields: dict[str, str] = {}
    for field in rest.split(",") if algorithm == ALGORITHM else [header]:
        name, equals, text = field.strip().partition("=")
        if not equals or algorithm != ALGORITHM:
            raise incomplete(
                "Invalid key=value pair (missing equal-sign) in Authorization header "
                f"(hashed with SHA-256 and encoded with Base64): '{hashed}'."
            )
        if name in fields:
            raise incomplete(f"Authorization header has '{printable(name)}' more than once.")
        fields[name] = text
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if missing:
        needed = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        raise incomplete(f"{needed} (Hashed with SHA-256 and encoded with Base64) Authorization={hashed}")
    access_key, *scope = fields["Credential"].split("/")
    if len(scope) != 4:
        raise incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{printable(fields['Credential'])}'"
        )
    return Authorization(
        access_key=access_key,
        scope=tuple(scope),
        signed_headers=tuple(fields["SignedHeaders"].split(";")),
        signature=fields["Signature"],
    )


def check_date(request: SignedRequest, scope_day: str, now: datetime.datetime) -> str:
    """The time of signing in ISO 8601's basic format, from X-Amz-Date or else Date; it has to be signed."""
    name = "x-amz-date" if request.header("x-amz-date") is not None else "date"
    text = request.header(name)
    if text is None:
        raise incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    at = parse_date(text)
    stamp = at.strftime(STAMP)
    if stamp[:8] != scope_day:
        raise invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{printable(scope_day)}' != '{stamp[:8]}', from '{stamp}'."
        )
    clock = now.strftime(STAMP)
    if at < now - CLOCK_SKEW:
        earliest = (now - CLOCK_SKEW).strftime(STAMP)
        raise invalid(f"Signature expired: {stamp} is now earlier than {earliest} ({clock} - 5 min.)")
    if at > now + CLOCK_SKEW:
        latest = (now + CLOCK_SKEW).strftime(STAMP)
        raise invalid(f"Signature not yet current: {stamp} is still later than {latest} ({clock} + 5 min.)")
    return stamp


def parse_date(text: str) -> datetime.datetime:
    """From the basic format of ISO 8601, which X-Amz-Date has, or the date of RFC 9110, which Date may have."""
    if re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text):
        try:
            return datetime.datetime.strptime(text, STAMP).replace(tzinfo=datetime.UTC)
        except ValueError:
            pass
    try:
        return email.utils.parsedate_to_datetime(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{printable(text)}'. "
            "See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def check_signed_headers(signed: Sequence[str], request: SignedRequest) -> None:
    """Host, the date and every x-amz- header have to be in the list, which is lower-case, sorted and without doubles."""
    names = {name.lower() for name, _ in request.headers}
    date = "x-amz-date" if "x-amz-date" in names else "date"
    amazon = {name for name in names if name.startswith("x-amz-")} - NOT_SIGNED
    for name in sorted({"host", date} | amazon):
        if name not in signed:
            titled = "-".join(word.capitalize() for word in name.split("-"))
            raise invalid(f"'{printable(titled)}' must be a 'SignedHeader' in the AWS Authorization.")
    if list(signed) != sorted(set(signed)) or any(name not in names for name in signed):
        raise mismatch()


def check_body_hash(request: SignedRequest, payload_hash: str) -> None:
    claimed = request.header("x-amz-content-sha256")
    if claimed is not None and claimed != payload_hash:
        raise invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")


def printable(text: str) -> str:
    """At most 100 characters of a caller's text, none of them a control character or broken UTF-8."""
    return to_bytes(text)[:100].decode("ascii", "backslashreplace").encode("unicode_escape").decode()


def incomplete(message: str) -> RefusedError:
    return RefusedError("IncompleteSignatureException", message)


def invalid(message: str) -> RefusedError:
    return RefusedError("InvalidSignatureException", message)


def mismatch() -> RefusedError:
    return RefusedError(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details.",
    )
