"""HTTP/1.1 served with h11 over asyncio streams, one handler call per request.

Chosen over a web framework because the Runtime API needs request trailers, answers that begin before the
request's body has ended, and a look at every chunk. Knows nothing of Lambda.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import h11

READ_SIZE = 64 * 1024
T = TypeVar("T")


class ConnectionLostError(Exception):
    """The peer closed or reset the connection inside a request."""


@dataclass(frozen=True, slots=True)
class Body:
    """What one read of the socket brought: joined data, how many HTTP chunks ended in it, and the end if it
    came.
    """

    data: bytes
    chunks: int
    end: h11.EndOfMessage | None


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER)
        self._read_ahead: asyncio.Task[bytes] | None = None
        self.task = asyncio.current_task()

    async def request(self) -> h11.Request | None:
        """The next request; None when the peer is done."""
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is h11.NEED_DATA:
                await self._feed()
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return None

    async def body(self) -> Body:
        """The next part of the request's body, as soon as there is any."""
        parts: list[bytes] = []
        chunks = 0
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                chunks += event.chunk_end
            elif isinstance(event, h11.EndOfMessage):
                return Body(b"".join(parts), chunks, event)
            elif event is not h11.NEED_DATA:
                raise ConnectionLostError(f"{event!r} inside a request body")
            elif parts:
                return Body(b"".join(parts), chunks, None)
            else:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                await self._feed()

    async def whole_body(self, limit: int) -> bytes:
        """The body's first `limit` bytes; the rest is read and dropped."""
        kept = bytearray()
        while True:
            part = await self.body()
            kept += part.data[: max(0, limit - len(kept))]
            if part.end is not None:
                return bytes(kept)

    async def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        head = h11.Response(status_code=status, headers=[*headers, ("Content-Length", str(len(body)))])
        data = (self._h11.send(head) or b"") + (self._h11.send(h11.Data(data=body)) or b"")
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self._write(data)

    async def wait_for(self, future: asyncio.Future[T]) -> T:
        """Waits for `future` while watching the peer, who may leave before it comes."""
        if self._read_ahead is None:
            self._read_ahead = asyncio.create_task(self._reader.read(READ_SIZE))
        both: set[asyncio.Future[Any]] = {future, self._read_ahead}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not future.done() and not self._take_read_ahead():
            raise ConnectionLostError("left while it waited")
        return await future

    def abort(self) -> None:
        """Reset: the peer's next read or write fails."""
        transport = self._writer.transport
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        transport.abort()

    async def shut(self) -> None:
        """Close, and wait for the serving task, which sees the end of the connection as if the peer had left."""
        self._writer.transport.abort()
        if self.task is not None and self.task is not asyncio.current_task():
            await asyncio.wait({self.task})

    async def run(self, handle: Callable[[Connection, h11.Request], Awaitable[None]]) -> None:
        try:
            while (request := await self.request()) is not None:
                await handle(self, request)
                while self._h11.their_state is h11.SEND_BODY:
                    await self.body()  # read what was answered early to its end: closing now would reset the answer
                if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    return
                self._h11.start_next_cycle()
        except (ConnectionLostError, ConnectionError, h11.ProtocolError):
            return
        finally:
            if self._read_ahead is not None:
                self._read_ahead.cancel()
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _feed(self) -> None:
        try:
            if self._read_ahead is None:
                data = await self._reader.read(READ_SIZE)
            else:
                data, self._read_ahead = await self._read_ahead, None
        except ConnectionError as error:
            raise ConnectionLostError("reset") from error
        if not data and self._h11.their_state is h11.SEND_BODY:
            raise ConnectionLostError("closed inside a request body")
        self._h11.receive_data(data)

    def _take_read_ahead(self) -> bool:
        """Feeds what was read ahead; False when it was the end of the connection."""
        assert self._read_ahead is not None
        task, self._read_ahead = self._read_ahead, None
        data = b"" if task.exception() else task.result()
        if data:
            self._h11.receive_data(data)
        return bool(data)

    async def _send(self, event: h11.Event) -> None:
        await self._write(self._h11.send(event) or b"")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def serve(
    handle: Callable[[Connection, h11.Request], Awaitable[None]],
    connections: set[Connection],
    admits: Callable[[socket.socket], Awaitable[bool]],
) -> tuple[asyncio.Server, int]:
    """Serve on a free port of the loopback interface; `connections` always holds the open ones.

    A connection that `admits` does not let in is closed without a word.
    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await admits(writer.get_extra_info("socket")):
            writer.transport.abort()
            return
        connection = Connection(reader, writer)
        connections.add(connection)
        try:
            await connection.run(handle)
        finally:
            connections.discard(connection)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=READ_SIZE)
    return server, server.sockets[0].getsockname()[1]
