"""One execution environment: a competitor's process, the fakes around it, and what the kernel says about it.

Times are CLOCK_MONOTONIC in nanoseconds, memory in bytes. Linux only: it reads /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.competitors import BUILD, ROOT, Competitor, certificate
from bench.fakes.events import Stream

# Longer than any station takes: a competitor that says nothing for so long has failed.
PATIENCE_SECONDS = 60


class FailedError(Exception):
    """A competitor did not do what all have to do. The text holds what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fakes:
    """Where OpenAI and AWS are, for all competitors of a run."""

    openai: str
    aws: str
    runtime_api: tuple[str, ...] = ()  # arguments of each environment's own


@contextlib.contextmanager
def fakes(*, tls: bool, runtime_api: tuple[str, ...] = ()) -> Iterator[Fakes]:
    """The shared fakes, each in its own process."""
    secured = [str(path) for path in certificate()] if tls else []
    with _fake("openai", *secured) as openai, _fake("aws") as aws:
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        yield Fakes(
            openai=f"{scheme}://{host}:{_port(openai)}/v1",
            aws=f"http://127.0.0.1:{_port(aws)}",
            runtime_api=runtime_api,
        )


@contextlib.contextmanager
def _fake(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"bench.fakes.{name}", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


class Environment:
    """A running competitor. `spawned` is the moment just before its process was made."""

    def __init__(self, runtime_api: subprocess.Popen[str], process: subprocess.Popen[bytes], spawned: int) -> None:
        self._api = runtime_api
        self._process = process
        self.spawned = spawned
        self.waiting = self._ask({"do": "started"})["next"]

    def invoke(self, stream: Stream) -> dict[str, Any]:
        """One invocation and its report (see bench.fakes.runtime_api). Raises FailedError unless it was intact."""
        asked = {"count": stream.count, "size": stream.size, "rate": stream.rate}
        report = self._ask({"do": "invoke", "event": event(stream), "stream": asked})
        if not report["intact"]:
            raise FailedError(report["problem"])
        return report

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._api.stdin is not None
        assert self._api.stdout is not None
        self._api.stdin.write(json.dumps(command) + "\n")
        self._api.stdin.flush()
        alarm = threading.Timer(PATIENCE_SECONDS, self._api.kill)
        alarm.start()
        line = self._api.stdout.readline()
        alarm.cancel()
        if not line:
            raise FailedError(f"said nothing for {PATIENCE_SECONDS} s; exit status {self._process.poll()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu(self) -> int:
        """Nanoseconds of processor time that all of its processes and threads have used."""
        return sum(int(Path(path).read_text().split()[0]) for path in self._files("schedstat"))

    def memory(self) -> int:
        """Bytes resident, shared pages counted in each process that has them."""
        kilobytes = 0
        for pid in self._processes():
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes += int(status.split("VmRSS:")[1].split()[0])
        return kilobytes * 1024

    def _files(self, name: str) -> Iterator[str]:
        for pid in self._processes():
            for thread in os.listdir(f"/proc/{pid}/task"):
                yield f"/proc/{pid}/task/{thread}/{name}"

    def _processes(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            for thread in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        return found


@contextlib.contextmanager
def environment(competitor: Competitor, around: Fakes) -> Iterator[Environment]:
    """Starts `competitor` in a fresh process of its own and ends it, and whatever it has started, afterwards."""
    with _fake("runtime_api", *around.runtime_api) as api, (BUILD / "competitors.log").open("ab") as log:
        variables = _variables(f"127.0.0.1:{_port(api)}", around) | competitor.environment
        spawned = time.monotonic_ns()
        process = subprocess.Popen(competitor.start, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            yield Environment(api, process, spawned)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _variables(runtime_api: str, around: Fakes) -> dict[str, str]:
    """What Lambda sets, what the relay's stack sets, and what the peers read."""
    trusted = str(BUILD / "certificate.pem")
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": around.aws,
        "OPENAI_BASE_URL": around.openai,
        "OPENAI_SECRET_ARN": "openai",
        "OPENAI_API_KEY": "sk-bench",
        "SSL_CERT_FILE": trusted,
        "NODE_EXTRA_CA_CERTS": trusted,
        "AWS_LWA_PORT": str(_free_port()),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def event(stream: Stream) -> dict[str, Any]:
    """A Function URL's event with AuthType AWS_IAM, payload format 2.0.

    Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html.
    """
    message = {"role": "user", "content": stream.prompt()}
    body = {"model": "gpt-4o-mini", "stream": True, "messages": [message]}
    host = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws"
    iam = {
        "accessKey": "ASIAEXAMPLE",
        "accountId": "123456789012",
        "callerId": "AROAEXAMPLEROLEID000:bench",
        "cognitoIdentity": None,
        "principalOrgId": "o-example",
        "userArn": "arn:aws:sts::123456789012:assumed-role/caller/bench",
        "userId": "AROAEXAMPLEROLEID000:bench",
    }
    http = {
        "method": "POST",
        "path": "/v1/chat/completions",
        "protocol": "HTTP/1.1",
        "sourceIp": "192.0.2.1",
        "userAgent": "OpenAI/Python 3.54.0",
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/v1/chat/completions",
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "content-type": "application/json",
            "host": host,
            "user-agent": "OpenAI/Python 3.54.0",
            "x-amz-date": "20261123T120000Z",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "x-stainless-lang": "python",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": host.split(".")[0],
            "authentication": None,
            "authorizer": {"iam": iam},
            "domainName": host,
            "domainPrefix": host.split(".")[0],
            "http": http,
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "routeKey": "$default",
            "stage": "$default",
            "time": "23/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795521600000,
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
