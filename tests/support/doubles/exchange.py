"""Both sides of an exchange without sockets: a reply that keeps what is written, a response that brings what it is given."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import httpx
from relay.errors import RelayError
from relay.lambda_runtime.client import Invocation
from relay.lambda_runtime.reply import Reply, Timing
from relay.lambda_runtime.response_stream import ResponseStream
from relay.openai.client import UpstreamResponse


class Wire:
    """Where a reply goes: has the methods of relay.lambda_runtime.response_stream.ResponseStream."""

    def __init__(self) -> None:
        self.fd = -1
        self.prelude = b""
        self.body = b""
        self.ended = False
        self.failure: tuple[str, str] | None = None

    @property
    def body_size(self) -> int:
        return len(self.body)

    @property
    def head(self) -> dict[str, Any]:
        """The prelude as JSON."""
        return dict(json.loads(self.prelude.rstrip(b"\0")))

    def begin(self, prelude: bytes) -> None:
        self.prelude = prelude

    def write(self, chunk: bytes) -> None:
        self.body += chunk

    def flush(self) -> None:
        pass

    def check_refused(self) -> None:
        pass

    def end(self) -> None:
        self.ended = True

    def fail(self, error_type: str, message: str) -> None:
        self.failure = (error_type, message)

    def reply(self, *, heartbeat_seconds: float = 0.0, seconds: float = 60.0, stop_fd: int = -1) -> Reply:
        """A reply that writes here, with no time held back of the `seconds` until its deadline."""
        return Reply(
            cast(ResponseStream, self),
            Invocation(id="id", event=b"{}", deadline=time.monotonic() + seconds),
            Timing(heartbeat_seconds=heartbeat_seconds, reserve_seconds=0.0),
            stop_fd=stop_fd,
        )


class _Chunks(httpx.SyncByteStream):
    def __init__(self, parts: Iterable[bytes], failure: RelayError | None) -> None:
        self._parts = parts
        self._failure = failure

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        if self._failure is not None:
            raise self._failure


def answer(
    *parts: bytes, status: int = 200, headers: Mapping[str, str] | None = None, failure: RelayError | None = None
) -> UpstreamResponse:
    """An answer whose body is `parts`, and `failure` behind them if there is one."""
    raw = [(name.encode(), text.encode()) for name, text in (headers or {}).items()]
    response = httpx.Response(status, headers=raw, stream=_Chunks(parts, failure))
    return UpstreamResponse(response, lambda: None)
