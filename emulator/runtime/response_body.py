"""The body of a function's response, from the connection that carries it to whoever waits for it. Knows no phases.

Source of the limits: docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html, and MaxPayloadSize of the
Runtime Interface Emulator.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.net.h11_connection import Connection
from emulator.runtime.invocation import InvocationResponse
from emulator.runtime.wire import outcome_of

STREAM_LIMIT = 200 * 1024 * 1024
BUFFERED_LIMIT = 6 * 1024 * 1024 + 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyRefusal:
    """A fault for tests: answers the next `/response` with `status` once `after_bytes` of its body have arrived."""

    status: int
    error_type: str
    after_bytes: int = 0


async def copy(
    connection: Connection, response: InvocationResponse, limit: int, refusal: EarlyRefusal | None
) -> EarlyRefusal | None:
    """Copies until the end, which it tells `response`, or until that is to be refused: past `limit` bytes, or by `refusal`."""
    while True:
        if refusal is not None and response.size >= refusal.after_bytes:
            return refusal
        if response.size > limit:
            return EarlyRefusal(status=413, error_type="RequestEntityTooLarge")
        body = await connection.body()
        response.http_chunks += body.chunks
        if body.data:
            await response.write(body.data)
        if body.end is not None:
            response.end(outcome_of(dict(body.end.headers)))
            return None
