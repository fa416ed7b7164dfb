"""A local OpenID Connect issuer: its discovery document, its key set, tokens on demand, keys that rotate.

with Issuer("https://issuer.invalid/") as issuer:
    issuer.token("ann")                       what a company's identity provider would give to Ann
    issuer.rotate()                           a new key signs; the old one is published for as long as you keep it
    issuer.base_url                           where the discovery document is, as the issuer's own URL is nobody's
"""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from emulator.net.listener import Listener
from emulator.processes.loop_thread import LoopThread
from emulator.signing import rsa

DISCOVERY, KEY_SET = "/.well-known/openid-configuration", "/keys"


class Issuer:
    """`url` is the `iss` of its tokens, `audience` their `aud`."""

    def __init__(self, url: str, audience: str = "relay") -> None:
        self.url = url
        self.audience = audience
        self.keys: dict[str, rsa.PrivateKey] = {}
        self.asked = 0  # how often its key set was read
        self._listener = Listener(self._serve)
        self.rotate()

    def __enter__(self) -> Self:
        self._loop = LoopThread()
        self._loop.run(self._listener.start(0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._listener.close())
        self._loop.close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.port}"

    def rotate(self, *, keep: bool = True) -> None:
        """Signs with a new key from now on; without `keep` the older ones are no longer published."""
        if not keep:
            self.keys.clear()
        self.keys = {**self.keys, f"key-{len(self.keys)}-{time.time_ns()}": rsa.generate()}

    def token(self, subject: str, *, seconds: int = 8 * 3600, **claims: Any) -> str:
        """A token for `subject`; `claims` are further ones, or others in place of its own."""
        now = int(time.time())
        own = {"iss": self.url, "aud": self.audience, "sub": subject, "iat": now, "exp": now + seconds}
        return self.sign({**own, **claims})

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token with exactly these claims, and with other fields of its header."""
        id, key = list(self.keys.items())[-1]
        signed = signing_input({"alg": "RS256", "typ": "JWT", "kid": id, **header}, claims)
        return f"{signed}.{rsa.base64url(key.sign(signed.encode()))}"

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.url, "jwks_uri": f"{self.base_url}{KEY_SET}"})
        if request.path == KEY_SET:
            self.asked += 1
            return web.json_response({"keys": [_published(id, key.public) for id, key in self.keys.items()]})
        return web.Response(status=404)


def signing_input(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """What a token's signature is over: RFC 7515, section 5.1."""
    return ".".join(rsa.base64url(json.dumps(part).encode()) for part in (header, claims))


def _published(id: str, key: rsa.PublicKey) -> dict[str, str]:
    number = {"n": key.modulus.to_bytes(key.size), "e": key.exponent.to_bytes(3)}
    return {"kty": "RSA", "use": "sig", "kid": id, **{name: rsa.base64url(data) for name, data in number.items()}}
