"""Secrets Manager fails, in every way reliability lists: 503 within 1.5 s, nothing sent upstream, recovery by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from emulator.fakes.raw_upstream import Recorded, Script, chat_stream, json_answer
from tests.support.harness import canaries
from tests.support.harness.faults_table import fault
from tests.support.harness.outcomes import Refused
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import RelayFixture
from tests.support.harness.secrets_manager import Behaviour, Raw, Refuse, Silence, Value

# reliability: a store outage answers 503 within this time.
OUTAGE_SECONDS = 1.5
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One way to fail."""

    name: str
    when: str
    behaviour: Behaviour

    @property
    def row(self) -> tuple[str, str, str]:
        return (
            self.name,
            self.when,
            "503 `key_unavailable` within 1.5 s, nothing sent upstream; works as soon as it is over",
        )


CASES = (
    Trouble(name="no response", when="the first read", behaviour=Silence()),
    Trouble(name="denied", when="the first read", behaviour=Refuse("AccessDeniedException")),
    Trouble(name="throttled", when="the first read", behaviour=Refuse("ThrottlingException")),
    Trouble(name="expired credentials", when="the first read", behaviour=Refuse("ExpiredTokenException")),
    Trouble(name="no such secret", when="the first read", behaviour=Refuse("ResourceNotFoundException")),
    Trouble(name="ill", when="the first read", behaviour=Refuse("InternalServiceError", 500)),
    Trouble(name="a key of another kind", when="the first read", behaviour=Value(f"{canaries.TOKEN} is no key")),
    Trouble(name="an empty secret", when="the first read", behaviour=Value("")),
    Trouble(name="a list that holds no key", when="the first read", behaviour=Value('{"keys": []}')),
    Trouble(name="JSON of another shape", when="the first read", behaviour=Value('{"key": "' + canaries.KEY + '"}')),
    Trouble(name="no JSON", when="the first read", behaviour=Raw((HEAD + b"4\r\n\r\n<ht>",))),
    Trouble(name="JSON that is no object", when="the first read", behaviour=Raw((HEAD + b"2\r\n\r\n[]",))),
    Trouble(name="no HTTP", when="the first read", behaviour=Raw((b"SSH-2.0-OpenSSH_9\r\n\r\n",))),
    Trouble(name="connection closed", when="before the response", behaviour=Raw(())),
    Trouble(name="connection closed", when="inside the response", behaviour=Raw((HEAD + b"200\r\n\r\n{",))),
    Trouble(name="a byte every 0.2 s", when="the head", behaviour=Raw(tuple(b"%c" % byte for byte in HEAD), 0.2)),
    Trouble(
        name="a byte every 0.2 s",
        when="the body",
        behaviour=Raw((HEAD + b"90\r\n\r\n", *(b" " for _ in range(90))), 0.2),
    ),
)


def test_first_read_fails(
    new_relay: Callable[..., AbstractContextManager[RelayFixture]], node: EventSourceParser
) -> None:
    """One process through all of them: the key is never had, so that every request asks again."""
    with new_relay() as relay_fixture:
        for trouble in CASES:
            relay_fixture.secrets.behaviour = trouble.behaviour
            exchange = relay_fixture.serve()
            Refused(503, "key_unavailable", "true").check(exchange, b"", node)
            assert exchange.over_at - exchange.handed_out_at <= OUTAGE_SECONDS + relay_fixture.cpu_wait(), trouble
            assert not relay_fixture.upstream.requests
        relay_fixture.secrets.behaviour = Value(canaries.KEY)
        relay_fixture.assert_serves()
        assert relay_fixture.relay.wait_footprint(lambda now: now.threads == 1).threads == 1


@fault("out of reach", "when a kept key is due for a new read", "the kept key is used on")
def test_outage_after_a_good_read(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.assert_serves()
        relay_fixture.secrets.behaviour = Refuse("InternalServiceError", 500)
        # OpenAI's 401 makes the next request read the secret.
        relay_fixture.upstream.answer(
            *json_answer(401, {"error": {"message": "no", "type": "x", "code": "invalid_api_key"}})
        )
        assert relay_fixture.serve().status == 502
        reads = relay_fixture.secrets.reads
        relay_fixture.assert_serves()
        assert relay_fixture.secrets.reads == reads + 1


def accepting(*keys: str) -> Callable[[Recorded], Script]:
    """An upstream that takes these keys and answers 401 to others."""

    def answer(request: Recorded) -> Script:
        if (request.header("authorization") or "").removeprefix("Bearer ") in keys:
            return chat_stream("good")
        error = {"message": f"Incorrect API key: {canaries.OLD_KEY}", "type": "x", "code": "invalid_api_key"}
        return json_answer(401, {"error": error})

    return answer


@fault("the key is rotated", "while the process runs", "one 502 `upstream_key_refused` at most, then the new key")
def test_rotation(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.secrets.behaviour = Value(canaries.OLD_KEY)
        relay_fixture.upstream.answer_with(accepting(canaries.OLD_KEY))
        assert relay_fixture.serve().status == 200
        relay_fixture.secrets.behaviour = Value(canaries.KEY)
        relay_fixture.upstream.answer_with(accepting(canaries.KEY))
        assert [relay_fixture.serve().status for _ in range(4)] == [502, 200, 200, 200]
        assert relay_fixture.secrets.reads == 2


@fault(
    "the key is rotated", "with both keys in the secret", "one 502 `upstream_key_refused` at most, then the other key"
)
def test_rotation_with_overlap(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.secrets.behaviour = Value(json.dumps({"keys": [canaries.OLD_KEY, canaries.KEY]}))
        relay_fixture.upstream.answer_with(accepting(canaries.KEY))
        assert [relay_fixture.serve().status for _ in range(3)] == [502, 200, 200]


@fault(
    "one of two keys does not work",
    "and OpenAI once refuses the other in passing",
    "two 502 `upstream_key_refused` at most, then the key that works",
)
def test_a_passing_refusal(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.secrets.behaviour = Value(json.dumps({"keys": [canaries.OLD_KEY, canaries.KEY]}))
        relay_fixture.upstream.answer_with(accepting(canaries.KEY))
        assert [relay_fixture.serve().status for _ in range(2)] == [502, 200]
        relay_fixture.upstream.answer_with(accepting())
        assert relay_fixture.serve().status == 502
        relay_fixture.upstream.answer_with(accepting(canaries.KEY))
        assert [relay_fixture.serve().status for _ in range(5)] == [502, 200, 200, 200, 200]


@fault("a wrong key", "for good", "502 `upstream_key_refused` each time, quickly, without a part of the key")
def test_wrong_key(new_relay: Callable[..., AbstractContextManager[RelayFixture]]) -> None:
    with new_relay() as relay_fixture:
        relay_fixture.upstream.answer_with(accepting())
        started = time.monotonic()
        for _ in range(5):
            exchange = relay_fixture.serve()
            assert exchange.status == 502
            assert not canaries.leaks(exchange.data)
        assert time.monotonic() - started < 5 + relay_fixture.cpu_wait()
