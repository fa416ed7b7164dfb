"""From a caller's request to what is sent: every byte of it decided here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from relay.errors import ErrorKind, RelayError
from relay.formats import multipart
from relay.formats.multipart import Part
from relay.limits.cost_bound import OVERHEAD
from relay.models import Caller, Request
from relay.policies.policy import Policy
from relay.request import upstream_request
from relay.request.policy import RequestPolicy
from relay.request.upstream_request import UpstreamRequest

CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/a/b")
CHAT, EDITS = "/v1/chat/completions", "/v1/images/edits"


def prepared(
    fields: dict[str, Any] | bytes,
    path: str = CHAT,
    method: str = "POST",
    most: int = 1000,
    policy: RequestPolicy | None = None,
    headers: Mapping[str, str] | None = None,
) -> UpstreamRequest:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    request = Request(
        id="id",
        method=method,
        path=path,
        headers={name.replace("_", "-"): text for name, text in (headers or {}).items()},
        body=body,
        caller=CALLER,
    )
    return upstream_request.prepare(request, policy or RequestPolicy(), max_body_bytes=most, identifier="hash")


def kind_of(fields: dict[str, Any] | bytes, path: str = CHAT, most: int = 1000, **headers: str) -> ErrorKind:
    with pytest.raises(RelayError) as caught:
        prepared(fields, path, most=most, headers=headers)
    return caught.value.kind


def test_what_is_sent_is_what_was_checked() -> None:
    wanted = prepared(b' { "model" : "m", "messages": [], "temperature":1.50 , "seed":1e2 }')
    wanted.bound(Policy(output_cap=500), None)
    body, content_type = wanted.body()
    assert content_type == "application/json"
    assert body == (
        b'{"model":"m","messages":[],"temperature":1.50,"seed":1e2,"store":false,"safety_identifier":"hash",'
        b'"max_completion_tokens":500}'
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"max_tokens": 50}, {"max_tokens": 50}),
        ({"max_tokens": 100}, {"max_tokens": 100}),
        ({"max_tokens": 101}, {"max_tokens": 100}),
        ({"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 100}),
        ({"max_completion_tokens": 10**30}, {"max_completion_tokens": 100}),
        ({"max_completion_tokens": 1, "max_tokens": 500}, {"max_completion_tokens": 1, "max_tokens": 100}),
    ],
)
def test_caps_are_clamped_in_the_callers_own_spelling(given: dict[str, Any], sent: dict[str, Any]) -> None:
    for policy, own in ((RequestPolicy(max_output_tokens=100), Policy()), (RequestPolicy(), Policy(output_cap=100))):
        wanted = prepared({"model": "m", **given}, policy=policy)
        wanted.bound(own, None)
        assert json.loads(wanted.body()[0]) == {"model": "m", "store": False, "safety_identifier": "hash", **sent}


def test_the_bound_measures_what_is_sent() -> None:
    wanted = prepared({"model": "m", "messages": [{"role": "user", "content": "x" * 500}]})
    bound = wanted.bound(Policy(output_cap=100), None)
    body, _ = wanted.body()
    assert bound.tokens_in == len(body) + body.count(b",") + OVERHEAD


def test_headers_are_the_relays_own() -> None:
    wanted = prepared(
        {"model": "m", "stream": True},
        headers={"authorization": "x", "cookie": "y", "accept": "z", "openai-organization": "o"},
    )
    assert wanted.headers(key="sk-key", content_type="application/json", request_id="id") == {
        "authorization": "Bearer sk-key",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "openai-lambda-relay",
        "x-client-request-id": "id",
        "content-type": "application/json",
    }


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-5", "/v1/usage"])
def test_a_read_sends_no_body_whatever_came(path: str) -> None:
    wanted = prepared(b"x" * 5000, path, "GET")
    assert wanted.body() == (b"", "")
    assert "content-type" not in wanted.headers(key="k", content_type="", request_id="id")
    assert not wanted.wants_stream


@pytest.mark.parametrize("size", [999, 1000])
def test_a_body_up_to_the_limit_is_taken(size: int) -> None:
    assert prepared(b'{"model":"m"}'.ljust(size)).fields["model"] == "m"


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    assert kind_of(b"x" * 1001) is ErrorKind.TOO_LARGE


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "", "text/plain", "application/x-www-form-urlencoded", "Application/JSON; charset=utf-8"],
)
def test_json_is_taken_under_any_name(content_type: str) -> None:
    assert prepared({"model": "m"}, headers={"content-type": content_type}).fields["model"] == "m"


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "Multipart/mixed", " multipart/related"])
def test_a_form_is_refused_where_json_is_due(content_type: str) -> None:
    assert kind_of({"model": "m"}, content_type=content_type) is ErrorKind.UNSUPPORTED_MEDIA


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "deflate", "identity, gzip", " GZIP ", "aws-chunked"])
@pytest.mark.parametrize("path", [CHAT, "/v1/audio/transcriptions"])
def test_a_compressed_body_is_refused_by_name(coding: str, path: str) -> None:
    with pytest.raises(RelayError) as caught:
        prepared(b"\x1f\x8b", path, headers={"content-encoding": coding})
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED_MEDIA, "content-encoding")
    assert coding.split(",")[-1].strip().lower() in caught.value.text
    assert "uncompressed" in caught.value.text


def test_a_coding_that_is_no_name_is_not_repeated() -> None:
    with pytest.raises(RelayError) as caught:
        prepared(b"{}", headers={"content-encoding": "\x1b[2J" + "x" * 5000})
    assert "x" * 100 not in caught.value.text
    assert "\x1b" not in caught.value.text


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "identity,identity"])
def test_identity_is_no_encoding(coding: str) -> None:
    assert prepared({"model": "m"}, headers={"content-encoding": coding}).fields["model"] == "m"


def test_json_is_refused_where_a_form_is_due() -> None:
    assert (
        kind_of({"model": "m"}, "/v1/audio/transcriptions", content_type="application/json")
        is ErrorKind.UNSUPPORTED_MEDIA
    )


@pytest.mark.parametrize(
    ("options", "added"),
    [
        (None, True),
        ({}, True),
        ({"include_usage": False}, True),
        ({"include_usage": None}, True),
        ({"include_usage": 1}, True),
        ({"include_usage": "true"}, True),
        ({"include_usage": True}, False),
    ],
)
def test_it_is_known_whether_the_caller_asked_for_usage(options: Any, added: bool) -> None:
    wanted = prepared({"model": "m", "stream": True, "stream_options": options})
    assert wanted.added_usage is added
    assert json.loads(wanted.body()[0])["stream_options"]["include_usage"] is True
    assert not prepared({"model": "m", "stream": True, "stream_options": options}, "/v1/responses").added_usage


def test_without_a_stream_no_usage_is_asked_for() -> None:
    assert not prepared({"model": "m"}).added_usage


@pytest.mark.parametrize("given", [None, "", 0, [], {}, False])
@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
def test_a_caller_without_a_name_gets_one(path: str, given: Any) -> None:
    assert prepared({"model": "m", "safety_identifier": given}, path).fields["safety_identifier"] == "hash"


def test_a_name_of_the_callers_own_stays() -> None:
    assert prepared({"model": "m", "safety_identifier": "ann"}).fields["safety_identifier"] == "ann"
    assert "safety_identifier" not in prepared({"model": "m", "input": "x"}, "/v1/embeddings").fields


@pytest.mark.parametrize(
    ("accept", "as_text"),
    [
        ("text/plain", True),
        ("Text/Plain; charset=utf-8", True),
        ("text/plain, */*", True),
        ("*/*", False),
        ("text/event-stream, text/plain", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_plain_text_is_for_who_asks_for_it_first(accept: str, as_text: bool) -> None:
    assert prepared({"model": "m", "stream": True}, headers={"accept": accept}).as_text is as_text
    assert not prepared({"model": "m"}, headers={"accept": accept}).as_text


@pytest.mark.parametrize(("n", "choices"), [(None, 1), (1, 1), (3, 3)])
def test_choices_are_counted(n: int | None, choices: int) -> None:
    assert prepared({"model": "m", "n": n}).choices == choices
    assert prepared({"model": "m"}).choices == 1


def test_the_identifier_is_stable_secret_and_one_per_caller() -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-relay-key-"
    other = Caller(account=CALLER.account, principal="AROAOTHER", arn=CALLER.arn)
    found = upstream_request.caller_identifier(CALLER, arn + "AbCdEf")
    assert found == upstream_request.caller_identifier(CALLER, arn + "AbCdEf")
    assert found != upstream_request.caller_identifier(other, arn + "AbCdEf")
    assert len(found) == 32  # OpenAI takes 64 characters
    # The random end of the ARN is what nobody can guess.
    assert found != upstream_request.caller_identifier(CALLER, arn + "GhIjKl")


def edit(*parts: Part, policy: RequestPolicy | None = None) -> UpstreamRequest:
    fields = [Part(name="model", value=b"m"), Part(name="prompt", value=b"a hat")]
    body, content_type = multipart.serialise([*fields, *parts], {"model": "m", "prompt": "a hat"} | plain(parts))
    return prepared(body, EDITS, most=10**6, policy=policy, headers={"content-type": content_type})


def plain(parts: Sequence[Part]) -> dict[str, str]:
    return {part.name: part.value.decode() for part in parts if part.filename is None}


def png(name: str, size: int = 1000) -> Part:
    return Part(name=name, value=b"\x89PNG" + b"," * size, filename=b"a.png", content_type=b"image/png")


def test_an_edit_is_sent_as_the_form_that_it_was() -> None:
    wanted = edit(
        png("image[]"), png("image[]"), png("mask"), Part(name="n", value=b"2"), Part(name="stream", value=b"true")
    )
    assert (wanted.wants_stream, wanted.choices, wanted.contents.pictures) == (True, 2, 3)
    body, content_type = wanted.body()
    parts = {part.name: part.value for part in multipart.parse(body, content_type)}
    assert parts["n"] == b"2"
    assert parts["stream"] == b"true"
    assert parts["mask"] == png("mask").value


def test_an_edit_may_be_a_body_of_json() -> None:
    url = "data:image/png;base64," + "A" * 400
    fields = {"model": "m", "prompt": "x", "images": [{"image_url": url}], "mask": {"image_url": url}, "stream": True}
    wanted = prepared(fields, EDITS, most=10**6)
    assert (wanted.wants_stream, wanted.contents.pictures, wanted.contents.binary) == (True, 2, 2 * len(url))
    assert wanted.contents.unbounded == ""
    assert json.loads(wanted.body()[0]) == fields


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (Part(name="image", value=b"file-1"), "image"),
        (Part(name="images[0][file_id]", value=b"file-1"), "images[0][file_id]"),
        (Part(name="images[0][image_url]", value=b"https://example.com"), "images"),
        (Part(name="mask[file_ids]", value=b"file-1"), "mask[file_ids]"),
        (Part(name="svg[model]", value=b"gpt-6-astra"), "svg[model]"),
    ],
)
def test_a_form_brings_no_reference_and_no_second_model(part: Part, field: str) -> None:
    with pytest.raises(RelayError) as caught:
        edit(part)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, field)


@pytest.mark.parametrize(
    "part", [png("picture"), Part(name="svg[reasoning]", value=b"high"), Part(name="svg", value=b"x")]
)
def test_what_a_form_brings_beside_that_is_not_bounded(part: Part) -> None:
    assert f"'{part.name.partition('[')[0]}'" in edit(part).contents.unbounded


@pytest.mark.parametrize("reference", [{"file_id": "file-1"}, {"type": "input_image", "file_id": "file-1"}])
def test_an_edit_names_no_stored_picture(reference: dict[str, str]) -> None:
    assert kind_of({"model": "m", "prompt": "x", "images": [reference]}, EDITS) is ErrorKind.BAD_REQUEST


def test_pictures_elsewhere_are_not_taken_for_those_of_an_edit() -> None:
    wanted = prepared({"model": "m", "messages": [], "images": [{"image_url": "data:image/png;base64,AAAA"}]})
    assert "'images" in wanted.contents.unbounded
