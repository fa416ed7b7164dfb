"""One relay process between scripted neighbours: Runtime API above, OpenAI below, Secrets Manager beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from emulator.fakes.raw_upstream import RawUpstream, chat_stream
from tests.support.cpu_wait import CpuWait
from tests.support.harness import canaries
from tests.support.harness.exchange import Exchange
from tests.support.harness.process import RelayProcess
from tests.support.harness.runtime_api import Reader, ScriptedRuntimeApi
from tests.support.harness.secrets_manager import ScriptedSecretsManager

CHAT = "/v1/chat/completions"
# Short times, so that a suite of faults takes seconds. Their proportions are those of the defaults.
HEARTBEAT_SECONDS = 0.6
RESERVE_SECONDS = 0.5


def chat_request(**fields: Any) -> dict[str, Any]:
    """A streamed chat request with a planted prompt. It asks for usage, so that the relay need not add it."""
    message = {"role": "user", "content": canaries.PROMPT}
    options = {} if fields.get("stream") is False else {"stream_options": {"include_usage": True}}
    return {"model": "gpt-5", "messages": [message], "stream": True, **options, **fields}


def event(body: object, *, method: str = "POST", path: str = CHAT, accept: str = "*/*") -> bytes:
    """A Function URL event. Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html."""
    iam = {
        "accessKey": "ASIAEXAMPLE",
        "accountId": "123456789012",
        "callerId": "AROAEXAMPLE:session",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn:aws:sts::123456789012:assumed-role/app/session",
        "userId": "AROAEXAMPLE:session",
    }
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"}
    headers = {"content-type": "application/json", "accept": accept, "cookie": canaries.COOKIE, "host": "x.on.aws"}
    fields = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": http, "authorizer": {"iam": iam}, "accountId": "123456789012", "stage": "$default"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    return json.dumps(fields).encode()


class RelayFixture:
    """What a test holds. `serve` is one invocation from /next to the end."""

    def __init__(
        self, api: ScriptedRuntimeApi, upstream: RawUpstream, secrets: ScriptedSecretsManager, relay: RelayProcess
    ) -> None:
        self.api = api
        self.upstream = upstream
        self.secrets = secrets
        self.relay = relay
        self.start_watch()

    def start_watch(self) -> None:
        """Begins to count anew for `cpu_wait`."""
        self._cpu_wait = CpuWait(self.relay.pid)

    def cpu_wait(self) -> float:
        """Seconds that the relay and the test have waited for a processor; every time limit is longer by that."""
        return self._cpu_wait.seconds()

    def assert_upstream_left(self, exchange: Exchange) -> None:
        """The relay closes its connection to upstream at once when the response is over."""
        request = self.upstream.requests[-1]
        assert request.wait_over(60.0) == "peer left"
        assert request.over_at - exchange.over_at <= 1.0 + self.cpu_wait()

    def invoke(
        self,
        fields: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = 10.0,
        reader: Reader | None = None,
    ) -> Exchange:
        """Hands out a chat request and returns at once."""
        return self.api.invoke(event(fields or chat_request()), deadline=deadline, reader=reader)

    def serve(
        self,
        fields: Mapping[str, Any] | None = None,
        *,
        deadline: float | None = 10.0,
        reader: Reader | None = None,
    ) -> Exchange:
        """The same, and waits until it is over."""
        exchange = self.invoke(fields, deadline=deadline, reader=reader)
        exchange.wait_over()
        return exchange

    def assert_serves(self) -> None:
        """I7: the same process serves the next invocation correctly."""
        assert self.relay.alive, self.relay.stderr.read_text()
        self.upstream.answer(*chat_stream("still", "here"))
        exchange = self.serve()
        assert exchange.over == "answered 202"
        assert exchange.status == 200
        assert exchange.body.endswith(b"data: [DONE]\n\n")
        assert exchange.trailer_type == ""
        assert not self.api.broken_rules

    def assert_no_leak(self) -> None:
        """I6: no planted secret in what the process has written, and none of the caller's or AWS's sent to OpenAI."""
        leaked = self.relay.leaks()
        assert not leaked, leaked
        for request in self.upstream.requests:
            assert not canaries.leaks(request.raw_head, allowed=(canaries.KEY, canaries.OLD_KEY))


@contextmanager
def relay_fixture(
    bundle: Path,
    python: Path,
    scratch: Path,
    *,
    settings: Mapping[str, str] | None = None,
    upstream: RawUpstream | None = None,
    stdout: int | None = None,
) -> Iterator[RelayFixture]:
    """A relay process between its neighbours that is started already; the secrets scan is made at its end."""
    with ExitStack() as stack:
        api = stack.enter_context(ScriptedRuntimeApi())
        below = stack.enter_context(upstream or RawUpstream())
        secrets = stack.enter_context(ScriptedSecretsManager())
        environment = {**_environment(api, below, secrets), **(settings or {})}
        relay = stack.enter_context(RelayProcess(bundle, python, environment, scratch, stdout=stdout))
        made = RelayFixture(api, below, secrets, relay)
        yield made
        made.assert_no_leak()


def _environment(api: ScriptedRuntimeApi, upstream: RawUpstream, secrets: ScriptedSecretsManager) -> dict[str, str]:
    return {
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "relay",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": canaries.TOKEN + "Secret",
        "AWS_SESSION_TOKEN": canaries.TOKEN,
        "AWS_ENDPOINT_URL": secrets.url,
        "OPENAI_BASE_URL": upstream.url,
        "OPENAI_SECRET_ARN": "openai-key",
        "HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "DEADLINE_RESERVE_SECONDS": str(RESERVE_SECONDS),
    }
