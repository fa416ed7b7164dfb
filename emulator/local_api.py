"""The API of a local stack: a key and a token to come in with, and how to use them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from emulator.assembly import api as api_template
from emulator.assembly.deployment import ROOT
from emulator.fakes.aws import AwsStandIn
from emulator.fakes.issuer import Issuer
from emulator.fakes.readiness import StandInError
from emulator.front.rest_api import Api
from emulator.processes import machine
from emulator.runtime.function import Function

LOCAL_ISSUER = "https://issuer.invalid/"  # as assembly.api_app names it to the template
NAME = "local"  # whom the key lets in: key:local


class LocalApi:
    """Empty until it is opened, and for ever where the environment has no API."""

    def __init__(self) -> None:
        self.url = ""
        self.key = ""
        self.issuer: Issuer | None = None

    def issue(self, started: contextlib.ExitStack) -> None:
        """Starts an issuer of tokens, for an API that knows none of its own."""
        self.issuer = started.enter_context(Issuer(LOCAL_ISSUER))

    def read(self, assembly: Path, aws: AwsStandIn, function: Function) -> Api | None:
        """The API as the template has it, with the local issuer in the place of the one that is nobody's."""
        local = {LOCAL_ISSUER: self.issuer.base_url} if self.issuer else {}
        table = function.environment.get("TABLE_NAME", "")
        api = api_template.read(assembly, aws, region=function.region, table=table, local_issuers=local)
        if api is None or LOCAL_ISSUER not in [issuer.url for issuer in api.issuers]:
            self.issuer = None
        return api

    def open(self, url: str, aws: AwsStandIn, function: Function) -> None:
        """Makes a key by the operator's own command, as for a deployment. Raises StandInError."""
        if not url:
            return
        self.url = url
        variables = {
            **machine.taken_over(os.environ),
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_ACCESS_KEY_ID": aws.operator.access_key,
            "AWS_SECRET_ACCESS_KEY": aws.operator.secret_key,
        }
        table = function.environment.get("TABLE_NAME", "")
        command = [sys.executable, "-m", "operate", "--table", table, "key", "create", "--name", NAME]
        made = subprocess.run(command, env=variables, cwd=ROOT, text=True, capture_output=True, check=False)
        if made.returncode:
            raise StandInError(f"no key could be made: {made.stderr.strip()}")
        self.key = made.stdout.strip()

    def ready(self) -> str:
        """What the `ready` line goes on with."""
        return f" api={self.url} api-key={self.key}" if self.url else ""

    def variables(self) -> dict[str, str]:
        """What a shell needs to call it, empty where there is none."""
        token = self.issuer.token("local-developer") if self.issuer and self.url else ""
        return {"API_URL": self.url, "API_KEY": self.key, "API_TOKEN": token}

    def hints(self, local_env: Path) -> list[str]:
        """How a client that knows only a base URL and a key comes in."""
        if not self.url:
            return []
        ways = {"v1": "API_KEY", **({"sso/v1": "API_TOKEN"} if self.issuer else {})}
        return [
            "or, with any OpenAI client:",
            *(
                f'  . {local_env}; export OPENAI_BASE_URL="$API_URL/{path}" OPENAI_API_KEY="${name}"'
                for path, name in ways.items()
            ),
        ]
