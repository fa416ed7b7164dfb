"""A door before a DynamoDB stand-in that can be slow, shut, or lose answers: what a store does on a bad day.

    with StoreProxy(url) as proxy:
        proxy.fault = "lose"        # for every call from now on; "" for none
        proxy.faults = deque([...]) # for the next calls, one each
Faults: "refuse" (closes at once), "slow" (waits `slowness` seconds first), "throttle" and "fail" (DynamoDB's own
answers, nothing applied), "lose" (applied, and the connection closed instead of an answer).
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_ANSWERS = {
    "throttle": (400, "ProvisionedThroughputExceededException"),
    "fail": (500, "InternalServerError"),
}


class StoreProxy:
    def __init__(self, upstream: str) -> None:
        self.fault = ""
        self.faults: deque[str] = deque()
        self.slowness = 3.0
        self.calls: list[str] = []
        self.seen: list[float] = []
        self._upstream = urlsplit(upstream).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body of an answer in one segment, as the service sends them.
            wbufsize = 1 << 16

            def do_POST(self) -> None:
                proxy._serve(self)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Says nothing: relays are killed while they talk to us."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        operation = request.headers["x-amz-target"].partition(".")[2]
        fault = self.faults.popleft() if self.faults else self.fault
        self.calls.append(operation)
        self.seen.append(time.monotonic())
        if fault == "slow":
            time.sleep(self.slowness)
        if fault == "refuse":
            request.close_connection = True
            return
        if fault in _ANSWERS:
            status, name = _ANSWERS[fault]
            self._answer(request, status, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{name}"}).encode())
            return
        status, answer = self._forward(request, body)
        if fault == "lose":
            request.close_connection = True
            return
        self._answer(request, status, answer)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._upstream, timeout=20)
        try:
            headers = {name: text for name, text in request.headers.items() if name.lower() != "connection"}
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answer(self, request: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("content-type", "application/x-amz-json-1.0")
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        request.wfile.flush()
