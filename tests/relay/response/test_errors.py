"""What OpenAI's errors become."""

from __future__ import annotations

from typing import Any

import pytest
from relay.errors import ErrorKind
from relay.response import errors, masking


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (
            {"code": "insufficient_quota", "type": "insufficient_quota"},
            ErrorKind.UPSTREAM_EXHAUSTED,
            "insufficient_quota",
        ),
        ({"code": "credit_balance_exhausted"}, ErrorKind.UPSTREAM_EXHAUSTED, "credit_balance_exhausted"),
        ({"code": "project_spend_limit_exceeded"}, ErrorKind.UPSTREAM_EXHAUSTED, "project_spend_limit_exceeded"),
        (
            {"code": "organization_usage_limit_exceeded"},
            ErrorKind.UPSTREAM_EXHAUSTED,
            "organization_usage_limit_exceeded",
        ),
        ({"code": None, "type": "insufficient_quota"}, ErrorKind.UPSTREAM_EXHAUSTED, "insufficient_quota"),
        ({"code": "rate_limit_exceeded", "type": "tokens"}, ErrorKind.UPSTREAM_RATE_LIMIT, "rate_limit_exceeded"),
        ({"code": "slow_down"}, ErrorKind.UPSTREAM_RATE_LIMIT, "slow_down"),
        (
            {"code": "too_many_requests", "type": "too_many_requests"},
            ErrorKind.UPSTREAM_RATE_LIMIT,
            "too_many_requests",
        ),
        ({"code": "server_is_overloaded"}, ErrorKind.UPSTREAM_OVERLOADED, "upstream_overloaded"),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, ErrorKind.UPSTREAM_KEY, "upstream_key_refused"),
        (
            {"code": "context_length_exceeded", "type": "invalid_request_error"},
            ErrorKind.BAD_REQUEST,
            "context_length_exceeded",
        ),
        ({"code": None, "type": "invalid_request_error"}, ErrorKind.BAD_REQUEST, "invalid_request_error"),
        ({"code": "server_error", "type": "server_error"}, ErrorKind.UPSTREAM_ERROR, "upstream_error"),
        ({}, ErrorKind.UPSTREAM_ERROR, "upstream_error"),
        ({"code": 5, "type": ["x"], "message": {}}, ErrorKind.UPSTREAM_ERROR, "upstream_error"),
    ],
)
def test_a_code_decides_what_an_error_means(error: dict[str, Any], kind: ErrorKind, code: str) -> None:
    meaning = errors.to_relay_error(error)
    assert (meaning.kind, meaning.code) == (kind, code)
    assert meaning.text == kind.spec.text


def test_the_text_passes_where_it_is_about_the_request() -> None:
    error = {"type": "invalid_request_error", "message": "Too long.", "param": "messages"}
    meaning = errors.to_relay_error(error)
    assert (meaning.text, meaning.param) == ("Too long.", "messages")


@pytest.mark.parametrize("code", ["server_error", "invalid_api_key", "server_is_overloaded", "new_thing"])
def test_the_text_does_not_pass_where_it_is_not(code: str) -> None:
    assert "secret" not in errors.to_relay_error({"code": code, "message": "secret"}).text


def test_what_the_code_does_not_tell_the_status_may() -> None:
    assert (
        errors.to_relay_error({"code": "new_thing"}, ErrorKind.UPSTREAM_RATE_LIMIT).kind
        is ErrorKind.UPSTREAM_RATE_LIMIT
    )


@pytest.mark.parametrize(
    "secret",
    [
        "org-AbCdEfGhIjKlMnOpQrStUvWx",
        "proj_AbCdEfGhIjKlMnOpQrStUvWx",
        "sk-proj-abcdefghijklmnop",
        "sk-abcd********wxyz",
        "sk-svcacct-x_yz-123456",
    ],
)
def test_ids_of_the_organisation_and_pieces_of_keys_are_taken_out(secret: str) -> None:
    text = masking.mask_text(f"Rate limit reached for gpt-5 in organization {secret} on tokens per min.")
    assert text == "Rate limit reached for gpt-5 in organization [...] on tokens per min."
    assert secret not in errors.to_relay_error({"code": "slow_down", "message": f"in {secret}."}).text


@pytest.mark.parametrize(
    "text", ["an org-wide limit", "the project proj_x", "risk-free", "sk-", "task-abcdefghijk", "gpt-5"]
)
def test_ordinary_words_stay(text: str) -> None:
    assert masking.mask_text(text) == text
