"""Everything that runs behind `make local` and `make demo`, started in order and stopped together."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cdk_app.bundle import target_python
from clients import EXAMPLE_MODEL
from emulator.assembly import api as api_template
from emulator.assembly.deployment import ROOT, deploy, synthesise
from emulator.assembly.template import Distribution, distribution, read
from emulator.fakes.aws import AwsStandIn
from emulator.front.cloudfront import Edge
from emulator.front.delivery import Disconnects
from emulator.local_api import LocalApi
from emulator.local_lambda import LocalLambda
from emulator.openai.stand_in import OpenAIStandIn
from emulator.processes.log import LogSink
from emulator.runtime.function import Function
from emulator.signing.identities import Identity

PLACE = ROOT / "build"
EDGE_SETTING = "EDGE_SECRET_ARN"  # the setting that names the secret which the distribution sends


class LocalStack:
    """A context manager; inside it, `relay` is the local Lambda and `upstream_name` says whom it talks to.

    Entering raises OSError for a port that is taken, StandInError, SynthesisError and TemplateError.
    """

    def __init__(
        self,
        *,
        environment: str,
        region: str,
        assembly: Path | None,
        port: int,
        openai_key: str,
        upstream: str,
        fixtures: Path | None,
        disconnects: Disconnects,
        timeout: float | None,
        overrides: Mapping[str, str],
        identities: Sequence[Identity],
        command: Sequence[str],
        logs: LogSink,
        with_api: bool = False,
    ) -> None:
        self._environment = environment
        self._region = region
        self._assembly = assembly
        self._port = port
        self._key = openai_key
        self._upstream = upstream
        self._fixtures = fixtures
        self._disconnects = disconnects
        self._timeout = timeout
        self._overrides = dict(overrides)
        self._identities = identities
        self._command = command
        self._logs = logs
        self._with_api = with_api
        self._api = LocalApi()
        self._stack = contextlib.ExitStack()
        self._distribution: Distribution | None = None
        self.upstream_name = upstream

    def __enter__(self) -> Self:
        check_port(self._port)
        with self._stack as started:
            function = self._function(started)
            local = LocalLambda(
                function,
                port=self._port,
                identities=self._identities,
                disconnects=self._disconnects,
                edge=self._edge(function),
                api=self._api.read(self._read_from, self._aws, function),
                logs=self._logs,
            )
            self.relay = started.enter_context(local)
            self._api.open(self.relay.api_url, self._aws, function)
            self._stack = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ready_line(self) -> str:
        who = self.relay.identities[0]
        keys = f"access-key={who.access_key} secret-key={who.secret_key}"
        edge = f" edge={self.relay.edge_url}" if self.relay.edge_url else ""
        return f"ready {self.relay.url} region={self._region} {keys}{edge}{self._api.ready()}"

    def variables(self) -> dict[str, str]:
        """What a shell needs to call it."""
        who = self.relay.identities[0]
        variables = {
            "URL": self.relay.url,
            "REGION": self._region,
            "ACCESS_KEY": who.access_key,
            "SECRET_KEY": who.secret_key,
            "SESSION_TOKEN": who.session_token,
            "EDGE_URL": self.relay.edge_url,
            **self._api.variables(),
        }
        return {name: text for name, text in variables.items() if text}

    def hints(self, local_env: Path) -> list[str]:
        """Lines for a person: how to call the endpoint, and how to look at the table."""
        # Signed for the Function URL, sent to the edge.
        edge = self.relay.edge_url.replace("http://", f"--connect-to {self.relay.url.removeprefix('http://')}:")
        through = [f"    {edge} \\"] if edge else []
        token = ['    -H "x-amz-security-token: $SESSION_TOKEN" \\'] if self.relay.identities[0].session_token else []
        body = {"model": EXAMPLE_MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        return [
            f"The relay's {self._environment} environment, talking to {self.upstream_name}. Ctrl-C ends it. Try:",
            f'  . {local_env}; curl -N --aws-sigv4 "aws:amz:$REGION:lambda" --user "$ACCESS_KEY:$SECRET_KEY" \\',
            *through,
            *token,
            "    -H 'content-type: application/json' \"$URL/v1/chat/completions\" \\",
            f"    -d '{json.dumps(body)}'",
            *self._api.hints(local_env),
            *self._operator_hints(),
        ]

    def _operator_hints(self) -> list[str]:
        """How to look at the local table as an operator."""
        table = self.relay.function.environment.get("TABLE_NAME", "")
        if not table:
            return []
        operator = self._aws.operator
        access = f"AWS_ACCESS_KEY_ID={operator.access_key} AWS_SECRET_ACCESS_KEY={operator.secret_key}"
        return [
            "and, for limits and usage:",
            f"  AWS_ENDPOINT_URL={self._aws.url} AWS_DEFAULT_REGION={self._region} {access} \\",
            f"    .venv/bin/python -m operate --table {table} usage",
        ]

    def _function(self, started: contextlib.ExitStack) -> Function:
        openai = self._stand_in(started)
        aws = self._aws = started.enter_context(AwsStandIn(region=self._region))
        assembly = self._assembly or self._synthesise(started)
        self._read_from = assembly
        deployed = read(assembly)
        self._distribution = distribution(assembly)
        python = target_python.find()
        if python is None:
            print(
                f"notice: no Python {target_python.VERSION} here; the relay runs on {sys.version.split()[0]}",
                file=sys.stderr,
            )
        if openai is not None:
            self._upstream = openai.url
        if self._upstream:
            self._overrides.setdefault("OPENAI_BASE_URL", self._upstream)
        return deploy(
            deployed,
            aws,
            openai_key=self._key,
            region=self._region,
            python=python,
            overrides=self._overrides,
            command=self._command,
            timeout=self._timeout,
            others=api_template.attributes(assembly),
        )

    def _synthesise(self, started: contextlib.ExitStack) -> Path:
        PLACE.mkdir(exist_ok=True)
        out = started.enter_context(tempfile.TemporaryDirectory(dir=PLACE, prefix="local-"))
        print(f"synthesising {self._environment} ...", file=sys.stderr, flush=True)
        if self._with_api:
            self._api.issue(started)
        return synthesise(self._environment, Path(out), with_api=self._with_api)

    def _edge(self, function: Function) -> Edge | None:
        """The distribution as the template has it, with the secret as it is at each request."""
        found = self._distribution
        if found is None:
            return None
        aws, secret = self._aws, function.environment[EDGE_SETTING]
        return Edge(
            header=found.header,
            secret=lambda: str(aws.call("secretsmanager", "GetSecretValue", SecretId=secret)["SecretString"]),
            read_timeout=found.read_timeout,
            refuses_websockets=found.refuses_websockets,
        )

    def _stand_in(self, started: contextlib.ExitStack) -> OpenAIStandIn | None:
        """None when there is a key of OpenAI's, or an upstream of the user's own."""
        if self._upstream or self._key:
            self.upstream_name = self._upstream or "OpenAI"
            self._key = self._key or f"sk-local-{secrets.token_hex(12)}"
            return None
        self.upstream_name = "the stand-in for OpenAI (set OPENAI_API_KEY to talk to OpenAI itself)"
        self._key = f"sk-local-{secrets.token_hex(12)}"
        return started.enter_context(OpenAIStandIn(key=self._key, fixtures=self._fixtures))


def check_port(port: int) -> None:
    """Raises OSError, saying what helps, before anything slow is begun."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise OSError(f"port {port} may not be used by this user: take one over 1023, or PORT=0") from None
        except OSError:
            raise OSError(f"port {port} is in use: end what listens there, or pick a free one with PORT=0") from None
