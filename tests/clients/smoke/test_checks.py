"""The walk through a deployment that keeps its promises, and through doors that spoil one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import boto3
import httpx
import pytest

from clients.report import Result
from clients.signing import signer
from clients.smoke.checks import CHECKS, Walk, check
from clients.smoke.endpoint import Endpoint
from emulator.local_lambda import LocalLambda
from tests.clients.smoke.conftest import TIMEOUT_SECONDS, broken, kept, nowhere, results
from tests.support.doubles.bad_door import BadDoor, Fault
from tests.support.signed_door import Door

Walks = Callable[..., Walk]
REFUSES_UNSIGNED = "an unsigned request is refused with 403"
ONE_BY_ONE = "events arrive one by one"
NOT_LATE = "a chunk does not wait for the one behind it"
SILENCE = "1.44 s of silence are survived"
HEARTBEATS = "a silent stream carries a heartbeat at least each 1.25 s"
HONEST = "a stream that fails midway ends with an error event"


def test_a_deployment_that_keeps_its_promises(walk: Walks) -> None:
    seen = results(walk())
    assert [promise for promise, result in seen.items() if result is Result.BROKEN] == []
    assert {REFUSES_UNSIGNED, ONE_BY_ONE, NOT_LATE, SILENCE, HEARTBEATS, HONEST} <= kept(walk())
    assert "past the edge, a signed request is refused with edge_required" in seen


@pytest.mark.parametrize(
    ("fault", "names", "promises"),
    [
        (Fault.NONE, ("locks", "stream", "silence"), set()),
        (Fault.BUFFER, ("stream",), {ONE_BY_ONE}),
        (Fault.LATE, ("stream", "silence"), {NOT_LATE}),
        (Fault.OPEN, ("locks",), {REFUSES_UNSIGNED}),
        (Fault.LIE, ("stream", "deadline"), {"the stream is complete", HONEST}),
        (Fault.IMPATIENT, ("silence",), {SILENCE}),
        (Fault.NO_COMMENTS, ("silence",), {HEARTBEATS}),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_door_that_spoils_something_is_noticed(
    site: LocalLambda, walk: Walks, fault: Fault, names: tuple[str, ...], promises: set[str]
) -> None:
    with BadDoor(site, fault) as door:
        assert broken(walk(door.url), *names) == promises


def test_a_function_url_that_is_open_past_its_edge_is_noticed(site: LocalLambda, walk: Walks) -> None:
    with (
        BadDoor(site, Fault.NONE) as door,
        _signing_anew(site) as http,
    ):  # it goes through the edge, where the Function URL should have been
        past = walk()
        at = dataclasses.replace(past.at, signer=dataclasses.replace(past.at.signer, host=door.url[len("http://") :]))
        resigned = dataclasses.replace(at, http=http)
        assert broken(dataclasses.replace(past, at=resigned), "direct") == {
            "past the edge, a signed request is refused with edge_required"
        }
        optional = dataclasses.replace(past, at=resigned, edge_mode="optional")
        assert kept(optional, "direct") == {"past an optional edge, a signed request is served"}


def _signing_anew(site: LocalLambda) -> httpx.Client:
    """Signs for the site whatever the request was signed for."""

    def sign(request: httpx.Request) -> None:
        for name, text in site.sign(request.method, request.url.raw_path.decode()).items():
            request.headers[name] = text
        request.headers.pop("x-amz-content-sha256", None)

    return httpx.Client(event_hooks={"request": [sign]}, trust_env=False)


def test_what_the_function_url_itself_cannot_show_is_skipped_aloud(site: LocalLambda, walk: Walks) -> None:
    seen = results(walk(site.url), "direct", "edge", "permissions", "log")
    assert set(seen.values()) == {Result.SKIPPED}


def test_a_thought_that_is_too_short_is_no_proof_of_silence(walk: Walks) -> None:
    seen = results(walk(silence_seconds=60.0, heartbeat_seconds=30.0), "silence")
    assert seen["60 s of silence are survived"] is Result.SKIPPED
    assert seen["a silent stream carries a heartbeat at least each 30 s"] is Result.SKIPPED


def test_a_long_time_out_is_waited_for_only_when_asked(walk: Walks) -> None:
    assert results(walk(deadline_seconds=None), "deadline") == {HONEST: Result.SKIPPED}
    assert results(walk(deadline_seconds=TIMEOUT_SECONDS), "deadline")[HONEST] is Result.KEPT


@pytest.mark.parametrize("wrong", [{"region": "eu-west-9"}, {"host": "other.lambda-url.eu-central-1.on.aws"}])
def test_a_refusal_by_aws_ends_the_walk_and_says_why(walk: Walks, wrong: dict[str, str]) -> None:
    right = walk()
    at = dataclasses.replace(right.at, signer=dataclasses.replace(right.at.signer, **wrong))
    last = list(check(dataclasses.replace(right, at=at)))[-1]
    assert last.final
    assert last.result is Result.BROKEN
    assert last.promise.startswith("a request signed for ")


def test_the_function_urls_host_is_asked_for() -> None:
    def edge(request: httpx.Request) -> httpx.Response:
        text = "The request signature we calculated does not match the signature you provided."
        return httpx.Response(403, json={"message": text})

    with httpx.Client(transport=httpx.MockTransport(edge)) as http:
        url = "https://d1.cloudfront.net"
        at = Endpoint(url=url, model="m", http=http, signer=signer(url))
        last = list(check(Walk(at=at, session=boto3.Session(), deployment=nowhere)))[-1]
    assert "--sign-host" in last.cure
    assert last.final


def _empty(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(b"{}"))


def test_who_answers_everything_alike_keeps_no_promise_of_the_relay() -> None:
    with httpx.Client(transport=httpx.MockTransport(_empty)) as http:
        at = Endpoint(url="http://x", model="m", http=http, signer=signer("http://x"))
        seen = results(Walk(at=at, session=boto3.Session(), deployment=nowhere), "locks", "errors", "stream")
    assert set(seen.values()) == {Result.BROKEN}


def test_every_check_can_be_asked_for_alone(door: Door) -> None:
    """A door that knows no relay: whatever a check meets becomes a finding and no traceback."""
    door.go.release(1000)
    with httpx.Client(trust_env=False) as http:
        at = Endpoint(url=door.url, model="m", http=http, signer=signer(door.url))
        walk = Walk(at=at, session=boto3.Session(), deployment=nowhere, deadline_seconds=1)
        for name in CHECKS:
            assert results(walk, name)
