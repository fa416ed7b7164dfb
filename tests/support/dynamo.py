"""DynamoDB stand-ins made by others, a table in them, and a store that loses answers. For tests of the ledger."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from relay.aws.client import DYNAMODB, Client
from relay.aws.dynamodb import DynamoDb, Store
from relay.aws.errors import StoreError
from relay.aws.signing import Credentials

from emulator.signing.identities import Identity
from tests.support.child_process import child

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = ("pk", "sk")
# Keys as the stack's table has them.
SHAPE = {
    "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in zip(KEYS, ("HASH", "RANGE"), strict=True)],
    "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in KEYS],
}
REGION = "eu-central-1"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _server(command: list[str], port: int, environ: Mapping[str, str]) -> Iterator[str]:
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with child(command, cwd=ROOT, env={**os.environ, **environ}, **streams) as process:
        _until_listening(port, process)
        yield f"http://127.0.0.1:{port}"


def _until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"{process.args!r} does not listen (exit code {process.poll()})")


def dynalite() -> contextlib.AbstractContextManager[str]:
    """The strictest expression grammar at hand; it never says which item failed a condition."""
    port = free_port()
    command = [
        "node",
        "node_modules/dynalite/cli.js",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--createTableMs",
        "0",
    ]
    return _server(command, port, {})


def ministack(services: str = "dynamodb,cloudformation") -> contextlib.AbstractContextManager[str]:
    """Answers as DynamoDB does, with the item that failed a condition; beside it other services, where they are named."""
    port = free_port()
    environ = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": services}
    return _server([sys.executable, "-m", "ministack"], port, environ)


def client(url: str, region: str = REGION, identity: Identity | None = None) -> Any:
    """boto3's client for a stand-in; `identity` is who calls, where the stand-in looks at that."""
    access_key, secret_key = (identity.access_key, identity.secret_key) if identity else ("test", "test")
    return boto3.client(
        "dynamodb", endpoint_url=url, region_name=region, aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
    )  # fmt: skip


def create_table(url: str, name: str, region: str = REGION) -> str:
    """A table such as the stack makes, empty and ready."""
    dynamodb = client(url, region)
    dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **SHAPE)
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return name


@contextlib.contextmanager
def store(url: str) -> Iterator[Store]:
    """The relay's own store, pointed at a stand-in. Calls have all their time: tests have clocks of their own."""
    credentials = Credentials(access_key="test", secret_key="test")
    client = Client(DYNAMODB, url=url, region=REGION, credentials=lambda: credentials, tls_context=None)
    try:
        yield Timeless(DynamoDb(client))
    finally:
        client.close()


def items(url: str, table: str, identity: Identity | None = None) -> list[dict[str, Any]]:
    """Everything in the table."""
    pages = client(url, identity=identity).get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


class Timeless:
    """Passes calls on without the time that they have."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def call(self, operation: str, body: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        return self.inner.call(operation, body)


class Counting:
    """Passes calls on and keeps their names."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.calls: list[str] = []

    def call(self, operation: str, body: Mapping[str, Any], **limits: Any) -> Mapping[str, Any]:
        self.calls.append(operation)
        return self.inner.call(operation, body, **limits)


class Lossy:
    """Fails calls for which `fault` says so: "before" the store sees them, or "after" it has applied them."""

    def __init__(self, inner: Store, fault: Callable[[int, str, Mapping[str, Any]], str | None]) -> None:
        self.inner = inner
        self.fault = fault
        self.count = 0

    def call(self, operation: str, body: Mapping[str, Any], **limits: Any) -> Mapping[str, Any]:
        self.count += 1
        fault = self.fault(self.count, operation, body)
        if fault == "before":
            raise StoreError("Unreachable", "injected before")
        answer: Mapping[str, Any] | StoreError
        try:
            answer = self.inner.call(operation, body, **limits)
        except StoreError as error:
            answer = error
        if fault == "after":
            raise StoreError("Unreachable", "injected after")
        if isinstance(answer, StoreError):
            raise answer
        return answer
