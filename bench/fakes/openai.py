"""A stand-in for OpenAI that sends what the request's message describes: `python -m bench.fakes.openai [CERT KEY]`.

Prints its port. Every event is an HTTP chunk of its own, as OpenAI's are. Whoever asks for usage gets it as OpenAI
gives it, in every event, and has to take it out again if its own caller has not asked.
"""

from __future__ import annotations

import functools
import socket
import ssl
import sys
import time

from bench.fakes import http1
from bench.fakes.events import DONE, NO_USAGE_YET, USAGE, Stream

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    b"x-request-id: req_bench\r\nopenai-processing-ms: 1\r\ncache-control: no-cache\r\n\r\n"
)
# A sender that is far ahead fills TLS records, which hold at most this much (RFC 8446 section 5.1).
RECORD = 16 * 1024


def converse(connection: socket.socket) -> None:
    rest = b""
    while True:
        head = http1.read_head(connection, rest)
        if head is None:
            return
        body, rest = http1.read_body(connection, head)
        stream, asks = Stream.from_body(body), b'"include_usage":true' in body.replace(b" ", b"")
        usage, end = (NO_USAGE_YET, chunk(USAGE) + END) if asks else (b"", END)
        connection.sendall(HEAD)
        if stream.rate:
            send_paced(connection, stream, usage)
        else:
            send_at_once(connection, stream, usage)
        connection.sendall(end)


def send_paced(connection: socket.socket, stream: Stream, usage: bytes) -> None:
    start = time.monotonic()
    for number in range(stream.count):
        early = start + number / stream.rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        connection.sendall(chunk(stream.event(number, time.monotonic_ns(), usage)))


def send_at_once(connection: socket.socket, stream: Stream, usage: bytes) -> None:
    connection.sendall(chunk(stream.event(0, time.monotonic_ns(), usage)))
    everything = memoryview(later_events(stream, usage))
    for at in range(0, len(everything), RECORD):
        connection.sendall(everything[at : at + RECORD])


@functools.lru_cache(maxsize=8)
def later_events(stream: Stream, usage: bytes) -> bytes:
    return b"".join(chunk(stream.event(number, 0, usage)) for number in range(1, stream.count))


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


END = chunk(DONE) + b"0\r\n\r\n"


def main(arguments: list[str]) -> None:
    handle = converse
    if arguments:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments)

        def handle(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                converse(secured)

    listener = http1.listen()
    print(listener.getsockname()[1], flush=True)
    http1.serve(listener, handle)


if __name__ == "__main__":
    main(sys.argv[1:])
