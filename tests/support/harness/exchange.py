"""One invocation as the Runtime API saw it: what was handed out, and what came back, byte for byte and with times."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.harness.wire import ChunkDecoder, Head

_PRELUDE_END = b"\0" * 8


class Exchange:
    """Filled by the Runtime API's threads, awaited by tests. Times are on time.monotonic()'s clock."""

    def __init__(self, request_id: str) -> None:
        self.id = request_id
        self.handed_out_at = 0.0
        self.begun_at = 0.0
        self.over_at = 0.0
        self.over = ""
        self.head: Head | None = None
        self.discarded = 0
        self.error: dict[str, Any] | None = None
        self.arrivals: list[tuple[float, int]] = []  # when, and how many bytes of complete chunks there were then
        self._decoder = ChunkDecoder()
        self._changed = threading.Condition()

    # -- what tests ask

    @property
    def data(self) -> bytes:
        """Prelude, NULs and body."""
        with self._changed:
            return self._decoder.data

    @property
    def chunks(self) -> list[bytes]:
        """The HTTP chunks that are complete."""
        with self._changed:
            return list(self._decoder.chunks)

    @property
    def body_chunks(self) -> list[bytes]:
        """The complete chunks of the body, as the caller's reader may get them."""
        joined, pieces = b"", self.chunks
        while pieces and _PRELUDE_END not in joined:
            joined += pieces.pop(0)
        first = joined.partition(_PRELUDE_END)[2]
        return [first, *pieces] if first else pieces

    @property
    def complete(self) -> bool:
        """Whether the last chunk came."""
        return self._decoder.done

    @property
    def prelude(self) -> dict[str, Any]:
        """The JSON head; {} while it is not there."""
        head, found, _ = self.data.partition(_PRELUDE_END)
        fields = json.loads(head) if found else {}
        assert isinstance(fields, dict)
        return fields

    @property
    def status(self) -> int:
        """The status the caller gets; 0 when none was sent."""
        return int(self.prelude.get("statusCode", 0))

    @property
    def body(self) -> bytes:
        """What the caller gets after the head."""
        return self.data.partition(_PRELUDE_END)[2]

    @property
    def trailer_type(self) -> str:
        """The error type in the trailers, "" when the stream ended well."""
        return self._decoder.trailers.get("lambda-runtime-function-error-type", "")

    @property
    def trailer_body(self) -> dict[str, Any]:
        """The error in the trailers."""
        text = self._decoder.trailers["lambda-runtime-function-error-body"]
        fields = json.loads(base64.b64decode(text, validate=True))
        assert isinstance(fields, dict)
        return fields

    def wait_body(self, size: int, timeout: float = 60.0) -> bytes:
        """The body as soon as it has at least `size` bytes."""
        self._wait(lambda: self._decoder.size >= size and len(self.body) >= size, timeout, f"{size} bytes of body")
        return self.body

    def wait_begun(self, timeout: float = 60.0) -> None:
        """Returns when the prelude is there."""
        self._wait(lambda: self.begun_at > 0, timeout, "a prelude")

    def wait_over(self, timeout: float = 60.0) -> str:
        """How it ended: "answered 202", "reset", "relay left", "error"."""
        self._wait(lambda: bool(self.over), timeout, "the end")
        return self.over

    def _wait(self, met: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(met, timeout):
                raise TimeoutError(f"no {what} of {self.id} within {timeout} s; body so far: {self.body[-200:]!r}")

    # -- what the Runtime API reports

    def handed_out(self) -> None:
        self.handed_out_at = time.monotonic()

    def started(self, head: Head) -> None:
        with self._changed:
            self.head = head
            self._changed.notify_all()

    def fed(self, data: bytes) -> int:
        """Takes bytes of the request's body; returns how many bytes the complete chunks hold now."""
        with self._changed:
            self._decoder.feed(data)
            self.arrivals.append((time.monotonic(), self._decoder.size))
            if not self.begun_at and _PRELUDE_END in self._decoder.data:
                self.begun_at = time.monotonic()
            self._changed.notify_all()
            return self._decoder.size

    def failed(self, error: dict[str, Any]) -> None:
        with self._changed:
            self.error = error

    def ended(self, how: str) -> None:
        with self._changed:
            if not self.over:
                self.over, self.over_at = how, time.monotonic()
            self._changed.notify_all()
