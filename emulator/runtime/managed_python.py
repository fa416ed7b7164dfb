"""Lambda's own Python runtime, as far as a function with one handler needs it: run as a process, never imported.

Reads `_HANDLER` and LAMBDA_TASK_ROOT, asks the Runtime API for events, gives back what the handler returns, whole.
docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import sys
from typing import Any

_PATH = "/2018-06-01/runtime"


def main() -> None:
    """Serve until the process is killed."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    try:
        handler = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever it is, the service has to show it as an init error
        _post(connection, f"{_PATH}/init/error", _described(error))
        sys.exit(1)
    while True:
        connection.request("GET", f"{_PATH}/invocation/next")
        response = connection.getresponse()
        event, id = json.loads(response.read()), response.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            _post(connection, f"{_PATH}/invocation/{id}/response", handler(event, None))
        except Exception as error:  # a handler's exception is an answer, too
            _post(connection, f"{_PATH}/invocation/{id}/error", _described(error))


def _described(error: Exception) -> dict[str, Any]:
    return {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": []}


def _post(connection: http.client.HTTPConnection, path: str, value: object) -> None:
    connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
    connection.getresponse().read()


if __name__ == "__main__":
    main()
