"""The check of a deployment against doors that keep their promises and doors that do not."""

from __future__ import annotations

import threading

import httpx
import pytest

from clients import smoke
from clients.signing import signer
from tests.support.signed_door import Door


def findings(door: Door) -> dict[str, bool]:
    with httpx.Client() as http:
        at = smoke.Endpoint(url=door.url, model="m", http=http, signer=signer(door.url))
        return {finding.promise: finding.kept for finding in smoke.check(at)}


def test_smoke_sees_what_is_promised(door: Door) -> None:
    pacing = threading.Thread(target=_pace, args=(door,))
    pacing.start()
    seen = findings(door)
    pacing.join()
    assert [promise for promise, kept in seen.items() if not kept] == []


def _pace(door: Door) -> None:
    """Lets the four events out 50 ms apart: what the check sees is then separate on a busy machine, too."""
    assert door.streaming.wait(10)
    pause = threading.Event()
    for _ in range(4):
        pause.wait(0.05)
        door.go.release()


def test_smoke_sees_a_buffered_stream() -> None:
    together = [smoke.Arrival(at=1.0, events=20), smoke.Arrival(at=1.0001, events=10)]
    assert not smoke.cadence(together, 0.1).kept
    apart = [smoke.Arrival(at=0.02 * number, events=1) for number in range(30)]
    assert smoke.cadence(apart, 0.1).kept
    assert not smoke.cadence([], 0.1).kept


def test_smoke_sees_an_unlocked_door() -> None:
    def open_door(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    with httpx.Client(transport=httpx.MockTransport(open_door)) as http:
        at = smoke.Endpoint(url="http://x", model="m", http=http, signer=signer("http://x"))
        assert not any(finding.kept for finding in smoke.check(at))


def test_smoke_says_at_the_end_that_all_is_well(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    pacing = threading.Thread(target=_pace, args=(door,))
    pacing.start()
    status = smoke.main([door.url])
    pacing.join()
    assert capsys.readouterr().out.splitlines()[-1] == f"all 7 promises are kept by {door.url}"
    assert status == 0


@pytest.mark.parametrize("wrong", [["--region", "eu-west-9"], ["--sign-host", "other.lambda-url.eu-central-1.on.aws"]])
def test_smoke_ends_at_a_refusal_by_aws_and_says_why(
    door: Door, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    assert smoke.main([door.url, *wrong]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 of 3 promises are broken"
    assert lines[-4].startswith("FAIL  a request signed for ")
    assert "Forbidden: " in lines[-3]
    assert "lambda:InvokeFunctionUrl" in lines[-2]


def test_smoke_asks_for_the_function_urls_host() -> None:
    def edge(request: httpx.Request) -> httpx.Response:
        text = "The request signature we calculated does not match the signature you provided."
        return httpx.Response(403, json={"message": text})

    with httpx.Client(transport=httpx.MockTransport(edge)) as http:
        url = "https://d1.cloudfront.net"
        at = smoke.Endpoint(url=url, model="m", http=http, signer=signer(url))
        last = list(smoke.check(at))[-1]
    assert "--sign-host" in last.cure
    assert last.final


@pytest.mark.parametrize("arguments", [["foo"], [""], ["https://h", "--profile", "gone"]])
def test_smoke_that_cannot_begin_says_so_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("smoke: ")


def test_smoke_says_what_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert smoke.main(["http://127.0.0.1:1"]) == 1
    assert "Check http://127.0.0.1:1, the network, HTTPS_PROXY and NO_PROXY." in capsys.readouterr().out
