"""Lambda's Runtime API, holding a stopwatch: `python -m bench.fakes.runtime_api [at-once]`. Prints its port.

Then reads one JSON command per line and answers each with one JSON line:
  {"do": "started"}                                  when the first /next has come
  {"do": "invoke", "event": {...}, "stream": {...}}  when the answer is complete and the next /next has come
Times are CLOCK_MONOTONIC in nanoseconds. Reading an answer only stores what came and when; everything else waits
until it is over. (Also answers the Extensions API as far as Lambda Web Adapter registers itself there.)
"""

from __future__ import annotations

import bisect
import itertools
import json
import queue
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.fakes import http1
from bench.fakes.events import STAMP, Stream, digest

# The last chunk, with or without trailers; no event contains these bytes.
END = re.compile(rb"\r\n0\r\n(?:[!-9;-~]+:[^\r\n]*\r\n)*\r\n\Z")
LONGEST_TRAILERS = 4096
PRELUDE_END = b"\0" * 8


@dataclass(slots=True, kw_only=True)
class Answer:
    """One POST to /response or /error as it came: the reads, when each ended, and the offset at which it ended."""

    path: str
    chunked: bool
    pieces: list[bytes] = field(default_factory=list)
    at: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the stopwatch says of one invocation. `latencies` are the ages of the events when they arrived."""

    sent: int
    first: int
    last: int
    next: int
    intact: bool
    problem: str
    latencies: list[int]


class RuntimeApi:
    """The environment of one competitor process."""

    def __init__(self, read: Callable[[socket.socket], bytes]) -> None:
        self.read = read
        self.waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.numbers = itertools.count(1)

    def converse(self, connection: socket.socket) -> None:
        rest = b""
        while True:
            head = http1.read_head(connection, rest)
            if head is None:
                return
            rest = b""
            if head.path.endswith("/invocation/next"):
                self._give_event(connection)
            elif head.path.endswith(("/response", "/error")):
                self.answers.put(read_answer(connection, head, self.read))
                connection.sendall(http1.answer("202 Accepted", b'{"status":"OK"}'))
            elif head.path.endswith("/extension/event/next"):
                threading.Event().wait()
            else:
                _, rest = http1.read_body(connection, head)
                connection.sendall(http1.answer("200 OK", b"{}", "lambda-extension-identifier: bench"))

    def _give_event(self, connection: socket.socket) -> None:
        self.waiting.put(time.monotonic_ns())
        event = self.events.get()
        number = next(self.numbers)
        message = http1.answer(
            "200 OK",
            event,
            f"lambda-runtime-aws-request-id: {uuid.uuid4()}",
            f"lambda-runtime-deadline-ms: {int(time.time() * 1000) + 900_000}",
            "lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:123456789012:function:bench",
            "lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
            f"lambda-runtime-invocation-id: {number:08d}",
        )
        self.sent.put(time.monotonic_ns())
        connection.sendall(message)

    def invoke(self, event: dict[str, Any], stream: Stream) -> Report:
        self.events.put(json.dumps(event).encode())
        answer = self.answers.get()
        return report(answer, stream, sent=self.sent.get(), next_=self.waiting.get())


def read(connection: socket.socket) -> bytes:
    return connection.recv(http1.READ)


def read_and_acknowledge_at_once(connection: socket.socket) -> bytes:
    """Without the up to 40 ms by which Linux delays acknowledgements: a client that leaves Nagle's algorithm on waits
    for them before it sends its next small write (tcp(7), TCP_QUICKACK; it does not last, so it is set each time)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return connection.recv(http1.READ)


def read_answer(connection: socket.socket, head: http1.Head, read: Callable[[socket.socket], bytes]) -> Answer:
    answer = Answer(path=head.path, chunked=bool(http1.CHUNKED.search(head.raw)))
    if not answer.chunked:
        body, _ = http1.read_body(connection, head)
        answer.pieces, answer.at = [body], [time.monotonic_ns()]
        return answer
    tail, piece = b"", head.rest
    while True:
        if piece:
            answer.at.append(time.monotonic_ns())
            answer.pieces.append(piece)
            tail = (b"\r\n" + piece if not tail else tail + piece)[-LONGEST_TRAILERS:]
            if tail.endswith(b"\r\n\r\n") and END.search(tail):
                return answer
        piece = read(connection)
        if not piece:
            raise ConnectionError("the answer broke off")


def report(answer: Answer, stream: Stream, *, sent: int, next_: int) -> Report:
    raw = b"".join(answer.pieces)
    ends = list(itertools.accumulate(map(len, answer.pieces)))
    stamps = [(found.end(), int(found.group(2))) for found in STAMP.finditer(raw)]
    # bisect: the read in which the event's last byte came
    arrived = [(answer.at[bisect.bisect_left(ends, end)], stamp) for end, stamp in stamps]
    problem = why_not_intact(answer, raw, stream)
    return Report(
        sent=sent,
        first=arrived[0][0] if arrived else answer.at[-1],
        last=answer.at[-1],
        next=next_,
        intact=not problem,
        problem=problem,
        latencies=[at - stamp for at, stamp in arrived if stamp],
    )


def why_not_intact(answer: Answer, raw: bytes, stream: Stream) -> str:
    """Every competitor must deliver the stream byte for byte behind a valid prelude; "" when it did."""
    if not answer.path.endswith("/response"):
        return f"POST {answer.path}: {raw[:300]!r}"
    try:
        prelude, separator, body = (http1.dechunk(raw) if answer.chunked else raw).partition(PRELUDE_END)
        status = json.loads(prelude)["statusCode"]
    except (ValueError, KeyError) as failure:
        return f"{failure!r}: {raw[:300]!r}"
    if not separator or status != 200:
        return f"status {status}: {body[:300]!r}"
    return "" if digest(body) == stream.digest() else f"{len(body)} bytes that differ: {body[:300]!r}"


def main(arguments: list[str]) -> None:
    api = RuntimeApi(read_and_acknowledge_at_once if arguments == ["at-once"] else read)
    listener = http1.listen()
    threading.Thread(target=http1.serve, args=(listener, api.converse), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "started":
            result: dict[str, Any] = {"next": api.waiting.get()}
        else:
            result = asdict(api.invoke(command["event"], Stream(**command["stream"])))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
