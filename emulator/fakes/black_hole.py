"""An address where connecting hangs."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self


class BlackHole:
    """An address where a connection attempt neither succeeds nor fails: a listener whose queue is full (Linux)."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._filling: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._filling.append(filler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for filler in self._filling:
            filler.close()
        self._listener.close()
