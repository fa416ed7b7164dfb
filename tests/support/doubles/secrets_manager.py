"""Secrets Manager as far as GetSecretValue goes: one secret, whose answer a test can change at any time.

Source: docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html (JSON 1.1 over POST).
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class SecretsManager:
    """`value` is the secret's text; a `status` other than 200 makes every call fail with `code`."""

    def __init__(self, value: str = "sk-secret-of-the-stand-in") -> None:
        self.value = value
        self.status = 200
        self.code = "InternalServiceError"
        self.reads = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                owner.reads += 1
                good = {"ARN": "arn:aws:secretsmanager:x", "Name": "openai", "SecretString": owner.value}
                body = json.dumps(good if owner.status == 200 else {"__type": owner.code}).encode()
                self.send_response(owner.status)
                self.send_header("content-type", "application/x-amz-json-1.1")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
