"""One fault of upstream as data, and how it is played: script, what of the body counts as sent, outcome, time limits."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from emulator.fakes.raw_upstream import LAST_CHUNK, Send, Step, WaitFor, chat_events, chunk, head
from tests.support.harness import canaries
from tests.support.harness.exchange import Exchange
from tests.support.harness.outcomes import Outcome
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import RelayFixture, chat_request


def _in_utf8(event: bytes) -> bytes:
    """OpenAI sends characters as such, not as \\u escapes."""
    if not event.startswith(b"data: {"):
        return event
    return b"data: " + json.dumps(json.loads(event[6:]), ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


EVENTS = [_in_utf8(event) for event in chat_events(canaries.COMPLETION, " \u00e9\u6f22\U0001f600 ", "the rest")]
WHOLE = b"".join(EVENTS)
GOOD: tuple[Step, ...] = (Send(head()), *(Send(chunk(event)) for event in EVENTS), Send(LAST_CHUNK))
JSON_ANSWER = json.dumps(
    {
        "id": "chatcmpl-raw",
        "object": "chat.completion",
        "created": 1795000000,
        "model": "gpt-5",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": canaries.COMPLETION},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
).encode()


@dataclass(frozen=True, slots=True)
class Delivered:
    """A step: waits until the caller has `size` bytes of body, so that what follows cannot overtake them."""

    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`begins_within`: seconds until the response's head; half a second is what reliability allows on top of the limit."""

    fault: str
    when: str
    steps: Sequence[Step | Delivered]
    outcome: Outcome
    sent: bytes = b""
    stream: bool = True
    deadline: float | None = 10.0
    begins_within: float = 0.0
    # Seconds after which the whole response is over.
    over_within: float = 0.5

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.fault}, {self.when}".replace(" ", "_")

    @property
    def row(self) -> tuple[str, str, str]:
        """For the table."""
        return self.fault, self.when, self.outcome.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place in a streamed answer: the steps that lead there, and the body that the caller has then."""

    name: str
    steps: Sequence[Step | Delivered] = ()
    sent: bytes = b""
    # Whether the place is between two HTTP chunks, where an answer can end cleanly or go on badly.
    between_chunks: bool = False


def point(name: str, *pieces: bytes, more: bytes = b"", more_sent: bytes = b"") -> Point:
    """The place after `pieces`, one HTTP chunk each, and after the bare bytes `more` that carry `more_sent`."""
    sent = b"".join(pieces) + more_sent
    steps: list[Step | Delivered] = [Send(head()), *(Send(chunk(piece)) for piece in pieces)]
    if more:
        steps.append(Send(more))
    if pieces:
        steps.append(Delivered(len(sent)))
    return Point(name=name, steps=steps, sent=sent, between_chunks=not more)


def assert_sound_prelude(exchange: Exchange) -> None:
    """The head is one that the service takes, and holds nothing that is not for the caller.

    Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html; RFC 9110, section 7.6.1 (hop-by-hop).
    """
    prelude = exchange.prelude
    assert len(json.dumps(prelude)) < 16_384
    assert set(prelude) <= {"statusCode", "headers", "cookies"}
    for name, text in prelude["headers"].items():
        assert name == name.lower()
        assert text.isascii(), name
        assert text.isprintable(), name
    unwanted = {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "set-cookie"}
    assert not unwanted & set(prelude["headers"])


def play(relay_fixture: RelayFixture, case: Case, node: EventSourceParser) -> Exchange:
    """Plays `case` and checks its outcome, its times, and that upstream's connection is gone or free afterwards."""
    seen = threading.Event()
    relay_fixture.upstream.answer(*(WaitFor(seen) if isinstance(step, Delivered) else step for step in case.steps))
    before = len(relay_fixture.upstream.requests)
    exchange = relay_fixture.invoke(chat_request(stream=case.stream), deadline=case.deadline)
    for step in case.steps:
        if isinstance(step, Delivered):
            exchange.wait_body(step.size)
    seen.set()
    exchange.wait_over()
    case.outcome.check(exchange, case.sent, node)
    assert_sound_prelude(exchange)
    assert exchange.begun_at - exchange.handed_out_at <= case.begins_within + 0.5 + relay_fixture.cpu_wait()
    assert exchange.over_at - exchange.handed_out_at <= case.over_within + 0.5 + relay_fixture.cpu_wait()
    requests = relay_fixture.upstream.wait_for_requests(before + 1)
    assert len(requests) == before + 1, "sent more than once"
    requests[-1].wait_over(60.0)
    assert requests[-1].over_at - exchange.over_at <= 1.0 + relay_fixture.cpu_wait()
    return exchange
