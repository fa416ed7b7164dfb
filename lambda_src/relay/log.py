"""One JSON line per thing worth knowing, on stdout, where Lambda's JSON logging picks it up.

Never holds a prompt, a completion or a key: of an unexpected exception it takes the type and the frames, not the
message, because messages quote data. Never blocks: a line that stdout does not take at once is dropped and counted.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

_LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50}
# A pipe that poll(2) calls writable takes this much without blocking (PIPE_BUF, pipe(7)).
_LINE_BYTES = 4096
_FRAMES = 12
# Of a line that is too long, each text keeps this much; what is written is always JSON.
_CUT_CHARACTERS = 100


class Log:
    """Writes lines to a descriptor. `level` is one of Lambda's own names (AWS_LAMBDA_LOG_LEVEL)."""

    def __init__(self, level: str = "INFO", fd: int = 1) -> None:
        self._threshold = _LEVELS.get(level, 20)
        self._fd = fd
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self._dropped = 0

    def info(self, event: str, *, ready: str = "", **fields: Any) -> None:
        """Something that went as it should. `ready` are further fields that are JSON already: ',"name":value'."""
        self._write("INFO", event, fields, ready)

    def warn(self, event: str, **fields: Any) -> None:
        """Something that went wrong and was dealt with."""
        self._write("WARN", event, fields)

    def error(self, event: str, *, failure: BaseException | None = None, **fields: Any) -> None:
        """Something that nobody expected; `failure` adds its type and its frames."""
        if failure is not None:
            fields |= {"errorType": type(failure).__name__, "stack": _stack(failure)}
        self._write("ERROR", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any], ready: str = "") -> None:
        if _LEVELS[level] < self._threshold:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        line = {"timestamp": stamp, "level": level, "event": event, **fields}
        if self._dropped:
            line["droppedLines"] = self._dropped
        data = _encoded(line, ready)
        if len(data) > _LINE_BYTES:
            data = _encoded({name: _cut(value) for name, value in line.items()} | {"cut": True}, ready)
        if len(data) > _LINE_BYTES:
            data = _encoded({"timestamp": stamp, "level": level, "event": event, "cut": True})
        self._dropped = 0 if self._put(data) else self._dropped + 1

    def _put(self, data: bytes) -> bool:
        try:
            return bool(self._room.poll(0)) and os.write(self._fd, data) > 0
        except OSError:
            return False


# Of an object that JSON does not know, only the type: its text may quote data. Made once, not for each line.
_ENCODER = json.JSONEncoder(default=lambda value: type(value).__name__, separators=(",", ":"))


def _encoded(line: dict[str, Any], ready: str = "") -> bytes:
    return f"{_ENCODER.encode(line)[:-1]}{ready}}}\n".encode()


def _cut(value: Any) -> Any:
    if isinstance(value, list):
        return value[-_FRAMES // 3 :]
    return value[:_CUT_CHARACTERS] if isinstance(value, str) else value


def _stack(failure: BaseException) -> list[str]:
    frames = []
    trace = failure.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames[-_FRAMES:]
