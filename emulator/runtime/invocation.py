"""One invocation and the response the function gives to it. Knows nothing of HTTP, sockets or processes.

An `InvocationResponse` has one writer (the Runtime API) and one reader (the door). The writer waits when the reader is
slow, so that a caller who reads slowly slows the function down, as on Lambda.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import deque
from dataclasses import dataclass

# How much may wait between the function and a slow caller. Lambda does not publish its figure; a small one
# makes back-pressure visible in tests.
BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What `/next` hands to the function. `deadline_ms` is epoch milliseconds; `event` is the payload's
    JSON.
    """

    request_id: str
    event: bytes
    deadline_ms: int
    function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:local"
    trace_id: str = "Root=1-00000000-000000000000000000000000;Sampled=0"
    invocation_id: str = ""


class Ending(enum.Enum):
    """How an invocation ended, seen from the service."""

    COMPLETE = "complete"
    TRAILERS = "error trailers"  # the function reported an error after its first byte
    FUNCTION_ERROR = "function error"  # POST .../error
    INIT_ERROR = "init error"  # POST /runtime/init/error, or exit before the first /next
    TIMEOUT = "time-out"
    EXITED = "process exited"
    RESET = "connection lost"  # the function's connection broke inside its response
    REFUSED = "response refused"  # too large, malformed, or a fault a test asked for
    CALLER_LEFT = "caller left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    ending: Ending
    error_type: str = ""
    message: str = ""


class InvocationResponse:
    """The response of a function to one invocation, as it arrives."""

    def __init__(self) -> None:
        self.content_type = ""
        self.streaming = False
        self.outcome: Outcome | None = None
        self.http_chunks = 0
        self.size = 0
        self.first_byte_at: float | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._discarding = False
        self._ended = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """Hand over bytes; returns when the reader has room for more."""
        self.first_byte_at = self.first_byte_at or time.monotonic()
        self.size += len(data)
        if self._discarding or self.outcome is not None:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._readable.set()
        if self._waiting_bytes > BUFFER_BYTES:
            self._writable.clear()
            await self._writable.wait()

    def end(self, outcome: Outcome) -> None:
        """Say how it ended. The first outcome stays; later ones are consequences of it."""
        if self.outcome is None:
            self.outcome = outcome
        self._readable.set()
        self._writable.set()
        self._ended.set()

    async def read(self) -> bytes:
        """All bytes that wait, at least one; b"" after the last one, when `outcome` says how it ended."""
        while not self._waiting and self.outcome is None:
            self._readable.clear()
            await self._readable.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._writable.set()
        return data

    def discard(self) -> None:
        """The reader has gone, the function is not to notice: take everything at full speed."""
        self._discarding = True
        self._waiting.clear()
        self._writable.set()

    async def ended(self) -> Outcome:
        """Waits for the end, also when nobody reads."""
        await self._ended.wait()
        assert self.outcome is not None
        return self.outcome
