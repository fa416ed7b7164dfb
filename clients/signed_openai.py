"""OpenAI's own SDK, signed; nothing else about it changes. Knows httpx2, on which the SDK (3.x) is built.

from clients.signed_openai import client
relay = client("https://abc.lambda-url.eu-central-1.on.aws")
for event in relay.chat.completions.create(model="gpt-5-mini", messages=[...], stream=True): ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx2
import openai

from clients.signing import Signer, endpoint, signer

# The SDK insists on a key. It never leaves: the signature takes its place in the Authorization header.
NO_KEY = "signed-with-aws"


class LambdaAuth(httpx2.Auth):
    """Signs each request as it is sent: the SDK's retries, too, carry a fresh date and fresh credentials."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def _sign(self, request: httpx2.Request) -> None:
        content_type = request.headers.get("content-type", "")
        request.headers.update(self._signer.sign(request.method, str(request.url), request.content, content_type))

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.read()
        self._sign(request)
        yield request

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        await request.aread()
        # In a thread, because refreshing credentials is network I/O of boto3's.
        await asyncio.to_thread(self._sign, request)
        yield request


def http_client(url: str, **signing: Any) -> httpx2.Client:
    """The SDK's HTTP client with its own time-outs, signing; `signing` as in `clients.signing.signer`.

    Redirects are not followed: the headers that sign for one host must not travel to another.
    """
    return openai.DefaultHttpxClient(auth=LambdaAuth(signer(url, **signing)), follow_redirects=False)


def async_http_client(url: str, **signing: Any) -> httpx2.AsyncClient:
    """`http_client` for asyncio."""
    return openai.DefaultAsyncHttpxClient(auth=LambdaAuth(signer(url, **signing)), follow_redirects=False)


def client(url: str, **signing: Any) -> openai.OpenAI:
    """An OpenAI client for the relay at `url`, with or without its "/v1"."""
    return openai.OpenAI(base_url=f"{endpoint(url)}/v1", api_key=NO_KEY, http_client=http_client(url, **signing))


def async_client(url: str, **signing: Any) -> openai.AsyncOpenAI:
    """`client` for asyncio."""
    return openai.AsyncOpenAI(
        base_url=f"{endpoint(url)}/v1", api_key=NO_KEY, http_client=async_http_client(url, **signing)
    )
