"""What the function's processes print, line by line, and what the platform says about them. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

KEPT_LINES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """`source` is "stdout", "stderr" or "platform"; `pid` the process it came from (0: the platform)."""

    source: str
    text: str
    pid: int = 0


class LogSink:
    """Keeps the last lines for tests and copies them to `out` for people."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._lines: deque[LogLine] = deque(maxlen=KEPT_LINES)
        self._changed = threading.Condition()
        self._out = out

    def add(self, line: LogLine) -> None:
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()
        if self._out is not None:
            print(f"[{line.source}] {line.text}", file=self._out, flush=True)

    def platform(self, text: str) -> None:
        self.add(LogLine(source="platform", text=text))

    def lines(self, source: str | None = None) -> list[LogLine]:
        with self._changed:
            return [line for line in self._lines if source is None or line.source == source]

    def text(self) -> str:
        return "\n".join(line.text for line in self.lines())

    def wait_for(self, wanted: Callable[[LogLine], bool], timeout: float = 10.0) -> LogLine:
        """The first line that is wanted, past or coming. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._lines:
                    if wanted(line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise TimeoutError(f"no such log line within {timeout} s; the log:\n" + self._tail())

    def _tail(self) -> str:
        return "\n".join(f"[{line.source}] {line.text}" for line in list(self._lines)[-30:])
