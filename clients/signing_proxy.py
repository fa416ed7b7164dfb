"""A local door for clients that cannot sign: `python -m clients.signing_proxy --target URL`. Knows aiohttp.

Listens on 127.0.0.1 only, signs what it gets with your AWS credentials and streams the answer back as it
arrives. Whoever reaches it spends your money, so it refuses web pages (by a header that browsers add and
pages cannot remove), names that only resolve to this machine (DNS rebinding), and, with --token, whoever
lacks the token.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from botocore.exceptions import BotoCoreError
from yarl import URL

from clients.signing import Signer, endpoint, signer

# Lambda refuses larger requests (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
MAX_BODY = 6 * 1024 * 1024
LOCAL_NAMES = {"127.0.0.1", "localhost"}
# RFC 9110 section 7.6.1, and what else belongs to the caller's connection to this proxy alone.
NOT_FORWARDED = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade", "host", "authorization", "cookie", "content-length", "expect",
}  # fmt: skip
# A reasoning model may think for minutes before its first byte; Lambda itself ends after 15 minutes.
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=900)
SESSION = web.AppKey("session", aiohttp.ClientSession)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Forwards to `target`; `token`, when set, is what callers must send as their OpenAI key."""

    target: str
    signer: Signer
    token: str = ""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.cleanup_ctx.append(_session)
        app.router.add_route("*", "/{path:.*}", self.forward)
        return app

    async def forward(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            answer = await self._ask(request, await request.read())
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "invalid_request_error", f"The request exceeds Lambda's {MAX_BODY} bytes.")
        except BotoCoreError as failure:
            return _error(502, "api_error", f"Your AWS credentials cannot be used: {failure}")
        except (aiohttp.ClientError, TimeoutError) as failure:
            return _error(502, "api_error", f"{self.target} cannot be reached: {failure}")
        async with answer:
            return await _stream(request, answer)

    async def _ask(self, request: web.Request, body: bytes) -> aiohttp.ClientResponse:
        url = self.target + request.raw_path
        content_type = request.headers.get("content-type", "")
        # In a thread, because refreshing credentials is network I/O of boto3's.
        signed = await asyncio.to_thread(self.signer.sign, request.method, url, body, content_type)
        return await request.app[SESSION].request(
            request.method,
            URL(url, encoded=True),  # as it was signed; aiohttp would encode it in its own way
            headers=_end_to_end(request.headers) | signed,
            data=body,
            allow_redirects=False,  # what signs for one host must not travel to another
        )

    def _refusal(self, request: web.Request) -> web.Response | None:
        name = request.host.rsplit(":", 1)[0]
        if name not in LOCAL_NAMES:
            return _error(403, "invalid_request_error", f"This proxy is not called {name!r}.")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _error(403, "invalid_request_error", "Web pages may not use this proxy.")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.token and not hmac.compare_digest(given.encode(), self.token.encode()):
            return _error(401, "invalid_request_error", "The proxy's --token is wanted as the API key.")
        return None


async def _session(app: web.Application) -> AsyncIterator[None]:
    # Bytes go through as they are: nothing is decompressed here.
    async with aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=False) as session:
        app[SESSION] = session
        yield


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """The answer as it arrives. One that breaks off is passed on as such, never as a complete one."""
    response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError, OSError):  # OpenAI's side broke, or the caller left
        if request.transport is not None:
            request.transport.abort()
    return response


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_FORWARDED}


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": "signing_proxy"}
    return web.json_response({"error": error}, status=status)


async def serve(proxy: Proxy, port: int) -> None:
    """Serves until cancelled; says on standard output where, once it is true."""
    # A caller that leaves ends the request to the target at once, not with the next token.
    runner = web.AppRunner(proxy.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        host, bound = runner.addresses[0][:2]
        print(f"ready http://{host}:{bound}/v1 (signs for {proxy.target})", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m clients.signing_proxy", description=__doc__)
    parser.add_argument("--target", required=True, help="the Function URL, or the distribution in front of it")
    parser.add_argument("--sign-host", default="", help="the Function URL's host, when --target is another")
    parser.add_argument("--region", default="", help="default: the one in the Function URL, else the profile's")
    parser.add_argument("--profile", help="the AWS profile to sign with")
    parser.add_argument("--port", type=int, default=9100, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--token", default=os.environ.get("SIGNING_PROXY_TOKEN", ""), help="demanded of callers")
    given = parser.parse_args(arguments)
    target = endpoint(given.target)
    try:
        signs = signer(target, sign_host=given.sign_host, region=given.region, profile=given.profile)
        asyncio.run(serve(Proxy(target=target, signer=signs, token=given.token), given.port))
    except (BotoCoreError, OSError) as failure:
        print(f"signing proxy: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
