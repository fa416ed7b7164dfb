"""What OpenAI's error objects mean, and how much of them a caller may read. Pure.

Source: platform.openai.com/docs/guides/error-codes, and for streams the event "error" of the Responses API, which is
documented flat ({"type": "error", "code", "message"}) and sent nested ({"type": "error", "error": {...}}).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from relay.errors import ErrorKind, RelayError

# 429s that no waiting helps against.
_EXHAUSTED = ("insufficient_quota", "credit_balance_exhausted", "organization_usage_limit_exceeded")
_EXHAUSTED_SUFFIX = "_spend_limit_exceeded"
_RATE_LIMITS = ("rate_limit_exceeded", "slow_down", "too_many_requests")
# Whose key it is, is not the callers' to know: "Rate limit reached for gpt-5 in organization org-... on tokens per min".
_OURS = re.compile(r"\b(?:(?:org|proj)[-_][A-Za-z0-9]{12,}|sk-[A-Za-z0-9_*-]{6,})")


def in_event(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The error that an event of a stream carries, in either of its shapes."""
    error = fields.get("error")
    if error:
        return error if isinstance(error, dict) else {"message": error}
    return fields if fields.get("type") == "error" else None


def raises_in_sdks(fields: Mapping[str, Any]) -> bool:
    """Whether OpenAI's SDKs raise on the event. They do not on a flat one (tried with openai-python 3.54)."""
    return bool(fields.get("error"))


def meaning(error: Mapping[str, Any], otherwise: ErrorKind = ErrorKind.UPSTREAM_ERROR) -> RelayError:
    """The relay's error for OpenAI's; `otherwise` is the kind of what is not known by its code."""
    code = word(error.get("code")) or word(error.get("type"))
    text = public(word(error.get("message"))) or None
    if is_exhausted(code):
        return RelayError(ErrorKind.UPSTREAM_EXHAUSTED, text, code=code)
    if code in _RATE_LIMITS:
        return RelayError(ErrorKind.UPSTREAM_RATE_LIMIT, text, code=code)
    if code == "server_is_overloaded":
        return RelayError(ErrorKind.UPSTREAM_OVERLOADED, log=code)
    if code == "invalid_api_key":
        return RelayError(ErrorKind.UPSTREAM_KEY, log=code)
    if error.get("type") == "invalid_request_error":
        return RelayError(ErrorKind.BAD_REQUEST, text, code=code, param=word(error.get("param")) or None)
    return RelayError(otherwise, log="an error that is not about the request")


def is_exhausted(code: str) -> bool:
    """Whether credit or a spend limit is used up, so that trying again is of no use."""
    return code in _EXHAUSTED or code.endswith(_EXHAUSTED_SUFFIX)


def public(text: str) -> str:
    """`text` without the ids of the organisation and the project, and without pieces of keys."""
    return _OURS.sub("[...]", text)


def word(value: Any) -> str:
    """`value` if it is text."""
    return value if isinstance(value, str) else ""
