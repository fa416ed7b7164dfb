"""The API for keys and tokens: whom it lets in, how it refuses the others, how its streams come through."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from botocore.credentials import Credentials

from clients.report import Finding, judged, skipped
from clients.signing import Signer, endpoint, is_loopback
from clients.smoke import streams
from clients.smoke.endpoint import MODELS, Endpoint, error_code, short

KEY_VARIABLE = "RELAY_API_KEY"
"""The environment variable with the key or token: what is on a command line, everybody on the machine reads."""
NOBODYS = {
    "no bearer": "",
    "what is no key": "sk-0123456789abcdef",
    "a key that was never issued": f"sk-relay-{'0' * 49}",
    "a token that nobody signed": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer(Signer):
    """Sends a key or a token in the place of a signature; "" sends none."""

    bearer: str = field(repr=False)

    def sign(self, method: str, url: str, body: bytes, content_type: str = "") -> dict[str, str]:
        """Return the header to add to the request."""
        return {"authorization": f"Bearer {self.bearer}"} if self.bearer else {}


def address(base_url: str) -> str:
    """Return the URL at which OpenAI's paths begin for what a client's OPENAI_BASE_URL is, "" for "". Raises ValueError for
    what is none, and for http to another machine: whoever reads a bearer on the way is its holder."""
    try:
        url = endpoint(base_url) if base_url else ""
    except ValueError as error:
        raise ValueError(f"--api: {error}") from None
    if url and urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ValueError(f"--api is {base_url!r}; allowed: a URL with https, or a bearer would travel in clear")
    return url


def api(at: Endpoint, base_url: str, bearer: str) -> Iterator[Finding]:
    """Nobody is let in with a bearer that was never given out; with one that was, streams come through event by event.

    `base_url` is what a client's OPENAI_BASE_URL is: https://.../v1, or https://.../sso/v1 for a token. Raises ValueError.
    """
    if not base_url:
        yield skipped("the API lets in holders of keys and tokens", "there was no --api", "Give the output ApiBaseUrl.")
        return
    door = dataclasses.replace(at, url=address(base_url))
    for what, text in NOBODYS.items():
        response = door.send(door.request(b"", _bearer(text), MODELS, method="GET"))
        kept = response.status_code == 401 and error_code(response) == "invalid_api_key"
        yield judged(
            f"{what} is refused with 401 in OpenAI's shape",
            kept and response.headers.get("x-should-retry") == "false",
            short(response),
            "Deploy the stack again, and look for changes made by hand to the API's authorizers and gateway responses.",
        )
    if not bearer:
        yield skipped(
            "the API streams", f"{KEY_VARIABLE} is not set", "Set it to a key of `operate key create`, or a token."
        )
        return
    yield from streams.streaming(dataclasses.replace(door, signer=_bearer(bearer)))


def _bearer(text: str) -> Bearer:
    return Bearer(credentials=Credentials("", ""), region="", bearer=text)
