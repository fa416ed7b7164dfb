"""OpenAI's own SDK, signed; nothing else about it changes. Knows httpx2, on which the SDK (3.x) is built, or httpx (2.x).

from clients.signed_openai import client
relay = client("https://abc.lambda-url.eu-central-1.on.aws")
for event in relay.chat.completions.create(model="gpt-6-luna", messages=[...], stream=True): ...
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

import openai

if TYPE_CHECKING:
    import httpx2 as httpx
else:  # the library on which the installed SDK is built
    httpx = sys.modules["httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx"]

if TYPE_CHECKING or __package__:
    from .signing import CREDENTIAL_ERRORS, Signer, endpoint, error_body, is_loopback, openai_error, signer
else:  # copied, beside signing.py
    from signing import CREDENTIAL_ERRORS, Signer, endpoint, error_body, is_loopback, openai_error, signer

# The SDK insists on a key. It never leaves: the signature takes its place in the Authorization header.
NO_KEY = "signed-with-aws"


class SigningError(Exception):
    """The credentials cannot be used. The text is for a person: one line that says what to do."""


class LambdaAuth(httpx.Auth):
    """Signs each request as it is sent: the SDK's retries, too, carry a fresh date and fresh credentials."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def _sign(self, request: httpx.Request) -> None:
        content_type = request.headers.get("content-type", "")
        try:
            signed = self._signer.sign(request.method, str(request.url), request.content, content_type)
        except CREDENTIAL_ERRORS as error:
            raise SigningError(str(error)) from error
        request.headers.update(signed)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.read()
        self._sign(request)
        yield request

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        await request.aread()
        # In a thread, because refreshing credentials is network I/O of boto3's.
        await asyncio.to_thread(self._sign, request)
        yield request


class SignedClient(openai.DefaultHttpxClient):
    """The SDK's HTTP client; what AWS refuses, and credentials that fail, arrive as errors in OpenAI's shape.

    An exception would be retried by the SDK and reported as "Connection error."; AWS's shape would not be shown.
    """

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            response = super().send(request, **options)
        except SigningError as error:
            return _unsigned(request, error)
        if response.is_error:
            response.read()
        return _in_openai_shape(response)


class AsyncSignedClient(openai.DefaultAsyncHttpxClient):
    """`SignedClient` for asyncio."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            response = await super().send(request, **options)
        except SigningError as error:
            return _unsigned(request, error)
        if response.is_error:
            await response.aread()
        return _in_openai_shape(response)


def _unsigned(request: httpx.Request, error: SigningError) -> httpx.Response:
    body = error_body(f"The request was not sent: {error}", "aws_credentials")
    return httpx.Response(401, headers={**_JSON, "x-should-retry": "false"}, content=body, request=request)


def _in_openai_shape(response: httpx.Response) -> httpx.Response:
    if not response.is_error:
        return response
    body = openai_error(response.content, response.headers.get("x-amzn-errortype", ""))
    if body is None:
        return response
    kept = {name: text for name, text in response.headers.items() if name not in _OF_THE_BODY}
    return httpx.Response(response.status_code, headers={**kept, **_JSON}, content=body, request=response.request)


_JSON = {"content-type": "application/json"}
_OF_THE_BODY = {"content-length", "content-encoding", "transfer-encoding", "content-type"}


def http_client(url: str, **signing: Any) -> httpx.Client:
    """Build the SDK's HTTP client with its own time-outs, signing; `signing` as in `clients.signing.signer`.

    Redirects are not followed: the headers that sign for one host must not travel to another. The machine's proxy
    (HTTPS_PROXY, NO_PROXY) is used, but not to reach this machine itself.
    """
    auth = LambdaAuth(signer(url, **signing))
    return SignedClient(auth=auth, follow_redirects=False, trust_env=not is_loopback(url))


def async_http_client(url: str, **signing: Any) -> httpx.AsyncClient:
    """`http_client` for asyncio."""
    auth = LambdaAuth(signer(url, **signing))
    return AsyncSignedClient(auth=auth, follow_redirects=False, trust_env=not is_loopback(url))


def client(url: str, **signing: Any) -> openai.OpenAI:
    """Build an OpenAI client for the relay at `url`, with or without its "/v1"; ValueError for what is no URL."""
    return openai.OpenAI(base_url=f"{endpoint(url)}/v1", api_key=NO_KEY, http_client=http_client(url, **signing))


def async_client(url: str, **signing: Any) -> openai.AsyncOpenAI:
    """`client` for asyncio."""
    return openai.AsyncOpenAI(
        base_url=f"{endpoint(url)}/v1", api_key=NO_KEY, http_client=async_http_client(url, **signing)
    )
