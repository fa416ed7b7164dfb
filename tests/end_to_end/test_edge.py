"""The relay behind its edge: the real bundle, a secret with two versions, and a door that does what CloudFront does."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.fakes.aws import AwsStandIn
from emulator.fakes.raw_upstream import RawUpstream, chat_events, chat_stream
from emulator.front.cloudfront import Edge
from emulator.local_lambda import LocalLambda
from emulator.runtime.function import Function

HEADER = "x-relay-origin-secret"
PATH = "/v1/chat/completions"
BODY = json.dumps({"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
JSON = {"content-type": "application/json"}


class Rotating:
    """The origin secret in the AWS stand-in, and what the distribution has learnt of it so far."""

    def __init__(self, aws: AwsStandIn) -> None:
        self._aws = aws
        self.learnt = secrets.token_hex(32)
        self.arn = aws.put_secret(self.learnt)

    def rotate(self) -> str:
        value = secrets.token_hex(32)
        self._aws.call(
            "secretsmanager", "PutSecretValue", SecretId=self.arn, SecretString=value, ClientRequestToken=value[:32]
        )
        return value

    def sent(self) -> str:
        return self.learnt


@dataclass(frozen=True, slots=True)
class Deployment:
    relay: LocalLambda
    secret: Rotating
    upstream: RawUpstream

    def call(self, url: str, **headers: str) -> httpx.Response:
        signed = self.relay.sign("POST", PATH, body=BODY, headers=JSON)
        sent = {**signed, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return httpx.post(url + PATH, content=BODY, headers=sent, timeout=30)


def record(deployed: Deployment) -> Any:
    """What the relay wrote down of the first request that went well."""
    return json.loads(deployed.relay.logs.wait_for(lambda line: '"outcome":"ok"' in line.text).text)


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsStandIn]:
    with AwsStandIn() as running:
        yield running


@pytest.fixture
def required(aws: AwsStandIn, bundle: Path, lambda_python: Path) -> Iterator[Deployment]:
    yield from deployment(aws, bundle, lambda_python, mode="required")


@pytest.fixture
def optional(aws: AwsStandIn, bundle: Path, lambda_python: Path) -> Iterator[Deployment]:
    yield from deployment(aws, bundle, lambda_python, mode="optional")


def deployment(aws: AwsStandIn, bundle: Path, python: Path, *, mode: str) -> Iterator[Deployment]:
    secret = Rotating(aws)
    with RawUpstream() as upstream:
        upstream.answer(*chat_stream("one ", "two"))
        environment = {
            **aws.environment(),
            "OPENAI_BASE_URL": upstream.url,
            "OPENAI_SECRET_ARN": aws.put_secret("sk-" + "x" * 40),
            "EDGE": mode,
            "EDGE_SECRET_ARN": secret.arn,
        }
        function = Function.of_bundle(bundle, python=python, environment=environment, timeout=20)
        edge = Edge(header=HEADER, secret=secret.sent, read_timeout=10)
        with LocalLambda(function, edge=edge) as relay:
            yield Deployment(relay, secret, upstream)


def test_past_the_edge_a_signed_request_is_refused_and_costs_nothing_upstream(required: Deployment) -> None:
    answer = required.call(required.relay.url)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "edge_required"
    assert answer.headers["x-should-retry"] == "false"
    assert required.upstream.requests == []


def test_a_guessed_secret_is_refused_and_costs_nothing_upstream(required: Deployment) -> None:
    assert required.call(required.relay.url, x_relay_origin_secret="g" * 64).status_code == 403
    assert required.upstream.requests == []


def test_through_the_edge_a_request_signed_for_the_function_url_streams_as_its_signer(required: Deployment) -> None:
    answer = required.call(required.relay.edge_url)
    assert answer.status_code == 200
    assert answer.content == b"".join(chat_events("one ", "two"))
    assert record(required)["way"] == "edge"


def test_two_signers_stay_two_callers_behind_one_edge(required: Deployment) -> None:
    seen = set()
    for signer in required.relay.identities:
        headers = required.relay.sign("POST", PATH, body=BODY, headers=JSON, identity=signer)
        assert httpx.post(required.relay.edge_url + PATH, content=BODY, headers=headers).status_code == 200
        seen.add(json.loads(required.upstream.requests[-1].body)["safety_identifier"])
    assert len(seen) == 2


def test_an_unsigned_request_is_no_better_off_behind_the_edge(required: Deployment) -> None:
    assert httpx.post(required.relay.edge_url + PATH, content=BODY, headers=JSON).status_code == 403
    assert required.upstream.requests == []


def test_the_edge_replaces_a_secret_that_the_caller_sends(required: Deployment) -> None:
    assert required.call(required.relay.edge_url, x_relay_origin_secret="wrong").status_code == 200


def test_the_secret_goes_no_further_than_the_relay(required: Deployment) -> None:
    answer = required.call(required.relay.edge_url)
    sent = required.upstream.requests[0]
    assert required.secret.learnt not in f"{sent.headers}{sent.body!r}{answer.headers}{required.relay.logs.text()}"


def test_during_a_rotation_both_secrets_work_and_afterwards_one(required: Deployment) -> None:
    assert required.call(required.relay.edge_url).status_code == 200
    old, new = required.secret.learnt, required.secret.rotate()
    assert required.call(required.relay.edge_url).status_code == 200  # CloudFront has not learnt it yet
    required.secret.learnt = new
    assert required.call(required.relay.edge_url).status_code == 200
    assert required.call(required.relay.url, x_relay_origin_secret=old).status_code == 200


def test_an_optional_edge_takes_both_ways_and_tells_them_apart(optional: Deployment) -> None:
    assert optional.call(optional.relay.url).status_code == 200
    assert optional.call(optional.relay.edge_url).status_code == 200
    assert optional.call(optional.relay.url, x_relay_origin_secret="g" * 64).status_code == 403
    optional.relay.logs.wait_for(lambda line: '"way":"edge"' in line.text)
    assert '"way":"direct"' in optional.relay.logs.text()


def test_the_edge_holds_nothing_back(required: Deployment) -> None:
    gap = 0.3
    required.upstream.answer(*chat_stream("a", "b", "c", pause=gap))
    signed = required.relay.sign("POST", PATH, body=BODY, headers=JSON)
    times = []
    with httpx.stream("POST", required.relay.edge_url + PATH, content=BODY, headers=signed, timeout=30) as answer:
        for _ in answer.iter_raw():
            times.append(time.monotonic())
    assert times[-1] - times[0] > 2 * gap


HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "eA==",
    "sec-websocket-version": "13",
}


@pytest.mark.parametrize("door", ["url", "edge_url"])
@pytest.mark.parametrize("taken_off", [(), ("connection", "upgrade"), tuple(HANDSHAKE)], ids=["all", "key", "path"])
def test_a_websocket_is_answered_426_at_every_door(optional: Deployment, door: str, taken_off: tuple[str, ...]) -> None:
    headers = {name: text for name, text in HANDSHAKE.items() if name not in taken_off}
    signed = optional.relay.sign("GET", "/v1/responses", headers=headers)
    answer = httpx.get(getattr(optional.relay, door) + "/v1/responses", headers={**headers, **signed}, timeout=30)
    assert answer.status_code == 426
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "websockets_not_supported"
    assert optional.upstream.requests == []
    # At the edge whatever can be known there: nothing is invoked for it.
    known_at_the_edge = door == "edge_url" and "sec-websocket-key" in headers
    assert optional.relay.counters().get("invoked", 0) == (0 if known_at_the_edge else 1)
