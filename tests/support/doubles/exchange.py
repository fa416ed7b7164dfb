"""The two sides of an exchange without sockets: a reply that keeps what is written, an answer that brings what it is given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import httpx
from relay.errors import RelayError
from relay.lambda_runtime.client import ResponseStream
from relay.lambda_runtime.loop import Reply
from relay.openai.transport import UpstreamResponse


class Wire:
    """Where a reply goes: has the methods of relay.lambda_runtime.client.ResponseStream."""

    def __init__(self) -> None:
        self.prelude = b""
        self.body = b""
        self.ended = False
        self.failure: tuple[str, str] | None = None

    @property
    def begun(self) -> bool:
        return bool(self.prelude)

    @property
    def body_size(self) -> int:
        return len(self.body)

    @property
    def head(self) -> dict[str, Any]:
        """The prelude as JSON."""
        return dict(json.loads(self.prelude.rstrip(b"\0")))

    def fileno(self) -> int:
        return -1

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

    def reply(self, request_id: str = "id") -> Reply:
        return Reply(cast(ResponseStream, self), request_id)


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
