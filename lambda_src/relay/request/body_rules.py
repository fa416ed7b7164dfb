"""What the fields of each endpoint's body may say: checks a parsed body and changes it to what may be sent. Pure.

One function per endpoint, named in the table of endpoints. All of them raise RelayError that names the field. What may stand
anywhere in a body (tools, models, references) is looked for by relay.request.contents.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from relay.formats.strict_json import Number
from relay.limits.cost_bound import CHAT, RESPONSES
from relay.models import Json
from relay.request.known_fields import PICTURE_FIELDS
from relay.request.policy import NOTHING_IS_STORED, RequestPolicy, invalid, not_allowed

Body = dict[str, Json]
BodyRules = Callable[[Body, RequestPolicy], None]

# Top-level fields that read or write stored state, beside those whose name says that they are ids.
_STATEFUL_FIELDS = ("conversation", "prompt")
ENCRYPTED_REASONING = "reasoning.encrypted_content"
# Models that take it; others answer 400 "Encrypted content is not supported with this model". What is not known to take it is
# not asked for it.
_REASONING_MODEL = re.compile(r"(ft:)?(o\d|codex-|gpt-([5-9]|\d\d)(?!.*(chat|search|image|audio|realtime)))")


def chat(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/chat/completions. Asks for usage in streams; whether the caller did is the caller's to remember."""
    stored_by_default = _generation(body, policy, CHAT.output_caps)
    _choices(body, policy)
    if stored_by_default:
        # OpenAI keeps it with what is stored, and refuses it where nothing is.
        body.pop("metadata", None)
    if body.get("web_search_options") is not None and "web_search" not in policy.tools:
        raise not_allowed("web_search_options", "this environment does not allow web_search (setting `tools`)")
    if body.get("stream") is True:
        options = body.get("stream_options")
        if options is not None and not isinstance(options, dict):
            raise invalid("stream_options", "it has to be an object")
        body["stream_options"] = {**(options or {}), "include_usage": True}


def responses(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/responses."""
    if _generation(body, policy, RESPONSES.output_caps):
        _keep_reasoning(body)
    background = body.get("background")
    if background is not None and background is not False:
        # A background job goes on after the connection has ended, so neither usage nor limits could see it.
        raise invalid("background", "background responses are not allowed")


def input_tokens(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/responses/input_tokens, which counts what a request would hold and generates nothing."""
    model(body, policy)
    if not policy.stateful:
        _refuse_stored(body)


def compaction(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/responses/compact, which has no `store` and no cap, and does not stream."""
    input_tokens(body, policy)
    _tier(body, policy)


def images(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/images/generations."""
    model(body, policy)
    stream_flag(body)
    _choices(body, policy)
    _whole(body, "partial_images", least=0)


def image_edits(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/images/edits: JSON, or the text fields of a form, in which numbers and flags come as words."""
    model(body, policy)
    for name in PICTURE_FIELDS:
        value = body.get(name)
        # A form's file is an empty text here.
        if any(isinstance(each, str) and each for each in (value if isinstance(value, list) else [value])):
            raise invalid(name, "it has to be an object with an image_url, or a file of a form")
    if body.get("stream") not in ("true", "false"):
        stream_flag(body)
    for name in ("n", "partial_images"):
        word = body.get(name)
        if isinstance(word, str) and re.fullmatch("[0-9]{1,9}", word):
            body[name] = int(word)
    _choices(body, policy)
    _whole(body, "partial_images", least=0)


def speech(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/audio/speech, which streams as events only when `stream_format` says so."""
    model(body, policy)
    if body.get("stream_format") not in (None, "audio", "sse"):
        raise invalid("stream_format", 'it has to be "audio" or "sse"')


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
    """The one rule of every endpoint, and the only one of embeddings. Which model it is, is held against the policy later."""
    if body.get("model") is None:
        raise invalid("model", "it has to be a string")


def stream_flag(body: Body) -> None:
    """`stream` decides how a response is read, so only a real boolean is one."""
    if not isinstance(body.get("stream"), bool | None):
        raise invalid("stream", "it has to be true or false")


def _generation(body: Body, policy: RequestPolicy, caps: tuple[str, ...]) -> bool:
    """What the two ways to have text generated have in common. Gives whether the caller left `store` to OpenAI's default
    and the relay has set it."""
    model(body, policy)
    stream_flag(body)
    for name in caps:
        _whole(body, name)
    _tier(body, policy)
    return not policy.stateful and _stateless(body)


def _whole(body: Body, name: str, least: int = 1) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, Number) and value.whole is not None:
        value = body[name] = value.whole
    if type(value) is not int or value < least:
        raise invalid(name, f"it has to be a whole number of at least {least}")
    return value


def _choices(body: Body, policy: RequestPolicy) -> None:
    choices = _whole(body, "n")
    if choices is not None and choices > policy.max_choices:
        raise invalid("n", f"this environment allows at most {policy.max_choices} (setting `max_choices`)")


def _tier(body: Body, policy: RequestPolicy) -> None:
    """No tier means "auto" to OpenAI, which is whatever its console says; so where "auto" is not allowed, one is named."""
    tiers = policy.service_tiers or ("default",)
    tier = body.get("service_tier")
    if tier is None and "auto" not in tiers:
        body["service_tier"] = tiers[0]
    if tier is not None and tier not in tiers:
        raise not_allowed("service_tier", f"this environment allows {', '.join(tiers)} (setting `service_tiers`)")


def _refuse_stored(body: Body) -> None:
    for name in _STATEFUL_FIELDS:
        if body.get(name) is not None:
            raise not_allowed(name, NOTHING_IS_STORED)


def _stateless(body: Body) -> bool:
    _refuse_stored(body)
    store = body.get("store")
    if store is not None and store is not False:
        raise not_allowed("store", NOTHING_IS_STORED)
    # Left out, it means true: always for responses, and for chat in newer accounts.
    # Source: platform.openai.com/docs/guides/migrate-to-responses.
    body["store"] = False
    return store is None


def _keep_reasoning(body: Body) -> None:
    """Asks for what lets the next turn send this one's reasoning back, which OpenAI does not find where nothing is stored."""
    include = body.get("include") or []
    if not isinstance(include, list) or not _REASONING_MODEL.match(str(body["model"])):
        return
    if ENCRYPTED_REASONING not in include:
        body["include"] = [*include, ENCRYPTED_REASONING]
