"""What is deployed, as far as running it needs to know: limits, and the environment the function's process sees.

docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
"""

from __future__ import annotations

import enum
import pathlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from emulator.signing.identities import ACCOUNT


class Idle(enum.Enum):
    """What becomes of a process between two invocations."""

    FROZEN = "frozen"  # as on Lambda: no thread of it runs, its sockets age
    AWAKE = "awake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`command` is started with working directory `task_root`; `timeout` and `init_timeout` are seconds."""

    command: Sequence[str]
    task_root: pathlib.Path
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "local"
    handler: str = "relay"
    runtime: str = "python3.13"
    region: str = "eu-central-1"
    memory: int = 512
    timeout: float = 30.0
    init_timeout: float = 10.0  # docs: lambda-runtime-environment.html, "Init phase"
    concurrency: int = 4
    idle: Idle = Idle.FROZEN
    log_format: str = "JSON"
    log_level: str = "INFO"

    @classmethod
    def of_bundle(
        cls,
        bundle: pathlib.Path,
        *,
        environment: Mapping[str, str],
        python: pathlib.Path | None = None,
        **more: Any,
    ) -> Self:
        """`bundle/bootstrap`, started as Lambda starts its exec wrapper. `more` are further fields."""
        root = bundle.resolve()
        command = (str(root / "bootstrap"), str(python or sys.executable), "/var/runtime/bootstrap.py")
        return cls(command=command, task_root=root, environment=environment, **more)

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}"

    def process_environment(self, *, runtime_api: str, log_stream: str, home: pathlib.Path) -> dict[str, str]:
        """Everything the process sees. Nothing of the developer's own environment is passed on."""
        ours = {
            "AWS_ACCESS_KEY_ID": "ASIALOCALFUNCTION001",
            "AWS_SECRET_ACCESS_KEY": "local-function-secret",
            "AWS_SESSION_TOKEN": "local-function-token",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_LAMBDA_LOG_FORMAT": self.log_format,
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": str(self.task_root),
            "LANG": "en_US.UTF-8",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "TZ": ":UTC",
            "_HANDLER": self.handler,
            # Not set on Lambda, where the home folder is empty; here it keeps a developer's ~/.aws out of
            # boto3.
            "HOME": str(home),
        }
        if self.log_format == "JSON":
            ours["AWS_LAMBDA_LOG_LEVEL"] = self.log_level
        return {**ours, **self.environment}
