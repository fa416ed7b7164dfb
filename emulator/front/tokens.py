"""API Gateway's JWT authorizer: a bearer token -> its claims, or a refusal. Independent of the relay; RSA only.

docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-jwt-authorizer.html. Not here: ES256 and its kin.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from emulator.signing import rsa

KEYS_SECONDS = 2 * 3600  # how long API Gateway may keep a key set; an unknown key id makes it look again
_LOOK_AGAIN_SECONDS = 1.0
_LONGEST_TOKEN = 8192


class UnauthorizedError(Exception):
    """The token lets nobody in. The text is for tests and the log, never for the caller."""


class ForbiddenError(Exception):
    """The token is valid, and has none of the scopes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """One issuer as the template trusts it. `claims`: name -> the accepted value, None for any. `base_url` is where its
    discovery document is, where that is not `url`."""

    url: str
    audiences: Sequence[str]
    claims: Mapping[str, str | None] = field(default_factory=dict)
    base_url: str = ""


class JwtAuthorizer:
    """`clock` counts seconds since the epoch."""

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        algorithms: Sequence[str],
        scopes: Sequence[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._algorithms = frozenset(algorithms)
        self._scopes = frozenset(scopes)
        self._clock = clock
        self._keys: dict[str, tuple[float, dict[str, rsa.PublicKey]]] = {}

    async def claims(self, authorization: str) -> dict[str, Any]:
        """The claims of the token in an Authorization header. Raises UnauthorizedError and ForbiddenError."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            raise UnauthorizedError("no bearer")
        header, claims, signed, signature = _parts(token)
        url = claims.get("iss")
        issuer = self._issuers.get(url) if isinstance(url, str) else None
        if issuer is None:
            raise UnauthorizedError("issuer")
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms or algorithm not in rsa.ALGORITHMS:
            raise UnauthorizedError("algorithm")
        if not isinstance(key_id, str):
            raise UnauthorizedError("kid")
        key = await self._key(issuer, key_id)
        if not key.verifies(signed, signature, algorithm):
            raise UnauthorizedError("signature")
        self._judge(issuer, claims)
        return claims

    def _judge(self, issuer: TrustedIssuer, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        expires, begins, issued = (claims.get(name) for name in ("exp", "nbf", "iat"))
        if _seconds(expires, "exp") <= now:
            raise UnauthorizedError("exp")
        for name, at in (("nbf", begins), ("iat", issued)):
            if at is not None and _seconds(at, name) > now:
                raise UnauthorizedError(name)
        audiences = claims.get("aud")
        given = audiences if isinstance(audiences, list) else [audiences]
        if not any(isinstance(each, str) and each in issuer.audiences for each in given):
            raise UnauthorizedError("aud")
        for name, accepted in issuer.claims.items():
            value = claims.get(name)
            if not isinstance(value, str) or (accepted is not None and value != accepted):
                raise UnauthorizedError(name)
        scopes = claims.get("scope", claims.get("scp", ""))
        granted = scopes if isinstance(scopes, list) else str(scopes).split(" ")
        if self._scopes and not self._scopes & set(map(str, granted)):
            raise ForbiddenError("scope")

    async def _key(self, issuer: TrustedIssuer, id: str) -> rsa.PublicKey:
        read_at, keys = self._keys.get(issuer.url, (float("-inf"), {}))
        age = self._clock() - read_at
        if age > KEYS_SECONDS or (id not in keys and age > _LOOK_AGAIN_SECONDS):
            keys = await _read_keys(issuer)
            self._keys[issuer.url] = (self._clock(), keys)
        if id not in keys:
            raise UnauthorizedError("kid")
        return keys[id]


def _seconds(value: object, name: str) -> float:
    """A time of RFC 7519: a number of seconds since the epoch. Raises UnauthorizedError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnauthorizedError(name)
    return value


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, what is signed, and the signature. Raises UnauthorizedError."""
    try:
        header, claims, signature = token.split(".")
        decoded = [json.loads(rsa.from_base64url(part)) for part in (header, claims)]
        if not all(isinstance(each, dict) for each in decoded):
            raise UnauthorizedError("no objects")
        return decoded[0], decoded[1], f"{header}.{claims}".encode(), rsa.from_base64url(signature)
    except (ValueError, RecursionError) as error:
        raise UnauthorizedError("form") from error


async def _read_keys(issuer: TrustedIssuer) -> dict[str, rsa.PublicKey]:
    place = (issuer.base_url or issuer.url).rstrip("/")
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"{place}/.well-known/openid-configuration") as found:
                where = (await found.json(content_type=None))["jwks_uri"]
            async with session.get(where) as found:
                published = (await found.json(content_type=None))["keys"]
        return {
            key["kid"]: rsa.PublicKey(
                modulus=int.from_bytes(rsa.from_base64url(key["n"])),
                exponent=int.from_bytes(rsa.from_base64url(key["e"])),
            )
            for key in published
            if key.get("kty") == "RSA" and "kid" in key
        }
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise UnauthorizedError("the issuer's keys cannot be read") from error
