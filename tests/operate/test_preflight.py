"""What `make deploy` asks the account first: by a Lambda that answers over HTTP, and without credentials or network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cdk_app import environments
from operate.preflight.__main__ import Concurrency, problem
from tests.support.synthesis import ROOT

PROD = environments.find("prod")
STACK = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult><Stacks>
<member><StackName>s</StackName><StackStatus>CREATE_COMPLETE</StackStatus><CreationTime>2026-11-27T00:00:00Z</CreationTime>
<Outputs><member><OutputKey>FunctionName</OutputKey><OutputValue>relay</OutputValue></member></Outputs></member>
</Stacks></DescribeStacksResult></DescribeStacksResponse>"""
ABSENT = "<ErrorResponse><Error><Code>ValidationError</Code><Message>does not exist</Message></Error></ErrorResponse>"


class Aws:
    """Lambda and CloudFormation as far as they are asked. `limits` is the answer of GetAccountSettings, or an error."""

    def __init__(self) -> None:
        self.limits: dict[str, int] | tuple[int, str] = {}
        self.reserved: int | None = None
        self.asked: list[str] = []
        aws = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                aws.asked.append(self.path)
                if "account-settings" in self.path:
                    self.answer(*aws.settings())
                else:
                    self.answer(200, json.dumps({"ReservedConcurrentExecutions": aws.reserved}))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.answer(*((200, STACK) if aws.reserved is not None else (400, ABSENT)))

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                if status == 403:
                    self.send_header("x-amzn-ErrorType", text)
                    text = json.dumps({"Message": "no"})
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Nothing on the tests' output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def settings(self) -> tuple[int, str]:
        if isinstance(self.limits, tuple):
            return self.limits
        return 200, json.dumps({"AccountLimit": self.limits, "AccountUsage": {}})


@pytest.fixture
def aws() -> Iterator[Aws]:
    made = Aws()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def check(environment: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        **variables,
    }
    command = [sys.executable, "-m", "operate.preflight", "--env", environment]
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)


@pytest.fixture
def credentials(aws: Aws) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
    return {**keys, "AWS_ENDPOINT_URL": aws.url}


def test_a_new_account_is_told_what_to_change_in_one_line(
    aws: Aws, credentials: dict[str, str], tmp_path: Path
) -> None:
    aws.limits = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    done = check("prod", tmp_path, **credentials)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: prod: reserved_concurrency is 50, and this account can reserve 0 in eu-central-1 ")
    assert "its quota is 10, and 10 stay unreserved" in line
    assert "reserved_concurrency=None and give Waiver(rule='no-concurrency-cap'" in line
    assert "request-service-quota-increase --region eu-central-1 --service-code lambda --quota-code L-B99A9384" in line


def test_dev_deploys_on_a_new_account(aws: Aws, credentials: dict[str, str], tmp_path: Path) -> None:
    aws.limits = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    done = check("dev", tmp_path, **credentials)
    assert (done.returncode, done.stderr) == (0, "")
    assert aws.asked, "the account was asked"


def test_what_the_deployment_has_already_reserved_is_its_own(
    aws: Aws, credentials: dict[str, str], tmp_path: Path
) -> None:
    aws.limits = {"ConcurrentExecutions": 150, "UnreservedConcurrentExecutions": 100}
    assert check("prod", tmp_path, **credentials).returncode == 1
    aws.reserved = 50
    done = check("prod", tmp_path, **credentials)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_credentials_it_says_so_in_a_second(tmp_path: Path) -> None:
    began = time.monotonic()
    done = check("prod", tmp_path)
    took = time.monotonic() - began
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no AWS credentials: run `aws sso login`")
    assert took < 30, "a second on a machine of one's own; it waits for nothing"


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (
            (403, "AccessDeniedException"),
            0,
            "note: the account's quota was not checked: these credentials may not call",
        ),
        ((403, "ExpiredTokenException"), 1, "error: no: run `aws sso login`"),
        ((403, "UnrecognizedClientException"), 1, "error: no: check the profile"),
    ],
)
def test_what_cannot_be_asked_is_said(
    answer: tuple[int, str], code: int, text: str, aws: Aws, credentials: dict[str, str], tmp_path: Path
) -> None:
    aws.limits = answer
    done = check("prod", tmp_path, **credentials)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith(text)


def test_an_account_out_of_reach_stops_nothing(credentials: dict[str, str], tmp_path: Path) -> None:
    done = check("prod", tmp_path, **{**credentials, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"})
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("note: the account's quota was not checked: ")


def test_an_unknown_environment_is_one_line(tmp_path: Path) -> None:
    done = check("foo", tmp_path)
    assert (done.returncode, done.stderr) == (1, 'error: unknown environment "foo"; known: dev, staging, prod\n')


@pytest.mark.parametrize(
    ("quota", "unreserved", "ours", "most"),
    [(10, 10, 0, 0), (100, 100, 0, 0), (101, 101, 0, 1), (1000, 1000, 0, 900), (1000, 130, 0, 30), (1000, 130, 50, 80)],
)
def test_what_can_be_reserved(quota: int, unreserved: int, ours: int, most: int) -> None:
    found = Concurrency(quota=quota, unreserved=unreserved, ours=ours)
    assert found.reservable == most
    values: dict[str, Any] = {"name": "x", "log_retention_days": 7}
    for wanted, fits in ((None, True), (0, True), (most, True), (most + 1, False)):
        environment = environments.Environment(**values, reserved_concurrency=wanted)
        line = problem(environment, found, "eu-west-1")
        assert (line == "") == fits
        assert fits or ("at most" in line) == (most > 0)
