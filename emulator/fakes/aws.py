"""MiniStack as Secrets Manager and DynamoDB, reached by boto3 over a real socket through AWS_ENDPOINT_URL.

with AwsStandIn() as aws:
    arn = aws.put_secret("sk-...")
    name = aws.create_table({...properties of AWS::DynamoDB::Table...})
    aws.client("dynamodb").get_item(...)      # environment of the function: AWS_ENDPOINT_URL=aws.url
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import boto3

from emulator.fakes.readiness import StandInError, wait_until_it_answers
from emulator.processes import child_process

NAME = "the AWS stand-in (MiniStack)"
TRIES = 3  # somebody else may take the port between choosing and binding it


class AwsStandIn:
    def __init__(self, *, region: str = "eu-central-1") -> None:
        self.region = region
        self.url = ""

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="aws-stand-in-")
        for left in reversed(range(TRIES)):
            try:
                self._start()
                return self
            except StandInError:
                if not left:
                    self._folder.cleanup()
                    raise
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child_process.stop_logged(self._process)
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self, service: str) -> Any:
        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106  (MiniStack does not look at it)
        )

    def put_secret(self, value: str | None, *, name: str = "") -> str:
        """Creates a secret, without a value when that is None, and returns its ARN."""
        text = {} if value is None else {"SecretString": value}
        made = self.client("secretsmanager").create_secret(Name=name or f"local-{secrets.token_hex(4)}", **text)
        return str(made["ARN"])

    def create_table(self, properties: Mapping[str, Any], *, name: str = "") -> str:
        """Creates a table with keys, indexes and TTL as CloudFormation describes them, and returns its name."""
        name = name or str(properties.get("TableName") or f"local-{secrets.token_hex(4)}")
        wanted = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "LocalSecondaryIndexes")
        kept = {key: properties[key] for key in wanted if key in properties}
        dynamodb = self.client("dynamodb")
        dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **json.loads(json.dumps(kept)))
        if "TimeToLiveSpecification" in properties:
            expiry = {"Enabled": True, "AttributeName": properties["TimeToLiveSpecification"]["AttributeName"]}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
        return name

    def _start(self) -> None:
        folder = Path(self._folder.name)
        port, mark = free_port(), secrets.token_hex(8)
        variables = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "HOME": str(folder),
            "LOG_LEVEL": "WARNING",
            "MINISTACK_EDITION": mark,  # its health check repeats this
            "PATH": "/usr/bin:/bin",
            "S3_DATA_DIR": str(folder / "s3"),
            "TMPDIR": str(folder),
        }
        log = folder / "log"
        self._process = child_process.start_logged([sys.executable, "-m", "ministack"], env=variables, log=log)
        self.url = f"http://127.0.0.1:{port}"
        try:
            wait_until_it_answers(NAME, self._process, log, f"{self.url}/_ministack/health", mark)
        except StandInError:
            child_process.stop_logged(self._process)
            raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
