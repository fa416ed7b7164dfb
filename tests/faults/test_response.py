"""Upstream answers, but not with what was asked for: every wrong answer that reliability lists. Through the real process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from emulator.fakes.raw_upstream import EVENT_STREAM, LAST_CHUNK, Close, Send, Stall, Step, chunk, head, json_answer
from tests.support.harness import canaries
from tests.support.harness.fault_cases import EVENTS, GOOD, JSON_ANSWER, WHOLE, Case, play
from tests.support.harness.outcomes import CutBody, Outcome, Passed, Refused, UpstreamsError, Whole
from tests.support.harness.parsers import EventSourceParser
from tests.support.harness.relay_fixture import RelayFixture

HTML = b"<!doctype html><title>Bad gateway</title>"


def error_body(type_: str, code: str | None, message: str = "OpenAI's own words.") -> bytes:
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}}).encode()


def answered(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> tuple[Step, ...]:
    fields = [("content-type", content_type), ("content-length", str(len(body)))]
    fields += [(name.replace("_", "-"), text) for name, text in headers.items()]
    return Send(head(status, fields)), Send(body)


def statuses() -> Iterator[Case]:
    """Every error status, as JSON, HTML, nothing and 50 MB."""
    about_the_request = {400: "invalid_value", 404: "model_not_found", 409: "conflict", 413: "too_large", 422: "bad"}
    for status, code in about_the_request.items():
        body = error_body("invalid_request_error", code)
        yield _status(status, "OpenAI's JSON", answered(status, body), Passed(status, code), body)
    ours: dict[int, Outcome] = {
        401: Refused(502, "upstream_key_refused", "false"),
        403: Refused(502, "upstream_key_refused", "false"),
        500: Refused(502, "upstream_error", "true"),
        502: Refused(502, "upstream_error", "true"),
        503: Refused(503, "upstream_overloaded", "true"),
        504: Refused(504, "upstream_timeout"),
        520: Refused(502, "upstream_error", "true"),
    }
    quoting_the_key = error_body("invalid_request_error", "invalid_api_key", f"Incorrect API key: {canaries.KEY}")
    for status, outcome in ours.items():
        yield _status(status, "OpenAI's JSON", answered(status, quoting_the_key), outcome)
    for status in (400, 404):
        yield _status(status, "HTML", answered(status, HTML, "text/html"), Refused(502, "upstream_error"))
        yield _status(status, "empty", answered(status, b""), Refused(502, "upstream_error"))
    ours[429] = Refused(429, "rate_limit_exceeded", "true")
    for status, outcome in ours.items():
        yield _status(status, "HTML", answered(status, HTML, "text/html"), outcome)
        yield _status(status, "empty", answered(status, b""), outcome)
    for status in (400, 500):
        fifty = (Send(head(status, [("content-length", "50000000")])), Send(b"x" * 10_000_000), Stall())
        yield _status(status, "50 MB", fifty, Refused(502, "upstream_error"))


def _status(status: int, what: str, steps: tuple[Step, ...], outcome: Outcome, sent: bytes = b"") -> Case:
    return Case(fault=f"status {status}", when=what, steps=steps, outcome=outcome, sent=sent)


def rate_limits() -> Iterator[Case]:
    for code in (
        "rate_limit_exceeded",
        "insufficient_quota",
        "credit_balance_exhausted",
        "project_spend_limit_exceeded",
    ):
        body = error_body("requests", code)
        yield _status(429, f"`{code}`", answered(429, body, retry_after="7"), Passed(429, code), body)


def first_events() -> Iterator[Case]:
    """Errors that come as the first event, after a 200."""
    expected: dict[str, Outcome] = {
        "rate_limit_exceeded": Refused(429, "rate_limit_exceeded", "true"),
        "slow_down": Refused(429, "slow_down", "true"),
        "insufficient_quota": Refused(429, "insufficient_quota", "false"),
        "server_is_overloaded": Refused(503, "upstream_overloaded", "true"),
        "server_error": Refused(502, "upstream_error", "true"),
    }
    for code, outcome in expected.items():
        event = b"data: " + error_body("error", code) + b"\n\n"
        steps = (Send(head()), Send(chunk(event)), Send(LAST_CHUNK))
        yield Case(fault="error as the first event", when=f"`{code}`", steps=steps, outcome=outcome)


def wrong_kinds() -> Iterator[Case]:
    """200, and yet not what was asked for."""
    broken = Refused(502, "upstream_broken")
    yield Case(fault="JSON", when="a stream was asked for", steps=json_answer(200, JSON_ANSWER), outcome=broken)
    yield Case(fault="a stream", when="JSON was asked for", steps=GOOD, outcome=broken, stream=False)
    html = answered(200, HTML, "text/html")
    yield Case(fault="HTML", when="a stream was asked for", steps=html, outcome=broken)
    yield Case(fault="HTML", when="JSON was asked for", steps=html, outcome=broken, stream=False)
    for stream, kind in ((True, "text/event-stream"), (False, "application/json")):
        zipped = answered(200, b"\x1f\x8b\x08", kind, content_encoding="gzip")
        when = "a stream was asked for" if stream else "JSON was asked for"
        yield Case(fault="compressed anyway", when=when, steps=zipped, outcome=broken, stream=stream)
        yield Case(fault="status 204", when=when, steps=(Send(head(204, ())),), outcome=broken, stream=stream)
        other = Refused(502, "upstream_error")
        for status in (301, 302, 304, 307, 308):
            moved = (Send(head(status, [("location", "http://127.0.0.1:1/"), ("content-length", "0")])),)
            yield Case(fault=f"status {status}", when=when, steps=moved, outcome=other, stream=stream)


def odd_heads() -> Iterator[Case]:
    """Heads at the edge of HTTP, or beyond it."""

    def case(fault: str, when: str, data: bytes, outcome: Outcome, *more: Step) -> Case:
        sent = WHOLE if isinstance(outcome, Whole) else b""
        return Case(fault=fault, when=when, steps=(Send(data), *more), outcome=outcome, sent=sent)

    broken = Refused(502, "upstream_broken")
    yield case("status 100", "before the response", b"HTTP/1.1 100 Continue\r\n\r\n", Whole(), *GOOD)
    yield case("status 103", "before the response", b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n", Whole(), *GOOD)
    yield case(
        "status 103", "a thousand times before the response", b"HTTP/1.1 103 Hints\r\n\r\n" * 1000, Whole(), *GOOD
    )
    interim = b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" * 3000
    yield case("status 103, thousands of times", "before the response", interim, broken, *GOOD)
    yield case("status 101", "instead of the response", head(101, [("upgrade", "x")]), broken, Stall())
    yield case("garbage", "instead of a head", f"{canaries.COMPLETION}\r\n\r\n".encode(), broken, Stall())
    yield case("a header of 200 KB", "in the head", head(200, [("x-a", "a" * 200_000)]), broken, Stall())
    yield case(
        "a NUL in a header", "in the head", head(200, [*EVENT_STREAM, ("openai-version", "a\0b")]), broken, Stall()
    )
    rest = GOOD[1:]
    for name, text in (
        ("openai-version", "\x01\x1b[31m"),
        ("x-ratelimit-reset", "s" * 60_000),
        ("retry-after", "\x7f"),
    ):
        strange = head(200, [*EVENT_STREAM, (name, text)])
        yield case(
            f"{'long' if len(text) > 99 else 'control bytes in'} `{name}`", "in the head", strange, Whole(), *rest
        )
    theirs = [("set-cookie", canaries.COOKIE), ("openai-organization", "org-x"), ("keep-alive", "x"), ("server", "x")]
    yield case("headers that are not the caller's", "in the head", head(200, [*EVENT_STREAM, *theirs]), Whole(), *rest)
    accents = head(200, [*EVENT_STREAM, ("openai-version", "\u00e9"), ("x-request-id", "req_\u00e9")])
    yield case("bytes beyond ASCII in headers", "in the head", accents, Whole(), *rest)
    many = head(200, [*EVENT_STREAM, *((f"x-ratelimit-{number}", "9" * 500) for number in range(60))])
    yield case("60 headers of 500 bytes that may pass", "in the head", many, Whole(), *rest)
    both = head(200, [*EVENT_STREAM, ("content-length", "5")])
    yield case("content-length beside chunked", "in the head", both, Whole(), *rest)


def endings() -> Iterator[Case]:
    """What comes in or after a terminal event, and answers that are not streams and break off."""
    error = b"data: " + error_body("server_error", "server_error") + b"\n\n"
    done = EVENTS[-1]
    steps: tuple[Step, ...]
    for fault, after in (("[DONE] after an error event", done), ("an event after an error event", EVENTS[1])):
        steps = (Send(head()), Send(chunk(EVENTS[0])), Send(chunk(error)), Send(chunk(after)), Send(LAST_CHUNK))
        yield Case(
            fault=fault, when="in a chunk of its own", steps=steps, outcome=UpstreamsError(), sent=EVENTS[0] + error
        )
        steps = (Send(head()), Send(chunk(EVENTS[0])), Send(chunk(error + after)), Send(LAST_CHUNK))
        yield Case(fault=fault, when="in the same chunk", steps=steps, outcome=UpstreamsError(), sent=EVENTS[0] + error)
    for when, pieces in (("in a chunk of its own", (WHOLE, EVENTS[1])), ("in the same chunk", (WHOLE + EVENTS[1],))):
        steps = (Send(head()), *(Send(chunk(piece)) for piece in pieces), Send(LAST_CHUNK))
        yield Case(fault="an event after [DONE]", when=when, steps=steps, outcome=Whole(), sent=WHOLE)
    for name, end in (("CRLF", b"\r\n"), ("CR", b"\r")):
        other = [event.replace(b"\n", end) for event in EVENTS]
        steps = (Send(head()), *(Send(chunk(event)) for event in other), Send(LAST_CHUNK))
        yield Case(fault=f"{name} line ends", when="whole", steps=steps, outcome=Whole(), sent=b"".join(other))
    half = JSON_ANSWER[: len(JSON_ANSWER) // 2]
    promised = head(200, [("content-type", "application/json"), ("content-length", str(len(JSON_ANSWER)))])
    yield Case(
        fault="JSON cut", when="inside the body", steps=(Send(promised), Send(half), Close()), outcome=CutBody(),
        sent=half, stream=False,
    )  # fmt: skip
    yield Case(
        fault="JSON that stalls", when="inside the body", steps=(Send(promised), Send(half), Stall()), outcome=CutBody(),
        sent=half, stream=False, deadline=1.0, over_within=0.8,
    )  # fmt: skip
    yield Case(
        fault="silence until the deadline", when="JSON was asked for", steps=(Stall(),), stream=False,
        outcome=Refused(504, "upstream_timeout"), deadline=1.0, begins_within=0.8, over_within=0.8,
    )  # fmt: skip
    yield Case(fault="no usage", when="whole", steps=json_answer(200, {**json.loads(JSON_ANSWER), "usage": None}),
        outcome=Whole(), sent=json.dumps({**json.loads(JSON_ANSWER), "usage": None}).encode(), stream=False)  # fmt: skip


CASES = (*statuses(), *rate_limits(), *first_events(), *wrong_kinds(), *odd_heads(), *endings())


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_fault(relay_fixture: RelayFixture, node: EventSourceParser, case: Case) -> None:
    play(relay_fixture, case, node)
    relay_fixture.assert_serves()
