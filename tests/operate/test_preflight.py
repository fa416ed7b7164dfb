"""What `make deploy` asks the account first: by a Lambda that answers over HTTP, and without credentials or network."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdk_app import environments
from cdk_app.options.api_options import ApiOptions
from operate.preflight.__main__ import Concurrency, problem
from tests.support.doubles.aws_account import Aws
from tests.support.synthesis import ROOT


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
    aws.stacks, aws.reserved = {"openai-lambda-relay-prod": "CREATE_COMPLETE"}, 50
    done = check("prod", tmp_path, **credentials)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_built_no_more_is_said_before_a_deployment(
    aws: Aws, credentials: dict[str, str], tmp_path: Path
) -> None:
    aws.limits = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}
    aws.stacks = {"openai-lambda-relay-dev-edge": "UPDATE_COMPLETE"}
    done = check("dev", tmp_path, **credentials)
    assert done.returncode == 0
    assert done.stderr == (
        "note: openai-lambda-relay-dev-edge in us-east-1 is deployed, and dev builds it no more: "
        "make leftovers ENV=dev removes it\n"
    )


def leftovers(
    home: Path, credentials: dict[str, str], *arguments: str, answer: str = ""
) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], "HOME": str(home), **credentials}
    command = [sys.executable, "-m", "operate.preflight.leftovers", *arguments]
    return subprocess.run(command, cwd=ROOT, env=given, input=answer, capture_output=True, text=True, check=False)


BOTH = {"openai-lambda-relay-dev-edge": "CREATE_COMPLETE", "openai-lambda-relay-dev-monitoring": "CREATE_COMPLETE"}


@pytest.mark.parametrize(
    ("arguments", "answer", "code", "gone"),
    [
        (("--remove", "--yes"), "", 0, True),
        (("--remove",), "y\n", 0, True),
        (("--remove",), "n\n", 1, False),
        (("--remove",), "", 1, False),
        ((), "", 0, False),
    ],
)
def test_leftovers_are_removed_when_somebody_agrees(
    arguments: tuple[str, ...],
    answer: str,
    code: int,
    gone: bool,
    aws: Aws,
    credentials: dict[str, str],
    tmp_path: Path,
) -> None:
    aws.stacks = {**BOTH, "openai-lambda-relay-dev": "CREATE_COMPLETE", "somebody-elses": "CREATE_COMPLETE"}
    done = leftovers(tmp_path, credentials, *arguments, "--env", "dev", answer=answer)
    assert (done.returncode, done.stderr) == (code, "")
    left = {"openai-lambda-relay-dev", "somebody-elses"}
    assert aws.stacks.keys() == (left if gone else left | BOTH.keys())
    assert "openai-lambda-relay-dev-edge in us-east-1: deployed, and not part of dev any more" in done.stdout


def test_what_an_environment_builds_is_no_leftover(aws: Aws, credentials: dict[str, str], tmp_path: Path) -> None:
    aws.stacks = {"openai-lambda-relay-prod-edge": "CREATE_COMPLETE", "openai-lambda-relay-prod-monitoring": "X"}
    done = leftovers(tmp_path, credentials, "--remove", "--yes", "--env", "prod")
    assert (done.returncode, done.stdout, len(aws.stacks)) == (0, "", 2)


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


@pytest.mark.parametrize(
    ("free", "says"), [(112, "reserved_concurrency is 10, with the API's authorizer 15"), (115, "")]
)
def test_what_the_authorizer_of_keys_reserves_is_counted(free: int, says: str) -> None:
    environment = replace(
        environments.find("staging"), reserved_concurrency=10, api=ApiOptions(authorizer_concurrency=5)
    )
    found = Concurrency(quota=1000, unreserved=free, ours=0)
    text = problem(environment, found, "eu-central-1")
    assert says in text
    assert bool(text) == bool(says)
    assert problem(replace(environment, api=None), found, "eu-central-1") == ""
