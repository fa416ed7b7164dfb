"""A Secrets Manager of one secret, that fails as told.

Source: docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html (AWS JSON 1.1, its errors).
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.harness import canaries
from tests.support.harness.wire import PeerLeftError, Wire


@dataclass(frozen=True, slots=True)
class Value:
    """The secret's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """An AWS error."""

    code: str
    status: int = 400


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes instead of an answer, `pause` seconds before each; then the connection is closed."""

    pieces: tuple[bytes, ...]
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer."""


Behaviour = Value | Refuse | Raw | Silence


class ScriptedSecretsManager:
    """`behaviour` may be changed at any time; it holds for every request from then on."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = Value(canaries.KEY)
        self.reads = 0
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def wait_for_reads(self, count: int, timeout: float = 60.0) -> None:
        """Returns once the secret has been asked for that many times."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.reads >= count, timeout):
                raise TimeoutError(f"{self.reads} of {count} reads within {timeout} s")

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="scripted-secrets-manager").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        wire = Wire(connection)
        with contextlib.suppress(PeerLeftError), connection:
            while True:
                head = wire.head()
                wire.exactly(int(head.header("content-length")))
                with self._changed:
                    self.reads += 1
                    self._changed.notify_all()
                self._answer(wire)
        self._open.discard(connection)

    def _answer(self, wire: Wire) -> None:
        match self.behaviour:
            case Value(text):
                wire.send(_http(200, {"ARN": "arn:aws:secretsmanager:x", "Name": "key", "SecretString": text}))
            case Refuse(code, status):
                wire.send(_http(status, {"__type": code, "message": f"no {canaries.TOKEN}"}))
            case Raw(pieces, pause):
                for piece in pieces:
                    time.sleep(pause)
                    wire.send(piece)
                raise PeerLeftError("closed by the script")
            case Silence():
                self._stopping.wait(30)


def _http(status: int, fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
