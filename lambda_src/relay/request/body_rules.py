"""What the body of each endpoint may ask for: a parsed body goes in, and is changed to what may be sent. Pure.

One function per endpoint, named in the table of endpoints. All of them raise RelayError that names the field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relay.limits.cost_bound import CHAT, RESPONSES
from relay.request import stored_references
from relay.request.policy import RequestPolicy, invalid, no_such_model, not_allowed
from relay.request.strict_json import Number

Body = dict[str, Any]
BodyRules = Callable[[Body, RequestPolicy], None]

# Top-level fields that read or write stored state, beside those whose name says that they are ids.
_STATEFUL_FIELDS = ("conversation", "prompt")


def chat(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/chat/completions. Asks for usage in streams; whether the caller did is the caller's to remember."""
    _generation(body, policy, CHAT.output_caps)
    _choices(body, policy, "n")
    if body.get("web_search_options") is not None and "web_search" not in policy.tools:
        raise not_allowed("web_search_options", "web search is not allowed in this environment")
    if body.get("stream") is True:
        options = body.get("stream_options")
        if options is not None and not isinstance(options, dict):
            raise invalid("stream_options", "it has to be an object")
        body["stream_options"] = {**(options or {}), "include_usage": True}


def responses(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/responses."""
    _generation(body, policy, RESPONSES.output_caps)
    background = body.get("background")
    if background is not None and background is not False:
        # A background job goes on after the connection has ended, so neither usage nor limits could see it.
        raise invalid("background", "background responses are not allowed")


def images(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/images/generations."""
    model(body, policy)
    stream_flag(body)
    _choices(body, policy, "n")
    stored_references.check(body, policy)


def speech(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/audio/speech, which streams as events only when `stream_format` says so."""
    model(body, policy)
    if body.get("stream_format") not in (None, "audio", "sse"):
        raise invalid("stream_format", 'it has to be "audio" or "sse"')
    stored_references.check(body, policy)


def transcriptions(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/audio/transcriptions: the text fields of a form, so flags come as words."""
    model(body, policy)
    if body.get("stream") not in (None, "true", "false"):
        raise invalid("stream", 'it has to be "true" or "false"')


def moderations(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/moderations, where OpenAI lets callers leave the model out."""
    if body.get("model") is None:
        body["model"] = "omni-moderation-latest"
    model(body, policy)


def model(body: Body, policy: RequestPolicy) -> None:
    """The one rule of every endpoint, and the only one of embeddings."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("model", "it has to be a string")
    if not policy.allows_model(name):
        raise no_such_model(name, "model")


def stream_flag(body: Body) -> None:
    """`stream` decides how an answer is read, so only a real boolean is one."""
    if not isinstance(body.get("stream"), bool | None):
        raise invalid("stream", "it has to be true or false")


def _generation(body: Body, policy: RequestPolicy, caps: tuple[str, ...]) -> None:
    """What the two ways to have text generated have in common."""
    model(body, policy)
    stream_flag(body)
    for name in caps:
        _whole(body, name)
    _tier(body, policy)
    if not policy.stateful:
        _stateless(body)
    stored_references.check(body, policy)


def _whole(body: Body, name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, Number) and value.whole is not None:
        value = body[name] = value.whole
    if type(value) is not int or value < 1:
        raise invalid(name, "it has to be a whole number above 0")
    return value


def _choices(body: Body, policy: RequestPolicy, name: str) -> None:
    wanted = _whole(body, name)
    if wanted is not None and wanted > policy.max_choices:
        raise invalid(name, f"at most {policy.max_choices} choices are allowed")


def _tier(body: Body, policy: RequestPolicy) -> None:
    """No tier means "auto" to OpenAI, which is whatever its console says; so where "auto" is not allowed, one is named."""
    tiers = policy.service_tiers or ("default",)
    tier = body.get("service_tier")
    if tier is None and "auto" not in tiers:
        body["service_tier"] = tiers[0]
    if tier is not None and tier not in tiers:
        raise not_allowed("service_tier", f"this environment allows {', '.join(tiers)}")


def _stateless(body: Body) -> None:
    for name in _STATEFUL_FIELDS:
        if body.get(name) is not None:
            raise not_allowed(name, stored_references.NOTHING_IS_STORED)
    store = body.get("store")
    if store is not None and store is not False:
        raise not_allowed("store", stored_references.NOTHING_IS_STORED)
    # Left out, it means true: always for responses, and for chat in newer accounts.
    # Source: platform.openai.com/docs/guides/migrate-to-responses.
    body["store"] = False
