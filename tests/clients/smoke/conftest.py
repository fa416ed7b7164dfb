"""A deployment on this machine for each of these tests: the real bundle, an OpenAI that pauses, doors in front."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.credentials import Credentials

from clients.deployed.account import UnavailableError
from clients.deployed.deployment import Deployment
from clients.report import Result
from clients.signing import Signer
from clients.smoke.checks import CHECKS, Walk, check
from clients.smoke.endpoint import Endpoint
from emulator.fakes.aws import AwsStandIn
from emulator.fakes.raw_upstream import (
    LAST_CHUNK,
    RawUpstream,
    Recorded,
    Send,
    Sleep,
    Step,
    chat_chunk,
    chat_stream,
    chunk,
    head,
    json_answer,
    sse,
)
from emulator.front.cloudfront import Edge
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function

HEARTBEAT_SECONDS = 0.5
PAUSE_SECONDS = 1.8
TIMEOUT_SECONDS = 3.0
SECRET = "s" * 64


def script(request: Recorded) -> list[Step]:
    """What OpenAI would do, quickly: a long thought, an endless count, a short stream, or JSON."""
    if request.target.endswith("/models"):
        return json_answer(200, {"object": "list", "data": [{"id": "gpt-6-luna", "object": "model"}]})
    body: dict[str, Any] = json.loads(request.body)
    if request.target.endswith("/responses"):
        return thought()
    if not body.get("stream"):
        return json_answer(200, {"id": "c", "object": "chat.completion", "choices": [], "usage": None})
    if "thousand" in body["messages"][0]["content"]:
        endless: list[Step] = [Send(head())]
        for _ in range(100):
            endless += [Send(chunk(chat_chunk({"content": "x"}))), Sleep(0.1)]
        return endless
    return chat_stream(*["one", "two", "three", "four", "five", "six", "seven"], pause=0.03)


def thought() -> list[Step]:
    first: list[dict[str, Any]] = [
        {"type": kind, "response": {"id": "r"}} for kind in ("response.created", "response.in_progress")
    ]
    last: dict[str, Any] = {"type": "response.completed", "response": {"id": "r", "status": "completed", "usage": None}}
    events = [f"event: {one['type']}\n".encode() + sse(one) for one in (*first, last)]
    begin: list[Step] = [Send(head()), Send(chunk(events[0])), Sleep(0.02), Send(chunk(events[1]))]
    return [*begin, Sleep(PAUSE_SECONDS), Send(chunk(events[2])), Send(LAST_CHUNK)]


@pytest.fixture(scope="module")
def site(bundle: Path, lambda_python: Path) -> Iterator[LocalLambda]:
    """The relay behind a required edge."""
    with AwsStandIn() as aws, RawUpstream() as upstream:
        upstream.answer_with(script)
        environment = {
            **aws.environment(),
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_SECRET_ARN": aws.put_secret("sk-" + "x" * 40),
            "HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "EDGE": "required",
            "EDGE_SECRET_ARN": aws.put_secret(SECRET),
        }
        function = Function.of_bundle(bundle, python=lambda_python, environment=environment, timeout=TIMEOUT_SECONDS)
        edge = Edge(header="x-relay-origin-secret", secret=lambda: SECRET, read_timeout=10)
        with LocalLambda(function, edge=edge) as relay:
            yield relay


def signer(relay: LocalLambda) -> Signer:
    who = relay.identities[0]
    credentials = Credentials(who.access_key, who.secret_key, who.session_token or None)
    return Signer(credentials=credentials, region=relay.region, host=relay.url.removeprefix("http://"))


def nowhere() -> Deployment:
    raise UnavailableError("no account in this test")


@pytest.fixture
def walk(site: LocalLambda) -> Iterator[Callable[..., Walk]]:
    """Makes a walk of the site through its edge, or through the door at `url`."""
    with httpx.Client(timeout=30, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)) as http:

        def make(url: str = "", **given: Any) -> Walk:
            at = Endpoint(url=url or site.edge_url, model="gpt-6-luna", http=http, signer=signer(site))
            defaults: dict[str, Any] = {
                "deployment": nowhere,
                "session": boto3.Session(region_name=site.region),
                "silence_seconds": 0.8 * PAUSE_SECONDS,
                "heartbeat_seconds": 2.5 * HEARTBEAT_SECONDS,
                "deadline_seconds": TIMEOUT_SECONDS,
            }
            return Walk(at=at, **{**defaults, **given})

        yield make


def results(walk: Walk, *names: str) -> dict[str, Result]:
    """Each promise and what became of it."""
    return {finding.promise: finding.result for finding in check(walk, names or tuple(CHECKS))}


def broken(walk: Walk, *names: str) -> set[str]:
    return {promise for promise, result in results(walk, *names).items() if result is Result.BROKEN}


def kept(walk: Walk, *names: str) -> set[str]:
    return {promise for promise, result in results(walk, *names).items() if result is Result.KEPT}
