"""One HTTP listener of the local Lambda: on the loopback interface, for callers who mean this machine, bytes as they came.

What every door shares. A target has to be a path (RFC 9112, section 3.2.1) and the Host has to name this machine: a
web page whose name was rebound to 127.0.0.1 still sends its own name. Bodies are not unpacked, since their hash is
signed. Nothing here adds CORS headers, so no page of another origin can read a response.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
BODY_LIMIT = 6 * 1024 * 1024  # Lambda's for a request
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# aiohttp logs what it cannot parse with a traceback; the caller gets its 400, and that is all there is to know.
_quiet = logging.getLogger("emulator.net.listener")
_quiet.disabled = True


def names_this_machine(hosts: Sequence[str]) -> bool:
    """Whether the Host headers of one request are exactly one name of the loopback interface, at any port."""
    return len(hosts) == 1 and LOOPBACK.fullmatch(hosts[0]) is not None


class Listener:
    """All methods belong to the event loop's thread. `port` is known once it has started."""

    def __init__(
        self, handle: Handler, *, report: Callable[[str], None] = lambda text: None, cancels: bool = False
    ) -> None:
        """`report` gets one line for each bug of a handler; `cancels`: a handler ends when its caller leaves."""
        self.port = 0
        self._handle = handle
        self._report = report
        self._cancels = cancels
        self._runner: web.ServerRunner | None = None

    async def start(self, port: int) -> None:
        """Raises OSError when `port` is taken; 0 picks a free one."""
        server = web.Server(
            self._serve, access_log=None, auto_decompress=False, handler_cancellation=self._cancels, logger=_quiet
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if not request.raw_path.startswith("/"):
            return refuse(400, "BadRequest", "The request target has to be a path such as /v1/models.")
        if not names_this_machine(request.headers.getall("host", [])):
            message = f"Only requests to this machine are served: send them to 127.0.0.1:{self.port}."
            return refuse(403, "ForbiddenException", message)
        try:
            return await self._handle(request)
        except ConnectionError:
            return web.Response(status=502)  # the caller has left and nobody reads it
        except Exception as error:  # the boundary of a request: a bug in one must not end the server
            self._report(f"bug in the local Lambda: {type(error).__name__}: {error}")
            return refuse(500, "InternalFailure", "Internal Server Error")


async def read_body(request: web.BaseRequest) -> bytes | None:
    """The whole body as it was sent; None when it is over BODY_LIMIT, and then read to its end, so that a 413 arrives."""
    body = bytearray()
    too_large = False
    async for part in request.content.iter_any():
        too_large = too_large or len(body) + len(part) > BODY_LIMIT
        if not too_large:
            body += part
    return None if too_large else bytes(body)


def refuse(status: int, kind: str, message: str) -> web.Response:
    """A refusal in the shape of a Function URL's."""
    headers = {"x-amzn-ErrorType": kind}
    return web.Response(
        status=status, text=json.dumps({"Message": message}), content_type="application/json", headers=headers
    )
