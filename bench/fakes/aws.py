"""Secrets Manager and DynamoDB that answer at once and always well: `python -m bench.fakes.aws`. Prints its port.

They keep nothing: what is measured is what the competitor does to ask them.
"""

from __future__ import annotations

import json
import re
import socket
from typing import Any

from bench.fakes import http1

TARGET = re.compile(rb"\r\nx-amz-target: *([^\r]+)", re.IGNORECASE)
SECRET = {
    "ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf",
    "Name": "openai",
    "VersionId": "00000000-0000-4000-8000-000000000000",
    "SecretString": "sk-bench-0000000000000000000000000000000000000000",
    "VersionStages": ["AWSCURRENT"],
    "CreatedDate": 1700000000,
}
ANSWERS: dict[str, dict[str, Any]] = {
    "GetSecretValue": SECRET,
    "Query": {"Items": [], "Count": 0, "ScannedCount": 0},
    "Scan": {"Items": [], "Count": 0, "ScannedCount": 0},
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
}


def converse(connection: socket.socket) -> None:
    rest = b""
    while True:
        head = http1.read_head(connection, rest)
        if head is None:
            return
        _, rest = http1.read_body(connection, head)
        found = TARGET.search(head.raw)
        operation = found.group(1).decode().rpartition(".")[2] if found else ""
        body = json.dumps(ANSWERS.get(operation, {})).encode()
        connection.sendall(
            http1.answer("200 OK", body, "x-amzn-requestid: bench").replace(b"/json", b"/x-amz-json-1.0")
        )


def main() -> None:
    listener = http1.listen()
    print(listener.getsockname()[1], flush=True)
    http1.serve(listener, converse)


if __name__ == "__main__":
    main()
