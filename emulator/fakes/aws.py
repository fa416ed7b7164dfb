"""MiniStack as Secrets Manager and DynamoDB, reached over a real socket through AWS_ENDPOINT_URL, by signed calls only.

with AwsStandIn() as aws:
    arn = aws.put_secret("sk-...")
    name = aws.create_table({...properties of AWS::DynamoDB::Table...})
    aws.call("dynamodb", "GetItem", TableName=name, Key=...)
    ... aws.environment() is what makes the function come here ...

The credentials are made anew at each start: `function` is the function's role, `operator` whoever looks at the table.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import httpx

from emulator.fakes.aws_door import SERVICES, AwsDoor
from emulator.fakes.readiness import StandInError, wait_until_it_listens
from emulator.processes import child_process
from emulator.processes.loop_thread import LoopThread
from emulator.signing.identities import ACCOUNT, local_role_session, local_user

NAME = "the AWS stand-in (MiniStack)"
LONGEST_FOLDER = 80  # characters: the path of a socket has at most 103 on every system


class AwsStandInError(StandInError):
    """The stand-in refused a call. The text is one line for a person."""


class AwsStandIn:
    """A context manager; `url` is its endpoint while it runs."""

    def __init__(self, *, region: str = "eu-central-1") -> None:
        self.region = region
        self.url = ""
        self.function = local_role_session("local-function", number=90)
        self.operator = local_user("local-operator", number=91)

    def __enter__(self) -> Self:
        self._folder = private_folder("aws-stand-in-")
        self._loop = LoopThread()
        try:
            self._start(Path(self._folder.name))
        except BaseException:  # Ctrl-C too: what was started has to end
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._door.close())
        child_process.stop_logged(self._process)
        self._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The variables with which the function finds the stand-in and is let in."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.function.access_key,
            "AWS_SECRET_ACCESS_KEY": self.function.secret_key,
            "AWS_SESSION_TOKEN": self.function.session_token,
        }

    def call(self, service: str, operation: str, **fields: Any) -> dict[str, Any]:
        """One operation of AWS's JSON protocol, signed by the operator. Raises AwsStandInError when it is refused."""
        prefix = next(prefix for prefix, name in SERVICES.items() if name == service)
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{prefix}.{operation}"}
        body = json.dumps(fields).encode()
        signed = self.operator.sign(
            "POST", f"{self.url}/", region=self.region, body=body, headers=headers, service=service
        )
        # No proxy and no certificate of the machine's is meant for a loopback address.
        with httpx.Client(trust_env=False, verify=False, timeout=20) as client:  # noqa: S501  (plain HTTP)
            response = client.post(f"{self.url}/", content=body, headers=signed)
        if response.status_code != 200:
            raise AwsStandInError(f"{service} {operation}: {response.status_code} {response.text}")
        decoded: dict[str, Any] = json.loads(response.content or b"{}")
        return decoded

    def put_secret(self, value: str | None, *, name: str = "") -> str:
        """Creates a secret, without a value when that is None, and returns its ARN."""
        text = {} if value is None else {"SecretString": value}
        token = secrets.token_hex(16)
        name = name or f"local-{secrets.token_hex(4)}"
        created = self.call("secretsmanager", "CreateSecret", Name=name, ClientRequestToken=token, **text)
        return str(created["ARN"])

    def create_table(self, properties: Mapping[str, Any], *, name: str = "") -> str:
        """Creates a table with keys, indexes and TTL as CloudFormation describes them, and returns its name."""
        name = name or str(properties.get("TableName") or f"local-{secrets.token_hex(4)}")
        kept_names = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "LocalSecondaryIndexes")
        kept = {key: properties[key] for key in kept_names if key in properties}
        self.call("dynamodb", "CreateTable", TableName=name, BillingMode="PAY_PER_REQUEST", **kept)
        if "TimeToLiveSpecification" in properties:
            expiry = {"Enabled": True, "AttributeName": properties["TimeToLiveSpecification"]["AttributeName"]}
            self.call("dynamodb", "UpdateTimeToLive", TableName=name, TimeToLiveSpecification=expiry)
        return name

    def _start(self, folder: Path) -> None:
        socket, log = folder / "socket", folder / "log"
        variables = {
            "HOME": str(folder),
            "LOG_LEVEL": "WARNING",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "PATH": "/usr/bin:/bin",
            "S3_DATA_DIR": str(folder / "s3"),
            "SERVICES": ",".join(sorted(SERVICES.values())),
            "TMPDIR": str(folder),
        }
        server = [sys.executable, "-m", "hypercorn", "ministack.app:app", "--bind", f"unix:{socket}"]
        # Served by the process itself: a worker of its own would outlive it when it is killed.
        command = [*server, "--log-level", "WARNING", "--keep-alive", "75", "--graceful-timeout", "0", "--workers", "0"]
        self._process = child_process.start_logged(command, env=variables, log=log)
        try:
            wait_until_it_listens(NAME, self._process, log, socket)
            self._door = AwsDoor((self.function, self.operator), self.region, str(socket))
            self._loop.run(self._door.start())
        except BaseException:  # the same
            child_process.stop_logged(self._process)
            raise
        self.url = f"http://127.0.0.1:{self._door.port}"

    def _end(self) -> None:
        self._loop.close()
        self._folder.cleanup()


def private_folder(prefix: str) -> TemporaryDirectory[str]:
    """A folder that only this user can enter, with room in its path for a socket's name."""
    folder = TemporaryDirectory(prefix=prefix)
    if len(folder.name) <= LONGEST_FOLDER:
        return folder
    folder.cleanup()
    return TemporaryDirectory(prefix=prefix, dir="/tmp")
