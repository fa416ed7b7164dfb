"""A local door for clients that cannot sign: `python -m clients.signing_proxy --target URL`. Knows aiohttp.

Listens on 127.0.0.1 only, signs what it gets with your AWS credentials and streams the response back as it
arrives. Whoever reaches it spends your money, so it refuses web pages (by headers that browsers add and pages
cannot remove), names that only resolve to this machine (DNS rebinding), and, with --token, whoever lacks the
token. Bodies pass through as they are, compressed or not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from botocore.exceptions import BotoCoreError
from yarl import URL

from clients.company_proxy import company_proxy
from clients.signing import CREDENTIAL_ERRORS, Signer, endpoint, error_body, openai_error, signer

# Lambda refuses larger requests (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
MAX_BODY = 6 * 1024 * 1024
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost"})
# RFC 9110 section 7.6.1, and what else belongs to the caller's connection to this proxy alone.
NOT_FORWARDED = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade", "host", "authorization", "api-key", "cookie", "content-length", "expect",
}  # fmt: skip
# What aiohttp would add of its own: a request goes on with the headers it came with.
NOT_ADDED = ("accept", "accept-encoding", "content-type", "user-agent")
# A reasoning model may think for minutes before its first byte; Lambda itself ends after 15 minutes.
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=900)
SESSION = web.AppKey("session", aiohttp.ClientSession)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Forwards to `target`. `token`, when set, is what callers must send as their OpenAI key.

    `names` are those under which callers may address this proxy; `via` is the company proxy on the way, or None.
    """

    target: str
    signer: Signer
    token: str = ""
    names: frozenset[str] = LOCAL_NAMES
    via: URL | None = None

    def application(self) -> web.Application:
        """Build the application that serves every path."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.cleanup_ctx.append(_session)
        app.router.add_route("*", "/{path:.*}", self._forward)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return self._refusal(request) or await handler(request)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
            # In a thread, because refreshing credentials is network I/O of boto3's.
            signed = await asyncio.to_thread(self._signed, request, body)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"The request exceeds Lambda's {MAX_BODY} bytes.")
        except CREDENTIAL_ERRORS as failure:
            return _error(401, f"The request was not sent: {failure}", "aws_credentials")
        try:
            response = await self._send(request, body, signed)
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return _error(502, f"{self.target} cannot be reached: {failure}")
        async with response:
            return await _pass_on(request, response)

    def _signed(self, request: web.Request, body: bytes) -> dict[str, str]:
        content_type = request.headers.get("content-type", "")
        return self.signer.sign(request.method, self.target + request.raw_path, body, content_type)

    async def _send(self, request: web.Request, body: bytes, signed: dict[str, str]) -> aiohttp.ClientResponse:
        via = self.via
        return await request.app[SESSION].request(
            request.method,
            URL(self.target + request.raw_path, encoded=True),  # as signed; aiohttp would encode it in its own way
            headers=_end_to_end(request.headers) | signed,
            data=body or None,  # b"" would add a content-length to GET
            allow_redirects=False,  # what signs for one host must not travel to another
            proxy=via.with_user(None) if via else None,
            proxy_auth=aiohttp.BasicAuth(via.user, via.password or "") if via and via.user else None,
        )

    def _refusal(self, request: web.Request) -> web.Response | None:
        hosts = request.headers.getall("host", [])
        name = hosts[0].rsplit(":", 1)[0].lower() if len(hosts) == 1 else ""
        if name not in self.names:
            return _error(403, f"This proxy is not called {name!r}: use 127.0.0.1, or start it with --allow-host.")
        own_page = request.headers.get("origin", f"http://{hosts[0]}").lower() == f"http://{hosts[0]}".lower()
        if not own_page or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _error(403, "Web pages may not use this proxy.")
        if not request.raw_path.startswith("/"):
            return _error(400, "The request target must be a path: this is not a proxy for other hosts.")
        if not (request.raw_path + request.headers.get("content-type", "")).isascii():
            return _error(400, "The request target and content-type must be ASCII: they are signed.")
        if self.token and not any(hmac.compare_digest(key, self.token.encode()) for key in _keys(request.headers)):
            return _error(401, "Send the proxy's --token as the API key.")
        if request.headers.get("upgrade", "").lower() == "websocket":
            text = "WebSocket connections are not supported: use POST with stream: true."
            refused = _error(426, text, "websockets_not_supported")
            refused.headers.update({"upgrade": "HTTP/1.1", "connection": "upgrade"})  # RFC 9110 section 15.5.22
            return refused
        return None


async def _session(app: web.Application) -> AsyncIterator[None]:
    # Bytes go through as they are: nothing is unpacked here. trust_env would also add passwords from ~/.netrc.
    async with aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=False, skip_auto_headers=NOT_ADDED) as session:
        app[SESSION] = session
        yield


async def _pass_on(request: web.Request, response: aiohttp.ClientResponse) -> web.StreamResponse:
    """Send the response as it arrives. One that breaks off is passed on as such, never as a complete one."""
    passed = web.StreamResponse(status=response.status, headers=_end_to_end(response.headers))
    try:
        if response.status >= 400:
            body = await response.read()
            told = openai_error(body, response.headers.get("x-amzn-errortype", ""))
            passed = web.Response(status=response.status, headers=passed.headers, body=told or body)
            if told:
                passed.content_type = "application/json"
            return passed
        await passed.prepare(request)
        async for piece in response.content.iter_any():
            await passed.write(piece)
        await passed.write_eof()
    except (aiohttp.ClientError, TimeoutError, OSError):  # OpenAI's side broke, or the caller left
        if request.transport is not None:
            request.transport.abort()
    return passed


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in NOT_FORWARDED}


def _keys(headers: Mapping[str, str]) -> list[bytes]:
    """The keys that the caller sent, as OpenAI's SDKs and as Azure's do. Their bytes need not be text."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    keys = [key.strip() if scheme.lower() == "bearer" else "", headers.get("api-key", "")]
    return [key.encode("utf-8", "surrogateescape") for key in keys if key]


def _error(status: int, message: str, code: str = "signing_proxy") -> web.Response:
    return web.Response(status=status, body=error_body(message, code), content_type="application/json")


async def serve(proxy: Proxy, port: int) -> None:
    """Serve until SIGTERM or SIGINT, and say on standard output where, once it is true.

    Requests that are under way then may end; a second signal ends them, too.
    """
    # A caller that leaves ends the request to the target at once, not with the next token.
    runner = web.AppRunner(proxy.application(), access_log=None, handler_cancellation=True, auto_decompress=False)
    await runner.setup()
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
    stop = asyncio.Event()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        _on_signals(stop)
        host, bound = runner.addresses[0][:2]
        print(f"ready http://{host}:{bound}/v1 (signs for {proxy.target})", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Leave out what callers send that is no HTTP: it was answered with 400, and a traceback helps nobody."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at the first signal. Also where the parent ignores SIGINT, as shells do for what runs behind `nohup &`."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)


def main(arguments: list[str]) -> int:
    """Run the proxy. Returns 0 after a signal, or 2 after one line on standard error that says what to change."""
    given = _parser().parse_args(arguments)
    try:
        target = endpoint(given.target)
        proxy = Proxy(
            target=target,
            signer=signer(target, sign_host=given.sign_host, region=given.region, profile=given.profile),
            token=given.token,
            names=LOCAL_NAMES | {name.lower() for name in given.allow_host},
            via=company_proxy(target),
        )
        asyncio.run(serve(proxy, given.port))
    except (BotoCoreError, OSError, ValueError) as failure:
        print(f"signing proxy: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m clients.signing_proxy", description=__doc__)
    parser.add_argument("--target", required=True, help="the Function URL, or the distribution in front of it")
    parser.add_argument("--sign-host", default="", help="the Function URL's host, when --target is another")
    parser.add_argument("--region", default="", help="default: the one in the Function URL, else the profile's")
    parser.add_argument("--profile", help="the AWS profile to sign with")
    parser.add_argument("--port", type=_port, default=9100, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--token", default=os.environ.get("SIGNING_PROXY_TOKEN", ""), help="demanded of callers")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a further name of this machine, such as "
        "host.docker.internal; use it with --token",
    )  # fmt: skip
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; allowed: 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
