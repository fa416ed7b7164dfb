"""What the walk says of an API: the real one on this machine, and one for each way in which it might not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from botocore.credentials import Credentials

from clients.report import Result
from clients.signing import Signer
from clients.smoke import bearers
from clients.smoke.endpoint import Endpoint
from tests.clients.smoke.conftest import script
from tests.support.api_door import ApiDoor, api_door
from tests.support.synthesis import API, Synthesised

KEY = "sk-relay-given"


@pytest.fixture(scope="module")
def door(templates: dict[str, Synthesised], bundle: Path) -> Iterator[ApiDoor]:
    with api_door(templates[API.name].directory, bundle) as running:
        running.upstream.answer_with(script)
        yield running


def endpoint(http: httpx.Client) -> Endpoint:
    signer = Signer(credentials=Credentials("AKIAEXAMPLE", "secret"), region="eu-central-1")
    return Endpoint(url="http://127.0.0.1:1", model="gpt-6-luna", http=http, signer=signer)


@pytest.mark.parametrize("way", ["key", "token"])
def test_a_right_api_keeps_every_promise(door: ApiDoor, way: str) -> None:
    base_url, bearer = (
        (f"{door.url}/v1", door.key("ci-smoke")) if way == "key" else (f"{door.url}/sso/v1", door.token("smoke"))
    )
    with httpx.Client(timeout=60) as http:
        findings = list(bearers.api(endpoint(http), base_url, bearer))
    assert {finding.result for finding in findings} == {Result.KEPT}, findings
    assert len(findings) == len(bearers.NOBODYS) + 3
    assert not any(bearer in repr(finding) for finding in findings)


def refusal(status: int, code: str, retry: str = "false") -> httpx.Response:
    error = {"message": "no", "type": "invalid_request_error", "param": None, "code": code}
    return httpx.Response(status, json={"error": error}, headers={"x-should-retry": retry})


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx.Response(200, json={"object": "list", "data": []}),
        lambda request: refusal(403, "invalid_api_key"),
        lambda request: refusal(401, "invalid_api_key", retry="true"),
        lambda request: httpx.Response(401, json={"message": "Unauthorized"}),
        lambda request: (
            refusal(401, "invalid_api_key")
            if "relay" not in request.headers.get("authorization", "")
            else httpx.Response(200)
        ),
    ],
    ids=["open", "another status", "says to try again", "AWS's shape", "every key"],
)
def test_an_api_that_does_otherwise_is_told(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        findings = list(bearers.api(endpoint(http), "https://api.example/relay/v1", ""))
    assert any(finding.result is Result.BROKEN and finding.cure for finding in findings)
    assert findings[-1].result is Result.SKIPPED


def test_without_an_address_nothing_is_checked() -> None:
    with httpx.Client() as http:
        (finding,) = bearers.api(endpoint(http), "", KEY)
    assert finding.result is Result.SKIPPED
