"""Answers that are neither event streams nor JSON: only the transport can say that they broke off."""

from __future__ import annotations

import pytest

from emulator.fakes.raw_upstream import LAST_CHUNK, Close, Reset, Send, Sleep, Stall, Step, chunk, head
from tests.support.harness import canaries
from tests.support.harness.exchange import Exchange
from tests.support.harness.faults_table import fault
from tests.support.harness.relay_fixture import RelayFixture, event

AUDIO: tuple[Step, ...] = (
    Send(head(200, [("content-type", "audio/mpeg"), ("transfer-encoding", "chunked")])),
    Send(chunk(b"one")),
)
SPEECH = {"model": "gpt-4o-mini-tts", "input": canaries.PROMPT, "voice": "alloy"}


def serve(relay_fixture: RelayFixture, deadline: float = 10.0) -> Exchange:
    exchange = relay_fixture.api.invoke(event(SPEECH, path="/v1/audio/speech"), deadline=deadline)
    exchange.wait_over()
    return exchange


@fault("speech", "for longer than a stream has after its end", "the whole response")
def test_speech_takes_its_time(relay_fixture: RelayFixture) -> None:
    relay_fixture.upstream.answer(*AUDIO, Sleep(1.3), Send(chunk(b"two")), Send(LAST_CHUNK))
    exchange = serve(relay_fixture)
    assert (exchange.status, exchange.body, exchange.trailer_type) == (200, b"onetwo", "")
    relay_fixture.assert_serves()


@pytest.mark.parametrize("end", [Close(), Reset(), Send(b"no size\r\n"), Stall()])
@fault("speech cut", "closed, reset, malformed or stalled", "what came, then error trailers, which break the transport")
def test_speech_cut(relay_fixture: RelayFixture, end: Step) -> None:
    relay_fixture.upstream.answer(*AUDIO, end, Stall())
    exchange = serve(relay_fixture, deadline=1.0)
    assert (exchange.status, exchange.body) == (200, b"one")
    assert exchange.trailer_type in ("Function.UpstreamBroken", "Function.Deadline")
    relay_fixture.assert_serves()
