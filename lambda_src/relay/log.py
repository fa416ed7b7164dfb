"""The log: one JSON line per event on stdout, where Lambda's JSON logging picks it up.

Never holds a prompt, a completion or a key: of an unexpected exception it takes the type and the frames, not the
message, because messages quote data. Never blocks: a line that stdout does not take at once is dropped and counted.
"""

from __future__ import annotations

import json
import os
import select
import time

_LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50}
# A pipe that poll(2) calls writable takes this much without blocking (PIPE_BUF, pipe(7)).
_LINE_BYTES = 4096
_FRAMES = 12
# Of a line that is too long each text keeps this much, and each list its last members; then the largest fields go.
_CUT_CHARACTERS = (100, 25)
_CUT_MEMBERS = 4
# Never cut, because half an id is another id, and a record is replayed by them. They have at most 200 characters each.
_IDS = ("requestId", "id", "caller")


class Log:
    """Writes lines to a descriptor. `level` is one of Lambda's own names (AWS_LAMBDA_LOG_LEVEL)."""

    def __init__(self, level: str = "INFO", fd: int = 1) -> None:
        self._level = level if level in _LEVELS else "INFO"
        self._fd = fd
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self._dropped = 0

    def record(self, event: str, *, ready: str = "", **fields: object) -> None:
        """Writes a record that metrics are made of, whatever the level. `ready` are further fields as JSON: ',"name":value'.

        Its level is INFO, or the log's own where that is higher: Lambda drops lines below it as well
        (docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html).
        """
        level = self._level if _LEVELS[self._level] > _LEVELS["INFO"] else "INFO"
        self._write(level, event, fields, ready)

    def info(self, event: str, **fields: object) -> None:
        """Writes something that went as it should."""
        self._write("INFO", event, fields)

    def warn(self, event: str, **fields: object) -> None:
        """Writes something that went wrong and was dealt with."""
        self._write("WARN", event, fields)

    def error(self, event: str, *, failure: BaseException | None = None, **fields: object) -> None:
        """Writes something that nobody expected; `failure` adds its type and its frames."""
        if failure is not None:
            fields |= {"errorType": type(failure).__name__, "stack": _stack(failure)}
        self._write("ERROR", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object], ready: str = "") -> None:
        if _LEVELS[level] < _LEVELS[self._level]:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        line: dict[str, object] = {"timestamp": stamp, "level": level, "event": event, **fields}
        if self._dropped:
            line["droppedLines"] = self._dropped
        data = _encode(line, ready)
        if len(data) > _LINE_BYTES:
            data = _encode_shorter(line, ready)
        self._dropped = 0 if self._put(data) else self._dropped + 1

    def _put(self, data: bytes) -> bool:
        try:
            return bool(self._room.poll(0)) and os.write(self._fd, data) > 0
        except OSError:
            return False


# Of an object that JSON does not know, only the type: its text may quote data. Made once, not for each line.
_ENCODER = json.JSONEncoder(default=lambda value: type(value).__name__, separators=(",", ":"))


def _encode(line: dict[str, object], ready: str = "") -> bytes:
    return f"{_ENCODER.encode(line)[:-1]}{ready}}}\n".encode()


def _encode_shorter(line: dict[str, object], ready: str) -> bytes:
    """The line with its texts cut, so that what a record is replayed by (ids and numbers) stays; always whole JSON."""
    for characters in _CUT_CHARACTERS:
        line = {**_cut_members(line, characters), "cut": True}
        data = _encode(line, ready)
        if len(data) <= _LINE_BYTES:
            return data
    if len(ready) > _LINE_BYTES // 2:
        ready = ""
    sizes = {name: len(_encode({name: value})) for name, value in line.items()}
    for name in sorted(sizes.keys() - {"timestamp", "level", "event", "cut"}, key=sizes.__getitem__, reverse=True):
        if len(_encode(line, ready)) <= _LINE_BYTES:
            break
        del line[name]
    return _encode(line, ready)


def _cut_members(fields: dict[str, object], characters: int) -> dict[str, object]:
    return {name: value if name in _IDS else _cut(value, characters) for name, value in fields.items()}


def _cut(value: object, characters: int) -> object:
    if isinstance(value, dict):
        return _cut_members(value, characters)
    if isinstance(value, list):
        return [_cut(inner, characters) for inner in value[-_CUT_MEMBERS:]]
    return value[:characters] if isinstance(value, str) else value


def _stack(failure: BaseException) -> list[str]:
    frames = []
    trace = failure.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames[-_FRAMES:]
