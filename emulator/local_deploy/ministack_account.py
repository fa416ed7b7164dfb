"""MiniStack as a whole AWS account: deployments, signatures verified, IAM enforced, TLS. For local deployments.

`aws_stand_in` is the same program as a mere store, where anybody may do anything.
"""

from __future__ import annotations

import os
import secrets
import socket
import ssl
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import boto3

from emulator.fakes.aws import NAME
from emulator.fakes.readiness import wait_until_it_answers
from emulator.processes import child_process
from emulator.signing.identities import ACCOUNT

# Cross-region references are looked up by MiniStack in the region of the stack that has them, and the edge is here.
REGION = "us-east-1"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MiniStackAccount:
    """`environment()` is for processes that shall meet it, `client()` for Python. Root's credentials, unless others."""

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="cloud-")
        folder, port, mark = Path(self._folder.name), free_port(), secrets.token_hex(8)
        self.access_key, self.secret_key = "AKIA" + secrets.token_hex(8).upper(), secrets.token_hex(20)
        self.url = f"https://127.0.0.1:{port}"
        self.ca_file = folder / "ministack-tls" / "server.crt"
        variables = {
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "HOME": str(folder),
            "LOG_LEVEL": "WARNING",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_EDITION": mark,  # its health check repeats this
            "MINISTACK_REGION": REGION,
            # openssl, with which it makes its certificate.
            "PATH": os.environ["PATH"],
            "S3_DATA_DIR": str(folder / "s3"),
            "TMPDIR": str(folder),
            # The bucket that `cdk bootstrap` makes refuses whoever comes without TLS.
            "USE_SSL": "1",
        }
        log = folder / "log"
        self._process = child_process.start_logged([sys.executable, "-m", "ministack"], env=variables, log=log)
        try:
            health = f"{self.url}/_ministack/health"
            wait_until_it_answers(NAME, self._process, log, health, mark=mark, ca_file=self.ca_file)
        except BaseException:  # Ctrl-C, too: the child process must not stay
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child_process.stop_logged(self._process)
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """What makes AWS SDKs and the CDK's CLI come here, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "NODE_EXTRA_CA_CERTS": str(self.ca_file),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def tls_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        """A boto3 client; `credentials` as `assume` returns them."""
        used = credentials or {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            verify=str(self.ca_file),
            aws_access_key_id=used["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=used["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=used.get("AWS_SESSION_TOKEN"),
        )

    def stacks(self) -> set[str]:
        """Names of the stacks that are there, in whatever state."""
        listed = self.client("cloudformation").list_stacks()["StackSummaries"]
        return {stack["StackName"] for stack in listed if stack["StackStatus"] != "DELETE_COMPLETE"}

    def assume(self, role_arn: str) -> dict[str, str]:
        """Credentials of a role, as variables. Its trust policy has to name the account."""
        assumed = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="local-deploy")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
            "AWS_SESSION_TOKEN": assumed["SessionToken"],
        }
