"""What of OpenAI's answers passes, what becomes an error of the relay's, and where a stream really ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from relay.errors import ErrorKind, RelayError
from relay.models import Response
from relay.net import sse
from relay.net.wait import Wait
from relay.response import errors, passing, stream_formats
from relay.response.usage_meter import BodyMeter, EventMeter, Meter

from tests.support.doubles.exchange import Wire, answer

JSON = {"content-type": "application/json"}
FIRST, SECOND, DONE = b'data: {"choices":[1]}\n\n', b'data: {"choices":[2]}\n\n', b"data: [DONE]\n\n"
STREAM = FIRST + SECOND + DONE
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n'


def cut() -> RelayError:
    return RelayError(ErrorKind.UPSTREAM_BROKEN, log="reset")


def error_body(**error: Any) -> bytes:
    return json.dumps({"error": {"message": "No.", "type": None, "param": None, "code": None, **error}}).encode()


def watch() -> Wait:
    return Wait(downstream=Wire(), deadline=time.monotonic() + 60)


def passed(
    *parts: bytes, meter: Meter | None = None, failure: RelayError | None = None
) -> tuple[bytes, RelayError | None]:
    """What a caller gets of a stream, and what ended it."""
    got = b""
    chunks = passing.to_the_end(
        answer(*parts, failure=failure).chunks, meter or EventMeter(stream_formats.CHAT), watch()
    )
    try:
        for chunk in chunks:
            assert chunk
            got += chunk
    except RelayError as error:
        return got, error
    return got, None


def raised(*parts: bytes, status: int, begun: bool = False, **headers: str) -> RelayError:
    with pytest.raises(RelayError) as caught:
        refused(*parts, status=status, begun=begun, **headers)
    return caught.value


def refused(*parts: bytes, status: int, begun: bool = False, **headers: str) -> Response:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return passing.refusal(answer(*parts, status=status, headers=given), begun=begun)


# ---- headers


def test_only_headers_of_the_list_pass() -> None:
    headers = {
        "Content-Type": "application/json",
        "Retry-After": "5",
        "retry-after-ms": "5000",
        "x-should-retry": "false",
        "x-ratelimit-remaining-tokens": "7",
        "openai-processing-ms": "8",
        "openai-version": "2020-10-01",
        "x-request-id": "req_1",
        "openai-organization": "org",
        "openai-project": "proj",
        "set-cookie": "a=b",
        "cf-ray": "x",
        "server": "cloudflare",
        "alt-svc": "h3",
        "via": "1.1 x",
        "connection": "x-ratelimit-remaining-tokens",
        "transfer-encoding": "chunked",
        "content-length": "5",
        "strict-transport-security": "x",
        "location": "https://x",
    }
    assert passing.passed_headers(answer(headers=headers)) == {
        "content-type": "application/json",
        "retry-after": "5",
        "retry-after-ms": "5000",
        "x-should-retry": "false",
        "x-ratelimit-remaining-tokens": "7",
        "openai-processing-ms": "8",
        "openai-version": "2020-10-01",
        "x-openai-request-id": "req_1",
    }


@pytest.mark.parametrize("value", ["a\tb", "é", "\x7f", "x" * 513])
def test_values_that_are_no_plain_text_do_not_pass(value: str) -> None:
    assert passing.passed_headers(answer(headers={"x-ratelimit-x": value, "openai-version": "1"})) == {
        "openai-version": "1"
    }


def test_all_that_pass_fit_into_a_prelude() -> None:
    headers = {"content-type": "application/json", **{f"x-ratelimit-{n}": "x" * 500 for n in range(200)}}
    assert passing.passed_headers(answer(headers=headers)) == JSON


# ---- form


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream"])
def test_a_stream_is_a_stream(kind: str) -> None:
    passing.check(answer(headers={"content-type": kind}), wants_stream=True, kinds=("application/json",))
    with pytest.raises(RelayError):
        passing.check(answer(headers={"content-type": kind}), wants_stream=False, kinds=("application/json",))


@pytest.mark.parametrize(
    "kind", ["", "text/html", "text/plain", "application/json5", "audio/mpeg", "application/problem+json"]
)
def test_what_is_not_json_where_json_is_due_is_broken(kind: str) -> None:
    for wants_stream in (True, False):
        with pytest.raises(RelayError) as caught:
            passing.check(
                answer(headers={"content-type": kind}), wants_stream=wants_stream, kinds=("application/json",)
            )
        assert caught.value.kind is ErrorKind.UPSTREAM_BROKEN


def test_any_sound_is_sound() -> None:
    for kind in ("audio/mpeg", "audio/wav", "application/octet-stream"):
        passing.check(
            answer(headers={"content-type": kind}), wants_stream=False, kinds=("audio/", "application/octet-stream")
        )


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "identity, gzip"])
def test_an_encoded_answer_is_broken(encoding: str) -> None:
    with pytest.raises(RelayError):
        passing.check(
            answer(headers={**JSON, "content-encoding": encoding}), wants_stream=False, kinds=("application/json",)
        )


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_one_that_is_not_is_fine(encoding: str) -> None:
    passing.check(
        answer(headers={**JSON, "content-encoding": encoding}), wants_stream=False, kinds=("application/json",)
    )


# ---- endings


def test_a_whole_stream_passes_as_it_is_at_every_split() -> None:
    for at in range(1, len(STREAM)):
        assert passed(STREAM[:at], STREAM[at:]) == (STREAM, None)


def test_a_cut_is_a_failure_after_everything_that_came() -> None:
    last = STREAM.index(b"[DONE]") + len(b"[DONE]")
    for at in range(1, len(STREAM)):
        for failure in (None, cut()):
            got, error = passed(STREAM[:at], failure=failure)
            if at < last:
                assert error is not None
                assert (got, error.kind) == (STREAM[:at], ErrorKind.UPSTREAM_BROKEN)
            else:
                # Its end came; only line breaks were missing.
                assert error is None
                assert got.startswith(STREAM[:at])
                assert sse.at_boundary(got)


def test_nothing_passes_after_the_end() -> None:
    assert passed(STREAM + FIRST) == (STREAM, None)
    assert passed(STREAM, FIRST, DONE) == (STREAM, None)
    assert passed(STREAM[:-1], b"\n" + FIRST) == (STREAM, None)
    assert passed(STREAM, failure=cut()) == (STREAM, None)


def test_an_error_in_the_stream_is_an_end_too() -> None:
    event = b"data: " + error_body() + b"\n\n"
    assert passed(FIRST + event + DONE) == (FIRST + event, None)


def test_an_error_on_which_no_sdk_raises_is_followed_by_one_of_ours() -> None:
    event = b'event: error\ndata: {"type":"error","code":"slow_down","message":"No."}\n\n'
    got, error = passed(event, meter=EventMeter(stream_formats.RESPONSES))
    assert error is not None
    assert (got, error.kind) == (event, ErrorKind.UPSTREAM_RATE_LIMIT)


def test_after_the_end_upstream_has_a_second_to_close() -> None:
    limits = watch()
    chunks = passing.to_the_end(answer(DONE, b"x").chunks, EventMeter(stream_formats.CHAT), limits)
    next(chunks)
    next(chunks, None)
    assert limits.deadline < time.monotonic() + 1.1


def test_of_several_images_none_is_cut_off() -> None:
    image = b'data: {"type":"image_generation.completed"}\n\n'
    assert passed(image, image, meter=EventMeter(stream_formats.IMAGES, choices=2)) == (image * 2, None)
    assert passed(image, image, image, meter=EventMeter(stream_formats.IMAGES, choices=2)) == (image * 2, None)


def test_a_body_that_is_no_stream_ends_with_its_transport() -> None:
    assert passed(b"ab", b"c", meter=BodyMeter("audio/mpeg")) == (b"abc", None)
    assert passed(b'{"a":1}', meter=BodyMeter("application/json")) == (b'{"a":1}', None)
    for meter in (BodyMeter("audio/mpeg"), BodyMeter("application/json")):
        failure = cut()
        assert passed(b'{"a"', meter=meter, failure=failure) == (b'{"a"', failure)


def test_a_long_sound_keeps_its_deadline() -> None:
    limits = watch()
    before = limits.deadline
    assert list(passing.to_the_end(answer(b"a", b"b").chunks, BodyMeter("audio/mpeg"), limits)) == [b"a", b"b"]
    assert limits.deadline == before


def test_an_abandoned_stream_is_closed_at_every_stage() -> None:
    for taken in range(4):
        closed: list[bool] = []

        def source(closed: list[bool] = closed) -> Iterator[bytes]:
            try:
                yield from (FIRST, SECOND, DONE)
            finally:
                closed.append(True)

        chunks = passing.to_the_end(source(), EventMeter(stream_formats.CHAT), watch())
        for _ in range(taken):
            next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        del chunks
        assert closed == ([True] if taken else [])


# ---- the first event


def first(*parts: bytes, begun: bool = False, failure: RelayError | None = None) -> bytes:
    meter = EventMeter(stream_formats.CHAT)
    chunks = passing.to_the_end(answer(*parts, failure=failure).chunks, meter, watch())
    return b"".join(passing.first_event(chunks, meter, lambda: begun))


def test_the_first_event_is_let_go_as_soon_as_it_is_whole() -> None:
    assert first(FIRST, SECOND) == FIRST
    assert first(FIRST + SECOND[:5], SECOND[5:], DONE) == FIRST + SECOND[:5]
    assert first(*(FIRST[at : at + 1] for at in range(len(FIRST))), SECOND) == FIRST


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "insufficient_quota"}, ErrorKind.UPSTREAM_EXHAUSTED),
        ({"code": "slow_down"}, ErrorKind.UPSTREAM_RATE_LIMIT),
        ({"code": "server_is_overloaded"}, ErrorKind.UPSTREAM_OVERLOADED),
        ({"type": "invalid_request_error"}, ErrorKind.BAD_REQUEST),
        ({"code": "server_error"}, ErrorKind.UPSTREAM_ERROR),
    ],
)
def test_an_error_as_first_event_becomes_a_status(error: dict[str, Any], kind: ErrorKind) -> None:
    event = b"event: error\ndata: " + error_body(**error) + b"\n\n"
    for at in range(1, len(event)):
        with pytest.raises(RelayError) as caught:
            first(event[:at], event[at:])
        assert caught.value.kind is kind
    assert first(event, begun=True) == event


def test_an_error_after_an_event_does_not() -> None:
    assert first(FIRST, b"data: " + error_body() + b"\n\n") == FIRST


def test_a_stream_that_never_began_is_a_failure() -> None:
    for parts in ((), (b": comment\n",), (b"data: x",)):
        with pytest.raises(RelayError) as caught:
            first(*parts)
        assert caught.value.kind is ErrorKind.UPSTREAM_BROKEN
        with pytest.raises(RelayError) as caught:
            first(*parts, failure=RelayError(ErrorKind.DEADLINE))
        assert caught.value.kind is ErrorKind.DEADLINE


def test_once_begun_what_came_precedes_the_failure() -> None:
    meter, begun = EventMeter(stream_formats.CHAT), []

    def source() -> Iterator[bytes]:
        yield b"data: "
        begun.append(True)  # by a heartbeat, while the rest is awaited
        raise cut()

    body = passing.first_event(passing.to_the_end(source(), meter, watch()), meter, lambda: bool(begun))
    assert next(body) == b"data: "
    with pytest.raises(RelayError):
        next(body)


# ---- the first piece of a body


@pytest.mark.parametrize("kind", ["application/json", "audio/mpeg", "text/plain"])
def test_a_body_that_is_empty_or_fails_at_once_is_a_failure_while_a_status_can_still_tell(kind: str) -> None:
    for failure in (None, cut()):
        chunks = passing.to_the_end(answer(failure=failure).chunks, BodyMeter(kind), watch())
        with pytest.raises(RelayError) as caught:
            passing.first_piece(chunks)
        assert caught.value.kind is ErrorKind.UPSTREAM_BROKEN


def test_what_was_read_of_a_body_is_given_back() -> None:
    chunks = passing.to_the_end(answer(b"a", b"b").chunks, BodyMeter("audio/mpeg"), watch())
    assert [*passing.first_piece(chunks), *chunks] == [b"a", b"b"]


# ---- refusals


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_about_the_key_is_not_the_callers(status: int) -> None:
    error = raised(error_body(message="Incorrect API key provided: sk-abc"), status=status)
    assert error.kind is ErrorKind.UPSTREAM_KEY
    assert b"sk-" not in error.body()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, ErrorKind.UPSTREAM_ERROR),
        (502, ErrorKind.UPSTREAM_ERROR),
        (503, ErrorKind.UPSTREAM_OVERLOADED),
        (504, ErrorKind.UPSTREAM_TIMEOUT),
        (520, ErrorKind.UPSTREAM_ERROR),
        (599, ErrorKind.UPSTREAM_ERROR),
        (301, ErrorKind.UPSTREAM_ERROR),
        (304, ErrorKind.UPSTREAM_ERROR),
    ],
)
def test_when_openai_is_ill_the_words_are_ours(status: int, kind: ErrorKind) -> None:
    error = raised(error_body(message="secret internals"), status=status, retry_after="7", location="https://x")
    assert error.kind is kind
    assert b"internals" not in error.body()
    assert error.response_headers()["retry-after"] == "7"
    assert "location" not in error.response_headers()


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_what_is_about_the_request_passes_as_it_is(status: int) -> None:
    body = error_body(type="invalid_request_error", param="messages")
    response = refused(body[:9], body[9:], status=status, content_type="application/json; charset=utf-8")
    assert (response.status, b"".join(response.body)) == (status, body)
    assert response.headers == {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        ("rate_limit_exceeded", "true"),
        (None, "true"),
        ("insufficient_quota", "false"),
        ("x_spend_limit_exceeded", "false"),
    ],
)
def test_429_keeps_its_meaning(code: str | None, retry: str) -> None:
    response = refused(error_body(code=code), status=429, retry_after="2", x_ratelimit_remaining_tokens="0")
    assert response.status == 429
    assert response.headers["x-should-retry"] == retry
    assert response.headers["retry-after"] == "2"


def test_the_organisation_is_not_named() -> None:
    organisation = "org-AbCdEfGhIjKlMnOpQrStUvWx"
    body = error_body(
        code="rate_limit_exceeded", message=f"Rate limit reached in organization {organisation} on tokens."
    )
    assert organisation.encode() not in b"".join(refused(body, status=429).body)
    assert organisation.encode() not in raised(body, status=429, begun=True).body()


BAD_BODIES = [
    b"",
    b"<html>",
    b"null",
    b"[]",
    b"{}",
    b'{"error":null}',
    b'{"error":"x"}',
    b'{"error":{}}',
    b'{"error":{"code":"x"}}',
]
BAD_BODIES += [
    b'{"error":{"message":5}}',
    b"\xff",
    b"[" * 60_000,
    b'{"error":{"message":"' + b"x" * 70_000 + b'"}}',
    b'{"error":{"mess',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_an_error_without_openais_body_gets_one_of_ours(body: bytes) -> None:
    assert raised(body, status=400).kind is ErrorKind.UPSTREAM_ERROR
    assert raised(body, status=429).kind is ErrorKind.UPSTREAM_RATE_LIMIT


def test_of_a_huge_error_only_the_beginning_is_read() -> None:
    read: list[int] = []

    def flood() -> Iterator[bytes]:
        for n in range(10_000):
            read.append(n)
            yield b"x" * 8192

    assert raised(*[], status=500).kind is ErrorKind.UPSTREAM_ERROR
    given = answer(status=400)
    given.chunks = flood()
    with pytest.raises(RelayError):
        passing.refusal(given, begun=False)
    assert len(read) < 20


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"type": "invalid_request_error"}, ErrorKind.BAD_REQUEST),
        (429, {"code": "insufficient_quota"}, ErrorKind.UPSTREAM_EXHAUSTED),
        (429, {"code": "new_thing"}, ErrorKind.UPSTREAM_RATE_LIMIT),
        (418, {"code": "new_thing"}, ErrorKind.UPSTREAM_ERROR),
    ],
)
def test_once_begun_only_an_event_can_tell(status: int, error: dict[str, Any], kind: ErrorKind) -> None:
    assert raised(error_body(**error), status=status, begun=True).kind is kind


# ---- what has certainly cost nothing

UNBILLED = {400, 401, 403, 404, 405, 413, 415, 422, 429}


@pytest.mark.parametrize("status", range(300, 600))
def test_only_refusals_have_certainly_cost_nothing(status: int) -> None:
    for body in (b"", b"<html>", error_body(code="x", type="server_error")):
        assert passing.is_unbilled(answer(body, status=status)) is (status in UNBILLED)


def test_of_a_503_openais_own_error_tells() -> None:
    assert passing.is_unbilled(answer(error_body(code="server_is_overloaded"), status=503))
    for body in (error_body(code="server_error"), error_body(), b"upstream connect error", b"", b"x" * 100_000):
        assert not passing.is_unbilled(answer(body, status=503))
    assert not passing.is_unbilled(answer(b'{"error"', status=503, failure=cut()))
    assert refused_kind(error_body(code="server_is_overloaded"), status=503) is ErrorKind.UPSTREAM_OVERLOADED


def refused_kind(body: bytes, status: int) -> ErrorKind:
    response = answer(body, status=status)
    passing.is_unbilled(response)
    with pytest.raises(RelayError) as caught:
        passing.refusal(response, begun=False)
    return caught.value.kind


@pytest.mark.parametrize(
    ("error", "unbilled"),
    [
        ({"code": "rate_limit_exceeded"}, True),
        ({"code": "insufficient_quota"}, True),
        ({"code": "server_is_overloaded"}, True),
        ({"code": "invalid_api_key"}, True),
        ({"type": "invalid_request_error", "code": "model_not_found"}, True),
        ({"type": "server_error", "code": "server_error"}, False),
        ({"code": "something_new"}, False),
        ({"type": "error"}, False),
        ({}, False),
    ],
)
def test_an_error_instead_of_the_first_event_has_cost_nothing_only_where_it_is_a_refusal(
    error: dict[str, Any], unbilled: bool
) -> None:
    assert errors.is_unbilled(error) is unbilled


# ---- models


def listed(*ids: Any) -> bytes:
    return json.dumps({"object": "list", "data": [{"id": id, "object": "model"} for id in ids]}).encode()


def models(body: bytes, id: str = "") -> Any:
    made = passing.models(answer(body, headers=JSON), lambda name: name in ("gpt-5", "a/b"), id)
    assert made.headers == JSON
    return json.loads(b"".join(made.body))


def test_models_are_those_that_are_allowed() -> None:
    assert models(listed("gpt-5", "gpt-6", "GPT-5", None, 5, ["gpt-5"], "a/b")) == {
        "object": "list",
        "data": [{"id": "gpt-5", "object": "model"}, {"id": "a/b", "object": "model"}],
    }


def test_one_model_is_found_by_its_exact_name() -> None:
    assert models(listed("gpt-5", "a/b"), "a/b") == {"id": "a/b", "object": "model"}
    for id in ("gpt-6", "GPT-5", "..", "gpt-5 ", "a%2Fb"):
        with pytest.raises(RelayError) as caught:
            models(listed("gpt-5", "gpt-6", "a/b"), id)
        assert caught.value.kind is ErrorKind.MODEL_NOT_ALLOWED


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data":{}}', b'{"data":null}', b"<html>", b'{"data":[', b"[" * 100_000]
)
def test_a_list_that_cannot_be_read_is_broken(body: bytes) -> None:
    with pytest.raises(RelayError) as caught:
        models(body)
    assert caught.value.kind is ErrorKind.UPSTREAM_BROKEN


def test_entries_that_are_no_models_are_left_out() -> None:
    assert models(b'{"data":[1,null,"gpt-5",[],{"id":"gpt-5"}]}')["data"] == [{"id": "gpt-5"}]


def test_an_answer_of_our_own_is_json() -> None:
    made = passing.own({"a": "é"})
    assert (made.status, made.headers) == (200, JSON)
    assert json.loads(b"".join(made.body)) == {"a": "é"}
