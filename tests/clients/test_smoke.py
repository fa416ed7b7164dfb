"""The check of a deployment against doors that keep their promises and doors that do not."""

from __future__ import annotations

import threading

import httpx

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
