"""A stand-in for OpenAI that sends what the request's message describes: `python -m bench.fakes.openai [CERT KEY]`.

Prints its port. Every event is an HTTP chunk of its own, as OpenAI's are.
"""

from __future__ import annotations

import functools
import socket
import ssl
import sys
import time

from bench.fakes import http1
from bench.fakes.events import DONE, Stream

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
        stream = Stream.from_body(body)
        connection.sendall(HEAD)
        if stream.rate:
            send_paced(connection, stream)
        else:
            send_at_once(connection, stream)


def send_paced(connection: socket.socket, stream: Stream) -> None:
    start = time.monotonic()
    for number in range(stream.count):
        early = start + number / stream.rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        connection.sendall(chunk(stream.event(number, time.monotonic_ns())))
    connection.sendall(chunk(DONE) + b"0\r\n\r\n")


def send_at_once(connection: socket.socket, stream: Stream) -> None:
    connection.sendall(chunk(stream.event(0, time.monotonic_ns())))
    if stream.count > 1:
        everything = memoryview(later_events(stream))
        for at in range(0, len(everything), RECORD):
            connection.sendall(everything[at : at + RECORD])
    connection.sendall(chunk(DONE) + b"0\r\n\r\n")


@functools.lru_cache(maxsize=8)
def later_events(stream: Stream) -> bytes:
    return b"".join(chunk(stream.event(number, 0)) for number in range(1, stream.count))


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


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
