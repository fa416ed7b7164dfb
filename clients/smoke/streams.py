"""How streams come through: event by event, without delay, through silence, to an honest end."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence

from clients.report import Finding, judged, observed, skipped
from clients.smoke.endpoint import RESPONSES, Endpoint, Event, Stream, gaps, milliseconds

# Two reads closer together than this came in one piece somewhere on the way.
TOGETHER_SECONDS = 0.001
# A pause of this length tells whether what was written before it arrived before it.
PAUSE_SECONDS = 0.25
# Proxies take a stream for dead from here on: the most that heartbeats may be apart.
HEARTBEAT_SECONDS = 15.0
# A longer time-out is not waited for unless asked.
LONGEST_DEADLINE_SECONDS = 60.0
PUZZLE = (
    "Find the number of ways to tile an 8x8 board with 1x2 dominoes such that no two dominoes of the same direction "
    "share a long side. Work it out with great care, check it by a second method, and answer with the number alone."
)


def streaming(at: Endpoint, sentence: str = "") -> Iterator[Finding]:
    """A signed request is answered, completely, event by event. `sentence` goes with the question, to be looked for."""
    stream = at.stream(at.chat(f"Count from one to thirty in words, separated by commas. {sentence}", stream=True))
    kind = stream.headers.get("content-type", "")
    yield judged(
        "a signed request is answered with an event stream",
        stream.is_event_stream,
        f"{stream.status} {kind}" + ("" if stream.status == 200 else f" {stream.text[:400]!r}"),
        "Choose a model that this environment allows with --model." if stream.status in (400, 404) else "",
    )
    if stream.status == 200:
        whole = stream.text.rstrip().endswith(b"data: [DONE]") and not stream.broken
        yield judged(
            "the stream is complete",
            whole,
            f"ends in {stream.text[-40:]!r}, {stream.broken or 'and cleanly'}",
            "Look for the request's record in the log (outcome, cause), then for proxies on the way.",
        )
        yield cadence(stream.events(), stream.headers_at)


def cadence(events: Sequence[Event], headers_at: float) -> Finding:
    """Kept when the events came in at least half as many separate reads as there are events."""
    events = [event for event in events if not event.is_comment]
    pauses = [gap for gap in gaps(events) if gap > TOGETHER_SECONDS]
    reads = len(pauses) + 1
    first, last = (events[0].at, events[-1].at) if events else (0.0, 0.0)
    median, longest = statistics.median(pauses or [0]), max(pauses, default=0)
    seen = (
        f"{len(events)} events in {reads} separate reads; headers after {milliseconds(headers_at)}, "
        f"first event {milliseconds(first)}, last {milliseconds(last)}; "
        f"gap median {milliseconds(median)}, longest {milliseconds(longest)}"
    )
    return judged(
        "events arrive one by one",
        len(events) > 2 and reads >= len(events) / 2,
        seen,
        "Something between holds chunks back: a company proxy, compression, or InvokeMode BUFFERED of the Function URL.",
        events=len(events), separate_reads=reads, headers_ms=headers_at * 1000, first_event_ms=first * 1000,
        last_event_ms=last * 1000, gap_median_ms=median * 1000, gap_longest_ms=longest * 1000,
    )  # fmt: skip


def silence(at: Endpoint, model: str, seconds: float, heartbeat: float = HEARTBEAT_SECONDS) -> Iterator[Finding]:
    """A model that thinks says nothing for long: what arrives then, and when.

    `seconds` of silence have to be survived, with a comment at least each `heartbeat` seconds.
    """
    body = {"model": model, "input": PUZZLE, "stream": True, "reasoning": {"effort": "high"}}
    stream = at.stream(json.dumps(body).encode(), RESPONSES)
    if not stream.is_event_stream:
        cure = "Choose a model that reasons, and that this environment allows, with --thinking-model."
        yield skipped("long silence is survived", f"{stream.status} {stream.text[:200]!r}", cure)
        return
    events = stream.events()
    yield lateness(events, stream.headers_at)
    yield from _survived(stream, events, seconds)
    yield from _heartbeats(events, heartbeat)


def lateness(events: Sequence[Event], headers_at: float) -> Finding:
    """Whether a chunk waits for the one behind it, as Lambda's front end has been seen to do (2023-24).

    OpenAI sends `response.created` and `response.in_progress` at once, then thinks: where the second of them arrives
    only after the pause, it was kept until something pushed it. Sources: the threads 94 and 102 of
    github.com/aws/aws-lambda-nodejs-runtime-interface-client.
    """
    promise = "a chunk does not wait for the one behind it"
    early = [event for event in events if event.type in ("response.created", "response.in_progress")]
    if len(early) < 2:
        return skipped(promise, f"the stream begins with {[event.type for event in events[:3]]}")
    behind = [event for event in events if event.at > early[-1].at + TOGETHER_SECONDS]
    before, after = early[-1].at - headers_at, (behind[0].at - early[-1].at) if behind else 0.0
    seen = f"{early[-1].type} came {milliseconds(before)} after the headers, what followed {milliseconds(after)} later"
    if max(before, after) < PAUSE_SECONDS:
        return skipped(promise, f"{seen}: no pause that could tell")
    return judged(
        promise,
        before < PAUSE_SECONDS or before < after / 2,
        seen,
        "Each token is one late. It is Lambda's front end: report it with this file, and see docs/first-deployment.md.",
        before_ms=before * 1000,
        after_ms=after * 1000,
    )


def _survived(stream: Stream, events: Sequence[Event], seconds: float) -> Iterator[Finding]:
    promise = f"{seconds:g} s of silence are survived"
    said = [Event(at=stream.headers_at, type="headers"), *(event for event in events if not event.is_comment)]
    longest = max(gaps(said), default=0.0)
    until = stream.ended_at - said[-1].at
    ended = bool(said) and said[-1].type in ("response.completed", "response.incomplete") and not stream.broken
    seen = f"longest silence {longest:.1f} s, then {said[-1].type}; {stream.broken or 'clean end'}"
    if not ended:
        cure = "Something on the way took the silent stream for dead: a proxy, or CloudFront's read timeout."
        yield judged(promise, False, f"{seen}, silent for {until:.1f} s before", cure, silence_s=longest)
    elif longest < seconds:
        yield skipped(promise, f"{seen}: the model was quicker", "Choose one that thinks longer with --thinking-model.")
    else:
        yield judged(promise, True, seen, silence_s=longest)


def _heartbeats(events: Sequence[Event], heartbeat: float) -> Iterator[Finding]:
    """Heartbeats keep every pair of lines close together, whatever the model does."""
    promise = f"a silent stream carries a heartbeat at least each {heartbeat:g} s"
    said = [event for event in events if not event.is_comment]
    if max(gaps(said), default=0.0) <= heartbeat:
        yield skipped(promise, "the model was never silent for so long")
        return
    longest = max(gaps(events))
    comments = len(events) - len(said)
    cure = "Set heartbeat_seconds (10 by default), and look for a proxy that drops comments."
    seen = f"{comments} heartbeats; nothing at all for {longest:.1f} s at most"
    yield judged(promise, longest <= heartbeat, seen, cure, heartbeats=comments, longest_s=longest)


def disconnect(at: Endpoint) -> Iterator[Finding]:
    """A caller that leaves disturbs nobody. What its stream goes on to cost, the log shows."""
    stream = at.stream(at.chat("Count from one to two hundred in words.", stream=True), leave_after=3)
    if not stream.is_event_stream:
        yield skipped("a caller that leaves disturbs nobody", f"{stream.status} {stream.text[:80]!r}")
        return
    response = at.models()
    yield judged(
        "a caller that leaves disturbs nobody",
        response.status_code == 200,
        f"left after {len(stream.events())} events; the next request: {response.status_code}",
        "With reserved_concurrency 1 the stream that was left still occupies the only environment.",
    )


def deadline(at: Endpoint, seconds: float | None) -> Iterator[Finding]:
    """A stream that the time-out ends says so in the stream. `seconds` is the function's time-out, None: not known."""
    promise = "a stream that fails midway ends with an error event"
    if seconds is None or seconds > LONGEST_DEADLINE_SECONDS:
        known = "its time-out is not known" if seconds is None else f"its time-out is {seconds:g} s"
        cure = "Deploy an environment with timeout_seconds=10, and check that; or give --deadline SECONDS to wait."
        yield skipped(promise, f"a stream has to be cut for it, and {known}", cure)
        return
    yield from cut(at, promise)


def cut(at: Endpoint, promise: str) -> Iterator[Finding]:
    """Ask for more than fits into the time-out."""
    stream = at.stream(at.chat("Count from one to five thousand in words. Leave nothing out.", stream=True))
    events = stream.events()
    if stream.is_event_stream and stream.text.rstrip().endswith(b"data: [DONE]"):
        took = stream.reads[-1][0]
        yield skipped(promise, f"the response was complete after {took:.1f} s", "Choose a slower --model.")
        return
    last = next((event for event in reversed(events) if not event.is_comment), Event(at=0.0, type="nothing"))
    yield judged(
        promise,
        stream.is_event_stream and last.type == "error" and _is_error(last.data),
        f"{stream.status}; the last event after {last.at:.1f} s is {last.type} {last.data[:120]!r}",
        "OpenAI's SDKs would take this stream for complete: look for the request's record in the log.",
        ended_s=last.at,
    )
    yield observed("how a failed stream ends for its caller", stream.broken or "cleanly, like a complete one")


def _is_error(data: bytes) -> bool:
    try:
        return bool(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return False
