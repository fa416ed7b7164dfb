"""What OpenAI's error objects and statuses mean, and how much of them a caller may read. Pure.

Source: platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.errors import ErrorKind, RelayError
from relay.models import Json
from relay.response.masking import mask_text

# 429s that no waiting helps against.
_EXHAUSTED = ("insufficient_quota", "credit_balance_exhausted", "organization_usage_limit_exceeded")
_EXHAUSTED_SUFFIX = "_spend_limit_exceeded"
_RATE_LIMITS = ("rate_limit_exceeded", "slow_down", "too_many_requests")
_OVERLOADED = "server_is_overloaded"

# With these OpenAI has refused a request before a model saw it, so it has certainly billed nothing: the request is not
# valid or not allowed, there is no such thing, or a rate limit or the credit is used up. Not among them: 408, 499, 500,
# 502, 503, 504 and 52x, where a gateway speaks and the model may have answered; 409, which OpenAI does not explain;
# redirects, and whatever is new.
_UNBILLED_STATUSES = frozenset({400, 401, 403, 404, 405, 413, 415, 422, 429})
# The same of an error that comes instead of the first event, or in the body of a 503.
_UNBILLED_KINDS = frozenset(
    {
        ErrorKind.BAD_REQUEST,
        ErrorKind.UPSTREAM_KEY,
        ErrorKind.UPSTREAM_RATE_LIMIT,
        ErrorKind.UPSTREAM_EXHAUSTED,
        ErrorKind.UPSTREAM_OVERLOADED,
    }
)


def is_unbilled_status(status: int) -> bool:
    """Whether a response with this status has certainly cost nothing."""
    return status in _UNBILLED_STATUSES


def is_unbilled(error: Mapping[str, Json]) -> bool:
    """Whether OpenAI's error object, where nothing else has come, says that the request has certainly cost nothing."""
    return to_relay_error(error).kind in _UNBILLED_KINDS


def to_relay_error(error: Mapping[str, Json], otherwise: ErrorKind = ErrorKind.UPSTREAM_ERROR) -> RelayError:
    """The relay's error for OpenAI's error object; `otherwise` is the kind of what is not known by its code."""
    code = mask_text(word(error.get("code")) or word(error.get("type")))
    text = mask_text(word(error.get("message"))) or None
    if is_exhausted(code):
        return RelayError(ErrorKind.UPSTREAM_EXHAUSTED, text, code=code)
    if code in _RATE_LIMITS:
        return RelayError(ErrorKind.UPSTREAM_RATE_LIMIT, text, code=code)
    if code == _OVERLOADED:
        return RelayError(ErrorKind.UPSTREAM_OVERLOADED, log=code)
    if code == "invalid_api_key":
        return RelayError(ErrorKind.UPSTREAM_KEY, log=code)
    if error.get("type") == "invalid_request_error":
        return RelayError(ErrorKind.BAD_REQUEST, text, code=code, param=mask_text(word(error.get("param"))) or None)
    return RelayError(otherwise, log="an error that is not about the request")


def is_exhausted(code: str) -> bool:
    """Whether credit or a spend limit is used up, so that trying again is of no use."""
    return code in _EXHAUSTED or code.endswith(_EXHAUSTED_SUFFIX)


def word(value: Json) -> str:
    """`value` if it is text."""
    return value if isinstance(value, str) else ""
