"""Ids and keys in errors: masked in every form of an error, at every split; everything else passes byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.response import masking
from relay.response.masking import mask
from relay.response.transforms import mask_events, mask_json

ORG = "org-AbCdEfGhIjKlMnOpQrStUvWx"
PROJECT = "proj_AbCdEfGhIjKlMnOpQrStUvWx"
KEY = "sk-proj-abcdefghijklmnop_-wxyz"
SECRETS = [ORG, PROJECT, KEY, "org_AbCdEfGhIjKl", "sk-abcd********wxyz", "sk-ab...wxyz", "sk-svcacct-x_yz-123456"]
TOLD = f"Limit reached in organization {ORG} on tokens, project {PROJECT}, key {KEY}."
SAFE = "Limit reached in organization [...] on tokens, project [...], key [...]."


def event(fields: Any, name: str = "", end: bytes = b"\n") -> bytes:
    data = json.dumps(fields, ensure_ascii=False).encode()
    return (b"event: %s" % name.encode() + end if name else b"") + b"data: " + data + end + end


def every_split(transform: Callable[[Iterator[bytes]], Iterator[bytes]], stream: bytes) -> bytes:
    """What comes out, which is the same at every split in two and byte by byte."""
    whole = b"".join(transform(iter([stream])))
    for at in range(1, len(stream)):
        assert b"".join(transform(iter([stream[:at], stream[at:]]))) == whole, at
    assert b"".join(transform(bytes([byte]) for byte in stream)) == whole
    return whole


def holds_secret(data: bytes) -> bool:
    return any(secret.encode() in data or secret.encode()[4:] in data for secret in SECRETS)


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "nested": ({"error": {"message": TOLD, "code": "slow_down"}}, ""),
    "nested, named": ({"type": "error", "error": {"code": None, "message": TOLD}}, "error"),
    "flat": ({"type": "error", "code": "x", "message": TOLD, "param": None}, "error"),
    "flat, type last": ({"message": TOLD, "type": "error"}, ""),
    "a text": ({"error": TOLD}, ""),
    "deep": ({"error": {"details": [{"metadata": {"text": TOLD}}]}}, ""),
    "in its param": ({"error": {"message": "m", "param": ORG}}, ""),
    "beside it": ({"error": {"message": "m"}, "request": TOLD}, ""),
    "failed": ({"type": "response.failed", "response": {"id": "r", "error": {"message": TOLD}, "output": []}}, ""),
    "failed, type last": ({"response": {"error": {"message": TOLD}}, "type": "response.failed"}, "response.failed"),
    "incomplete": ({"type": "response.incomplete", "response": {"incomplete_details": {"reason": TOLD}}}, ""),
    "of no known member": ({"type": "response.failed", "response": {"status_text": TOLD, "error": None}}, ""),
    "named only": ({"reason": TOLD}, "error"),
    "after a line break": ({"error": {"message": f"Limit:\n{ORG}\t{KEY}\u2028{PROJECT}"}}, ""),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_no_error_event_names_whose_key_it_is(name: str, end: bytes) -> None:
    fields, event_name = ERRORS[name]
    stream = event({"choices": [{"delta": {"content": f"Hé {ORG}"}}]}, end=end) + event(fields, event_name, end)
    text = f"Hé {ORG}".encode()
    masked = every_split(mask_events, stream)
    assert text in masked, "what a model says is not an error"
    assert not holds_secret(masked.replace(text, b""))
    unmasked = stream.replace(text, b"<text>")
    for secret in SECRETS:
        unmasked = unmasked.replace(secret.encode(), b"[...]")
    assert masked.replace(text, b"<text>") == unmasked, "nothing else changes"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_error_that_is_no_json_is_masked_too(end: bytes) -> None:
    stream = b"event: error" + end + b"data: " + TOLD.encode() + end + b"data:more " + KEY.encode() + end + end
    assert every_split(mask_events, stream) == stream.replace(TOLD.encode(), SAFE.encode()).replace(
        KEY.encode(), b"[...]"
    )


CONTENT: list[dict[str, Any]] = [
    {"choices": [{"delta": {"content": TOLD}, "error": TOLD}]},
    {"type": "response.output_text.delta", "delta": TOLD},
    {"type": "response.output_text.done", "text": TOLD},
    {"type": "response.completed", "response": {"error": None, "output": [{"content": [{"text": TOLD}]}]}},
    {"type": "response.created", "response": {"instructions": TOLD, "metadata": {"error": TOLD}, "tools": [TOLD]}},
    {"type": "response.function_call_arguments.done", "arguments": json.dumps({"error": {"message": TOLD}})},
    {"type": "something.new", "words": TOLD},
    {"type": "response.failed", "response": {"error": {"message": "m"}, "output": [TOLD], "instructions": TOLD}},
    {
        "type": "response.incomplete",
        "response": {"output": [{"content": [{"text": TOLD}]}], "incomplete_details": None},
    },
]


@pytest.mark.parametrize("fields", CONTENT, ids=range(len(CONTENT)))
def test_what_a_model_or_a_caller_wrote_passes_as_it_is(fields: dict[str, Any]) -> None:
    stream = event(fields, str(fields.get("type", "")))
    assert every_split(mask_events, stream) == stream


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "r", "status": "failed", "error": {"code": "x", "message": TOLD}, "output": [TOLD]},
        {"object": "response", "incomplete_details": {"reason": TOLD}, "instructions": TOLD},
    ],
)
def test_a_body_that_tells_of_a_failure_is_masked(fields: dict[str, Any]) -> None:
    masked = json.loads(every_split(mask_json, json.dumps(fields).encode()))
    assert SAFE in json.dumps(masked)
    for name in ("output", "instructions"):
        assert masked.get(name) == fields.get(name)


@given(
    st.lists(
        st.sampled_from(
            [b"data: ", b"event: error", b"\n", b"\n\n", b"\r", b'{"error":"', b'"}', b"org-", b"a" * 15, b"\\"]
        )
        | st.binary(max_size=5),
        max_size=12,
    )
)
def test_any_bytes_come_out_the_same_whatever_the_pieces(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    for transform in (mask_events, mask_json):
        apart = b"".join(transform(part for part in parts if part))
        assert apart == b"".join(transform(iter([stream])))
        if not any(mark in stream for mark in masking.MARKS):
            assert apart == stream


def cut(*parts: bytes) -> Iterator[bytes]:
    yield from parts
    raise RelayError(ErrorKind.UPSTREAM_BROKEN)


@pytest.mark.parametrize("transform", [mask_events, mask_json])
def test_what_was_held_comes_before_a_failure_without_a_part_of_an_id(transform: Any) -> None:
    body = b'{"error":{"message":"in ' + ORG.encode() + b'"}}'
    stream = (b"data: " if transform is mask_events else b"") + body
    begin = stream.index(b"org-")
    for at in range(1, len(stream)):
        got: list[bytes] = []
        with pytest.raises(RelayError):
            got.extend(transform(cut(stream[:at])))
        passed = b"".join(got)
        assert passed == stream[:at] if at < begin + 4 else b"org-" not in passed
        assert passed.startswith(stream[: min(at, begin)])


def test_an_event_without_a_secret_passes_at_once_and_as_the_same_object() -> None:
    chunk = event({"choices": [{"delta": {"content": "Hi"}}]})
    [passed] = mask_events(iter([chunk]))
    assert passed is chunk


def test_nothing_is_held_back_but_what_may_become_an_id() -> None:
    stream = event({"error": {"message": f"in {ORG}."}})
    passed = 0
    pending: list[int] = []
    body = mask_events(bytes([byte]) for byte in event({"choices": [{"delta": {"content": "word"}}]}))
    assert [len(part) for part in body] == [1] * len(event({"choices": [{"delta": {"content": "word"}}]}))
    for part in mask_events(bytes([byte]) for byte in stream):
        passed += len(part)
        pending.append(len(part))
    assert max(pending) <= len("message") + 1


def test_an_event_of_megabytes_is_masked_in_bounded_memory_and_passes_in_pieces() -> None:
    text = "x" * (2 << 20)
    fields = {"type": "response.failed", "response": {"output": [text], "error": {"message": TOLD}}}
    stream = event(fields, "response.failed")
    parts = [stream[at : at + 65_536] for at in range(0, len(stream), 65_536)]
    passed = list(mask_events(iter(parts)))
    assert len(passed) >= len(parts) - 1
    assert b"".join(passed) == stream.replace(TOLD.encode(), SAFE.encode())


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", ["", " ", "'", "(", "=", "\n", "é"])
def test_ids_and_keys_are_masked_whatever_stands_before_them(secret: str, before: str) -> None:
    for text in (f"{before}{secret}", json.dumps(f"{before}{secret}")):
        assert secret.encode() not in mask(text.encode())
        assert mask(text.encode()).endswith((b"[...]", b'[...]"'))


def test_a_run_without_end_is_not_held_without_end() -> None:
    masked = list(mask_json(iter([b'{"error":"', *[b"a" * 1000] * 100, b'"}'])))
    assert max(map(len, masked)) <= 6000
    assert b"".join(masked) == b'{"error":"' + b"a" * 100_000 + b'"}'
