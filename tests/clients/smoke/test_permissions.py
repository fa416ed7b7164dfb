"""One permission alone is not enough: what the walk says of a door that knows that, and of doors that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3
import httpx
import pytest
from aiohttp import web

from clients.signing import signer
from clients.smoke.checks import Walk
from clients.smoke.endpoint import Endpoint
from clients.smoke.locks import FUNCTION_ACTION, URL_ACTION
from emulator.net.listener import Listener
from emulator.processes.loop_thread import LoopThread
from tests.clients.smoke.conftest import broken, kept, nowhere

ROLE = "arn:aws:iam::123456789012:role/caller"
BOTH = f"{URL_ACTION} and {FUNCTION_ACTION}"


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An STS whose session tokens say what they allow: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html."""

    async def assume(request: web.BaseRequest) -> web.StreamResponse:
        asked = parse_qs((await request.read()).decode())
        assert asked["RoleArn"] == [ROLE]
        (statement,) = json.loads(asked["Policy"][0])["Statement"]
        token = escape("+".join(statement["Action"]))
        credentials = (
            f"<AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>2035-01-01T00:00:00Z</Expiration>"
        )
        result = f"<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>"
        space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
        return web.Response(text=f"<AssumeRoleResponse {space}>{result}</AssumeRoleResponse>", content_type="text/xml")

    loop, listener = LoopThread(), Listener(assume)
    loop.run(listener.start(0))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{listener.port}")
    yield
    loop.run(listener.close())
    loop.close()


def door(enough: set[str]) -> httpx.MockTransport:
    """A Function URL for which each of `enough`, alone, lets a caller in; both together always do."""

    def answer(request: httpx.Request) -> httpx.Response:
        allowed = set(request.headers["x-amz-security-token"].split("+"))
        if len(allowed) == 2 or allowed & enough:
            return httpx.Response(200, json={"object": "list", "data": []})
        return httpx.Response(403, json={"Message": "Forbidden"})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("enough", "promises"),
    [
        (set(), set()),
        ({URL_ACTION}, {f"with {URL_ACTION} alone a caller is refused"}),
        ({FUNCTION_ACTION}, {f"with {FUNCTION_ACTION} alone a caller is refused"}),
    ],
)
def test_a_door_that_one_permission_opens_is_noticed(sts: None, enough: set[str], promises: set[str]) -> None:
    url = "https://abcdefghijklmnop.lambda-url.eu-central-1.on.aws"
    with httpx.Client(transport=door(enough)) as http:
        at = Endpoint(url=url, model="m", http=http, signer=signer(url))
        walk = Walk(at=at, session=boto3.Session(), deployment=nowhere, role=ROLE)
        assert broken(walk, "permissions") == promises
        assert f"with {BOTH} a caller is let in" in kept(walk, "permissions")


def test_a_role_that_may_not_be_assumed_is_told() -> None:
    """Nobody listens there: whatever goes wrong on the way is a finding."""
    url = "https://abcdefghijklmnop.lambda-url.eu-central-1.on.aws"
    with pytest.MonkeyPatch.context() as patch, httpx.Client(transport=door(set())) as http:
        patch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        at = Endpoint(url=url, model="m", http=http, signer=signer(url))
        walk = Walk(at=at, session=boto3.Session(), deployment=nowhere, role=ROLE)
        assert broken(walk, "permissions") == set()
        assert kept(walk, "permissions") == set()
