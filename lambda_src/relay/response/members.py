"""The members of events and bodies that the relay reads: the usage that OpenAI counts, and the error that it tells of. Pure.

Source: platform.openai.com/docs/api-reference: chat/object (usage), responses/object (usage, service_tier),
images/object, audio/json-object. The event "error" of the Responses API is documented flat ({"type": "error", "code",
"message"}) and sent nested ({"type": "error", "error": {...}}).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from relay.models import Json, Usage

BODY_MEMBERS = frozenset({"usage", "model", "service_tier"})
EVENT_MEMBERS = BODY_MEMBERS | {
    *("type", "choices", "error", "code", "message", "param"),
    *("response.usage", "response.model", "response.service_tier"),
}


def error_in(fields: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """The error that an event of a stream carries, in either of its shapes."""
    error = fields.get("error")
    if error:
        return error if isinstance(error, dict) else {"message": error}
    return fields if fields.get("type") == "error" else None


def raises_in_sdks(fields: Mapping[str, Json]) -> bool:
    """Whether OpenAI's SDKs raise on the event. They do not on a flat one (tried with openai-python 3.54)."""
    return bool(fields.get("error"))


def usage_in(fields: Mapping[str, Json]) -> Usage | None:
    """The usage that an event or a body carries, at its top or (Responses) in its `response`; None when it has none."""
    for holder in (fields, fields.get("response")):
        if isinstance(holder, dict) and isinstance(counts := holder.get("usage"), dict):
            return _usage(counts, holder)
    return None


def _usage(counts: Mapping[str, Json], holder: Mapping[str, Json]) -> Usage | None:
    into = _details(counts, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    out = _details(counts, "completion_tokens_details", "output_tokens_details", "output_token_details")
    if counts.get("type") == "duration":
        return _duration(counts, holder)
    if not any(isinstance(counts.get(name), int) for name in ("prompt_tokens", "input_tokens")):
        return None
    return Usage(
        input=_count(counts, "prompt_tokens", "input_tokens"),
        cached_input=_count(into, "cached_tokens"),
        cache_write=_count(into, "cache_write_tokens", "cache_creation_tokens"),
        cache_write_12h=_long_writes(into),
        audio_input=_count(into, "audio_tokens"),
        image_input=_count(into, "image_tokens"),
        output=_count(counts, "completion_tokens", "output_tokens"),
        reasoning=_count(out, "reasoning_tokens"),
        audio_output=_count(out, "audio_tokens"),
        image_output=_count(out, "image_tokens"),
        model=_word(holder.get("model")),
        service_tier=_word(holder.get("service_tier")),
    )


def _duration(counts: Mapping[str, Json], holder: Mapping[str, Json]) -> Usage | None:
    """Of a transcription that is billed by the second."""
    seconds = counts.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 10**9:
        return None
    return Usage(seconds=math.ceil(seconds), model=_word(holder.get("model")))


def _long_writes(into: Mapping[str, Json]) -> int | None:
    """Tokens written into a cache for 12 hours, None where the details do not say."""
    details = into.get("cache_write_tokens_details")
    return _count(details, "ttl_12h_tokens") if isinstance(details, dict) else None


def _details(counts: Mapping[str, Json], *names: str) -> Mapping[str, Json]:
    for name in names:
        details = counts.get(name)
        if isinstance(details, dict):
            return details
    return {}


def _count(counts: Mapping[str, Json], *names: str) -> int:
    for name in names:
        count = counts.get(name)
        # By type, because True is an int too.
        if type(count) is int:
            return max(0, count)
    return 0


def _word(value: Json) -> str:
    return value if isinstance(value, str) else ""
