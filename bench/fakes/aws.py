"""Secrets Manager and DynamoDB that answer at once: `python -m bench.fakes.aws`. Prints its port.

The table keeps its items and carries out SET and REMOVE, because the ledger reads what comes back; of conditions it
knows only whether the item has to be there. What is measured is what the competitor does to ask, not a store.
"""

from __future__ import annotations

import functools
import json
import re
import socket
import threading
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
# The terms of a SET clause that the relay writes: a value, or one that is added to what is there.
TERM = re.compile(r"(#[#\d.]+) = (?:if_not_exists\(#[#\d.]+, (:\d+)\)(?: \+ (:\d+))?|(:\d+))")
Item = dict[str, Any]


class ConditionFailedError(Exception):
    """The item as it is."""


class Table:
    """All items of all tables, by key."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._lock = threading.Lock()

    def call(self, operation: str, body: Item) -> Item:
        """The operation's answer. Raises ConditionFailedError."""
        with self._lock:
            if operation == "GetItem":
                found = self._items.get(key_of(body["Key"]))
                return {"Item": found} if found else {}
            if operation == "PutItem":
                return self._put(body)
            return self._update(body) if operation == "UpdateItem" else {}

    def _put(self, body: Item) -> Item:
        key = key_of({name: body["Item"][name] for name in ("pk", "sk")})
        if "ConditionExpression" in body and key in self._items:
            raise ConditionFailedError(self._items[key])
        self._items[key] = body["Item"]
        return {}

    def _update(self, body: Item) -> Item:
        key, names = key_of(body["Key"]), body["ExpressionAttributeNames"]
        item, condition = self._items.get(key), body.get("ConditionExpression", "")
        wants_none = condition in {f"attribute_not_exists({short})" for short, name in names.items() if name == "pk"}
        if condition and wants_none == (item is not None):
            raise ConditionFailedError(item)
        item = self._items.setdefault(key, dict(body["Key"]))
        sets, _, removes = body["UpdateExpression"].partition("REMOVE ")
        values = body.get("ExpressionAttributeValues", {})
        for path, start, added, value in TERM.findall(sets):
            *parents, name = (names[part] for part in path.split("."))
            into = functools.reduce(lambda inner, parent: inner[parent]["M"], parents, item)
            into[name] = values[value] if value else summed(into.get(name, values[start]), values.get(added))
        for path in filter(None, removes.split(", ")):
            *parents, name = (names[part] for part in path.strip().split("."))
            functools.reduce(lambda inner, parent: inner[parent]["M"], parents, item).pop(name, None)
        return {"Attributes": item}


def summed(number: Item, added: Item | None) -> Item:
    return {"N": str(int(number["N"]) + int(added["N"]))} if added else number


def key_of(key: Item) -> str:
    return json.dumps(key, sort_keys=True)


def converse(table: Table, connection: socket.socket) -> None:
    rest = b""
    while True:
        head = http1.read_head(connection, rest)
        if head is None:
            return
        body, rest = http1.read_body(connection, head)
        found = TARGET.search(head.raw)
        operation = found.group(1).decode().rpartition(".")[2] if found else ""
        connection.sendall(respond(table, operation, body))


def respond(table: Table, operation: str, body: bytes) -> bytes:
    if operation == "GetSecretValue":
        return http1.answer("200 OK", json.dumps(SECRET).encode())
    try:
        return http1.answer("200 OK", json.dumps(table.call(operation, json.loads(body))).encode())
    except ConditionFailedError as failed:
        error = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "Item": failed.args[0]}
        return http1.answer("400 Bad Request", json.dumps({k: v for k, v in error.items() if v}).encode())


def main() -> None:
    listener = http1.listen()
    print(listener.getsockname()[1], flush=True)
    http1.serve(listener, functools.partial(converse, Table()))


if __name__ == "__main__":
    main()
