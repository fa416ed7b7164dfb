"""The floor: what carrying the bytes costs when nothing is parsed, checked or kept. Sockets and nothing else.

It cannot be used: it knows only this benchmark's event and answer, and no error of any kind.
"""

import os
import socket
import ssl


def connect(address):
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_until(connection, end, got=b""):
    while end not in got:
        got += connection.recv(65536)
    return got.split(end, 1)


def header(head, name):
    at = head.lower().index(name) + len(name)
    return head[at : head.index(b"\r\n", at)].strip()


def main():
    api_address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    scheme, _, rest = os.environ["OPENAI_BASE_URL"].partition("://")
    upstream_address, _, base = rest.partition("/")
    key = os.environ["OPENAI_API_KEY"]
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]) if scheme == "https" else None
    prefix = b'{"statusCode":200,"headers":{"content-type":"text/event-stream; charset=utf-8"}}' + bytes(8)
    prefix = b"%x\r\n%b\r\n" % (len(prefix), prefix)
    api, upstream = connect(api_address), None
    while True:
        api.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n")
        head, event = read_until(api, b"\r\n\r\n")
        length = int(header(head + b"\r\n", b"content-length:"))
        while len(event) < length:
            event += api.recv(65536)
        start = event.index(b'"body": "') + len(b'"body": "')
        body = event[start : event.index(b'", "isBase64Encoded"')].decode("unicode_escape").encode()
        if upstream is None:
            upstream = connect(upstream_address)
            if context is not None:
                upstream = context.wrap_socket(upstream, server_hostname=upstream_address.rpartition(":")[0])
        upstream.sendall(
            f"POST /{base}/chat/completions HTTP/1.1\r\nhost: {upstream_address}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        request_id = header(head + b"\r\n", b"lambda-runtime-aws-request-id:").decode()
        _, rest = read_until(upstream, b"\r\n\r\n")
        api.sendall(
            f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\nhost: x\r\n"
            "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: application/vnd.awslambda.http-integration-response\r\n\r\n".encode()
            + prefix
            + rest
        )
        # OpenAI's chunk framing is as good for the Runtime API as one of our own.
        tail = rest
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            piece = upstream.recv(65536)
            api.sendall(piece)
            tail = (tail + piece)[-16:]
        read_until(api, b'\r\n\r\n{"status":"OK"}')


main()
