"""What the walk says of a web ACL: one that does what is promised, and one for each way in which it might not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import unquote

import boto3
import httpx
import pytest
from botocore.credentials import Credentials

from clients.signing import Signer
from clients.smoke.checks import Walk
from clients.smoke.edge import ATTACKS, PROMPT
from clients.smoke.endpoint import Endpoint
from tests.clients.smoke.conftest import broken, kept, nowhere

EDGE, HOST = "https://d111111abcdef8.cloudfront.net", "abcdefghijklmnop.lambda-url.eu-central-1.on.aws"
LOOKS_BAD = re.compile(r"<script|\.\./\.\./|169\.254\.169\.254|http://\d|\.log\b|WEB-INF|\$\{jndi:|nessus")
Refusal = tuple[int, str] | None


def acl(request: httpx.Request) -> Refusal:
    """What docs/edge.md promises."""
    told = f"{unquote(str(request.url))} {' '.join(request.headers.values())}"
    if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256"):
        return 403, "unsigned_request"
    if int(request.headers.get("content-length", 0)) >= 10_000_000:
        return 413, "request_too_large"
    return (403, "request_refused") if LOOKS_BAD.search(told.replace(EDGE, "")) else None


def blind_without_agent(request: httpx.Request) -> Refusal:
    refusal = acl(request)
    return refusal if "user-agent" in request.headers or refusal is None or refusal[1] != "request_refused" else None


def reads_prompts(request: httpx.Request) -> Refusal:
    return (403, "request_refused") if LOOKS_BAD.search(request.read()[:8192].decode()) else acl(request)


def bodies_over_8_kb(request: httpx.Request) -> Refusal:
    return (403, "request_refused") if 8192 < len(request.read()) < 100_000 else acl(request)


def none_at_all(request: httpx.Request) -> Refusal:
    return None


def walk(judge: Callable[[httpx.Request], Refusal], http_kept: list[httpx.Client]) -> Walk:
    def door(request: httpx.Request) -> httpx.Response:
        refusal = judge(request)
        status, code = refusal or (200, "")
        error = {"message": "no", "type": "invalid_request_error", "param": None, "code": code}
        return httpx.Response(status, json={"error": error} if refusal else {"object": "list", "data": []})

    http = httpx.Client(transport=httpx.MockTransport(door))
    http_kept.append(http)
    signer = Signer(credentials=Credentials("AKIAEXAMPLE", "secret"), region="eu-central-1", host=HOST)
    at = Endpoint(url=EDGE, model="m", http=http, signer=signer)
    return Walk(at=at, session=boto3.Session(), deployment=nowhere)


@pytest.mark.parametrize(
    ("judge", "promises"),
    [
        (acl, set()),
        (blind_without_agent, {"WAF refuses 7 attacks without a User-Agent"}),
        (reads_prompts, {"a prompt that looks like every attack is let through",
                         "such a prompt of 20 KB, without a User-Agent, is let through"}),
        (bodies_over_8_kb, {"such a prompt of 20 KB, without a User-Agent, is let through"}),
        (none_at_all, {"WAF refuses what is not signed, in OpenAI's shape", "WAF refuses 7 attacks",
                       "WAF refuses 7 attacks without a User-Agent", "WAF refuses a known bad bot",
                       "WAF refuses a body of 10 MB with 413"}),
    ],
)  # fmt: skip
def test_what_a_web_acl_does_is_seen(judge: Callable[[httpx.Request], Refusal], promises: set[str]) -> None:
    clients: list[httpx.Client] = []
    assert broken(walk(judge, clients), "edge") == promises
    assert len(kept(walk(judge, clients), "edge")) == 7 - len(promises)
    for client in clients:
        client.close()


def test_the_prompt_holds_what_the_attacks_hold() -> None:
    assert len(ATTACKS) == 7
    assert json.loads(json.dumps(PROMPT)).count("http://169.254.169.254/") == 1
    assert len(LOOKS_BAD.findall(PROMPT)) >= 4
