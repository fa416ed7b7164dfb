"""A runtime client on a bare socket, told by each event what to do: the double the local Lambda is tested
with.

The event's body is JSON: {"do": [[verb, argument], ...]}; verbs are the functions named `do_*` below. It
imports nothing of the project, so that it can be started as a process, and it follows the wire to the letter
only when told to.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

PRELUDE = {"statusCode": 200, "headers": {"content-type": "text/event-stream"}, "cookies": []}
STREAMING = {
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Content-Type": "application/vnd.awslambda.http-integration-response",
    "Transfer-Encoding": "chunked",
    "Trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
}


class Client:
    """One keep-alive connection to the Runtime API."""

    def __init__(self, address: str) -> None:
        self.address = address
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.request_id = ""
        self.invocation_id = ""

    def send_head(self, method: str, path: str, headers: dict[str, str]) -> None:
        lines = [f"{method} /2018-06-01/runtime/{path} HTTP/1.1", f"Host: {self.address}"]
        lines += [f"{name}: {text}" for name, text in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def read_reply(self) -> tuple[int, dict[str, str], bytes]:
        first = self.file.readline()
        if not first:
            raise ConnectionError("closed")
        headers: dict[str, str] = {}
        while (line := self.file.readline()) != b"\r\n":
            name, _, text = line.decode().partition(":")
            headers[name.lower()] = text.strip()
        return int(first.split()[1]), headers, self.file.read(int(headers["content-length"]))

    def next(self) -> dict[str, Any]:
        self.send_head("GET", "invocation/next", {})
        status, headers, body = self.read_reply()
        if status != 200:
            print(f"next {status} {body.decode().strip()}", flush=True)
            return {"refused": status}
        self.request_id = headers["lambda-runtime-aws-request-id"]
        self.invocation_id = headers["lambda-runtime-invocation-id"]
        event: dict[str, Any] = json.loads(body)
        event["next-headers"] = headers
        return event

    def begin(self, path: str = "", **changes: str) -> None:
        headers = {**STREAMING, "Lambda-Runtime-Invocation-Id": self.invocation_id}
        headers |= {name.replace("_", "-"): text for name, text in changes.items()}
        self.send_head("POST", path or f"invocation/{self.request_id}/response", headers)

    def chunk(self, data: bytes) -> None:
        self.socket.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end(self, trailers: str = "") -> None:
        self.socket.sendall(f"0\r\n{trailers}\r\n".encode())
        self.tell_reply()

    def tell_reply(self) -> None:
        status, _, body = self.read_reply()
        print(f"reply {status} {body.decode().strip()}", flush=True)

    def post(self, path: str, body: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.send_head("POST", path, {"Content-Length": str(len(body)), **named})
        self.socket.sendall(body)
        self.tell_reply()


def do_begin(client: Client, prelude: dict[str, Any] | None) -> None:
    client.begin()
    client.chunk(json.dumps(prelude or PRELUDE).encode() + b"\0" * 8)


def do_begin_in_pieces(client: Client, prelude: dict[str, Any] | None) -> None:
    """Every byte of prelude and NULs in a chunk of its own."""
    client.begin()
    for byte in json.dumps(prelude or PRELUDE).encode() + b"\0" * 8:
        client.chunk(bytes([byte]))


def do_begin_raw(client: Client, raw: str) -> None:
    client.begin()
    client.chunk(raw.encode())


def do_begin_plain(client: Client, content_type: str) -> None:
    client.begin(Content_Type=content_type)


def do_begin_as(client: Client, changes: dict[str, str]) -> None:
    path = changes.pop("path", "")
    client.begin(path, **changes)
    client.chunk(json.dumps(PRELUDE).encode() + b"\0" * 8)


def do_write(client: Client, text: str) -> None:
    client.chunk(text.encode())


def do_write_many(client: Client, how: list[Any]) -> None:
    """[text, times, pause in seconds]; says in the log when all is written."""
    text, times, pause = how
    for _ in range(times):
        client.chunk(text.encode())
        time.sleep(pause)
    print("all written", flush=True)


def do_end(client: Client, _: None) -> None:
    client.end()


def do_fail(client: Client, error: dict[str, str]) -> None:
    body = base64.b64encode(json.dumps(error).encode()).decode()
    kind = f"Lambda-Runtime-Function-Error-Type: {error['errorType']}"
    client.end(f"{kind}\r\nLambda-Runtime-Function-Error-Body: {body}\r\n")


def do_error(client: Client, error: dict[str, str]) -> None:
    body = json.dumps(error).encode()
    path = f"invocation/{client.request_id}/error"
    client.post(path, body, Lambda_Runtime_Function_Error_Type=error["errorType"])


def do_sleep(_: Client, seconds: float) -> None:
    time.sleep(seconds)


def do_reset(client: Client, _: None) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.socket.close()
    client.file.close()
    client.__init__(os.environ["AWS_LAMBDA_RUNTIME_API"])  # type: ignore[misc]


def do_kill_self(_: Client, __: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def do_next_now(client: Client, _: None) -> None:
    """Ask for the next event although this one is not answered."""
    client.next()


def do_read_reply(client: Client, _: None) -> None:
    client.tell_reply()


def do_wait_for_hang_up(client: Client, _: None) -> None:
    try:
        gone = client.socket.recv(1) == b""
    except ConnectionResetError:
        gone = True
    print(f"hung up: {gone}", flush=True)
    do_reset(client, None)


def do_echo(client: Client, part: str) -> None:
    """Answer with a part of what was given: the event, the headers of /next, or the environment."""
    parts = {"event": EVENT, "headers": EVENT["next-headers"], "environment": dict(os.environ)}
    do_begin(client, None)
    client.chunk(json.dumps(parts[part]).encode())
    client.end()


def do_say(_: Client, text: str) -> None:
    print(text, flush=True)
    print(text, file=sys.stderr, flush=True)


def do_tick(_: Client, seconds: float) -> None:
    """A thread that goes on after the answer, as long as it is let."""

    def run() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            print("tick", flush=True)
            time.sleep(0.01)

    threading.Thread(target=run, daemon=True).start()


EVENT: dict[str, Any] = {}


def steps(event: dict[str, Any]) -> list[Any]:
    if "STEPS" in os.environ:  # for callers whose request cannot say what to do
        given: list[Any] = json.loads(os.environ["STEPS"])
        return given
    body = event.get("body", "")
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    found: list[Any] = json.loads(body)["do"] if body else event.get("do", [])
    return found


def main() -> None:
    init = os.environ.get("INIT", "")
    if init == "exit":
        sys.exit(7)
    if init == "hang":
        time.sleep(3600)
    client = Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    if init == "error":
        body = b'{"errorMessage":"no key","errorType":"Runtime.NoKey"}'
        client.post("init/error", body, Lambda_Runtime_Function_Error_Type="Runtime.NoKey")
        sys.exit(1)
    while True:
        EVENT.clear()
        EVENT.update(client.next())
        if "refused" in EVENT:
            sys.exit(1)
        for verb, argument in steps(EVENT):
            globals()[f"do_{verb}"](client, argument)


if __name__ == "__main__":
    main()
