"""How much one request can cost at most, known before it is sent. Pure.

A bound is never an estimate: what cannot be bounded says so, and is refused where a limit needs the figure. Knows
which of a body's fields make an answer dear; knows neither caller nor store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.frozen import EMPTY, Frozen
from relay.limits.policy import Policy
from relay.limits.prices import Price

OVERHEAD = 256
"""Tokens that OpenAI adds around a prompt (roles, separators, tool preamble): some 4 a message and fewer than 100 in
all; each message also spends 25 bytes of JSON that are counted here and become no tokens."""

LARGEST_PICTURE = 50_000
"""The dearest picture known: 2,833 + 8 x 5,667 tokens, gpt-4o-mini at high detail.
Source: platform.openai.com/docs/guides/images-vision#calculating-costs."""

BYTES_PER_AUDIO_TOKEN = 50
"""Audio input counts 10 tokens a second; the thinnest MP3 (8 kbit/s) has 1,000 bytes a second, so a token has at least
100. Half of that, to be sure. Source: platform.openai.com/docs/guides/realtime-costs; ISO/IEC 13818-3 (LSF, layer III)."""

PICTURES = ("image_url", "input_image", "computer_screenshot")

CLIENT_SIDE_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch"})
"""Tools that run at the caller's. OpenAI bills all others by the call and feeds what they find back as input."""


MOST_OUTPUT = 10**9
"""More than any answer; what asks for more means "as much as there is"."""


class UnboundedError(Exception):
    """Nothing in the request or on the price list bounds its cost. The text says what does not."""


class Bound(Frozen):
    """The most that a request can take, and the changes to its body that make this true."""

    tokens_in: int = 0
    tokens_out: int = 0
    usd: int = 0
    tier: str = ""
    characters: int = 0
    changes: Mapping[str, Any] = EMPTY

    @property
    def tokens(self) -> int:
        """What a limit on tokens is charged with until the answer says more."""
        return self.tokens_in + self.tokens_out


_OUTPUT_FIELDS = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/v1/responses": ("max_output_tokens",),
}


def of(endpoint: str, body: Mapping[str, Any], size: int, policy: Policy, price: Price | None) -> Bound:
    """The bound of a request of `size` bytes to `endpoint` ("/v1/responses"), once `policy` has had its word.

    Raises UnboundedError only where `policy` has a limit that needs what is missing; else the missing part is 0.
    """
    limits = policy.limits
    if limits.in_usd and price is None:
        raise UnboundedError("the model has no price")
    changes = clamped(endpoint, body, policy.output_cap)
    tier = tier_of(body)
    if limits.in_usd and tier in ("", "auto") and endpoint in _OUTPUT_FIELDS:
        # "auto" is what the OpenAI project says, which the relay cannot see.
        tier = changes["service_tier"] = "default"
    if limits.in_usd and price is not None and price.rates(tier) is None:
        raise UnboundedError(f"the service tier {tier!r} has no price")
    try:
        tokens_in = _tokens_in(endpoint, body, size, price)
        tokens_out = _tokens_out(endpoint, {**body, **changes}, size, price)
    except UnboundedError:
        if limits.in_tokens:
            raise
        tokens_in = tokens_out = 0
    characters = characters_of(endpoint, body)
    usd = price.at_most(tokens_in, tokens_out, tier, characters) if price else 0
    return Bound(tokens_in=tokens_in, tokens_out=tokens_out, usd=usd, tier=tier, characters=characters, changes=changes)


def tier_of(body: Mapping[str, Any]) -> str:
    """The service tier that was asked for, "" for none."""
    return str(body.get("service_tier") or "")


def characters_of(endpoint: str, body: Mapping[str, Any]) -> int:
    """What of the request is billed by the character."""
    return len(str(body.get("input", ""))) if endpoint == "/v1/audio/speech" else 0


def clamped(endpoint: str, body: Mapping[str, Any], cap: int | None) -> dict[str, Any]:
    """The changes that keep one answer within `cap`: what was asked for is lowered, what was left open is closed."""
    names = _OUTPUT_FIELDS.get(endpoint, ())
    if cap is None or not names:
        return {}
    given = {name: body[name] for name in names if body.get(name) is not None}
    return {name: cap for name, value in given.items() if not _within(value, cap)} if given else {names[0]: cap}


def _within(value: object, cap: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= cap


def _tokens_in(endpoint: str, body: Mapping[str, Any], size: int, price: Price | None) -> int:
    """Every token stands for at least one byte of UTF-8, so the body's size bounds its text; pictures, sounds and
    files are bounded apart. No model takes more than its context, and what it does not take is not billed."""
    context = price.context if price else None
    _refuse_hosted_tools(body)
    total: int | None = size + OVERHEAD
    if endpoint == "/v1/audio/transcriptions" or any(
        body.get(name) for name in ("previous_response_id", "conversation", "prompt") if endpoint == "/v1/responses"
    ):
        total = None
    for part in _parts(body):
        extra = _part(part, price)
        total = None if total is None or extra is None else total + extra
    if total is None and context is None:
        raise UnboundedError(
            "its input holds files or stored parts, and the model has no context size on the price list"
        )
    return min(figure for figure in (total, context) if figure is not None)


def _refuse_hosted_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    kinds = [str(tool.get("type")) for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    hosted = [kind for kind in kinds if kind not in CLIENT_SIDE_TOOLS]
    if body.get("web_search_options") is not None:
        hosted.append("web_search_options")
    if hosted:
        raise UnboundedError(f"the hosted tool {hosted[0]!r} is billed by what it does")


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The content parts of all messages: the only places where OpenAI reads a picture, a sound or a file.

    Anywhere else (a tool's schema, an argument) the same JSON is text, and counts byte by byte.
    """
    for name in ("messages", "input"):
        items = body.get(name)
        for item in items if isinstance(items, list) else ():
            if not isinstance(item, Mapping):
                continue
            for field_name in ("content", "output"):
                parts = item.get(field_name)
                parts = parts if isinstance(parts, list) else [parts]
                yield from (part for part in parts if isinstance(part, Mapping))
            if _brings_more(item):
                yield item


def _brings_more(part: Mapping[str, Any]) -> bool:
    """Whether a part or item brings content that is not text in it."""
    if part.get("type") == "item_reference":
        return True
    return any(part.get(name) is not None for name in ("file", "file_id", "file_url", "file_data", "video_url"))


def _part(part: Mapping[str, Any], price: Price | None) -> int | None:
    """What a content part can take beyond its bytes (less than nothing for data that is no text); None: a context full."""
    kind = part.get("type")
    if kind in PICTURES:
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, Mapping) else url
        if isinstance(url, str):
            largest = price.image_tokens if price else LARGEST_PICTURE
            return largest - (len(url) if url.startswith("data:image/") else 0)
    if kind == "input_audio":
        sound = part.get("input_audio")
        data = sound.get("data") if isinstance(sound, Mapping) else None
        if isinstance(data, str):
            return len(data) // BYTES_PER_AUDIO_TOKEN + 1 - len(data)
    if _brings_more(part) or kind in (*PICTURES, "input_audio"):
        return None
    return 0


def _tokens_out(endpoint: str, body: Mapping[str, Any], size: int, price: Price | None) -> int:
    """What the answers can hold together: each what was asked for, at most what the model can give."""
    if endpoint == "/v1/images/generations":
        return _pictures(body, price)
    if endpoint == "/v1/audio/speech":
        if price is None or not any(rates.character or rates.request for rates in price.tiers.values()):
            raise UnboundedError(
                "speech is billed by the sound that comes out, and the model has no price by character"
            )
        return 0
    if endpoint in ("/v1/embeddings", "/v1/moderations"):
        return 0
    given = [body[name] for name in _OUTPUT_FIELDS.get(endpoint, ()) if body.get(name) is not None]
    ceiling = price.max_output if price else None
    # Where both of chat's names are given the larger counts, and what is no number counts as the model's most.
    asked = max(given) if given and all(_within(value, MOST_OUTPUT) for value in given) else ceiling
    most = min((figure for figure in (asked, ceiling) if figure is not None), default=None)
    if most is None:
        raise UnboundedError("its output is not capped: give max_completion_tokens or max_output_tokens")
    answers = body.get("n") if isinstance(body.get("n"), int) else 1
    # Words of a prediction that the model did not take are billed as output.
    predicted = size if body.get("prediction") is not None else 0
    return most * max(1, answers or 1) + predicted


def _pictures(body: Mapping[str, Any], price: Price | None) -> int:
    """Tokens of the pictures: the largest size at the highest quality, and 100 for each partial one on the way.
    Source: platform.openai.com/docs/guides/image-generation#cost-and-latency."""
    if price is None or price.output_per_image is None:
        raise UnboundedError("the model has no largest picture on the price list")
    answers = body.get("n") if isinstance(body.get("n"), int) else 1
    partial = body.get("partial_images") if isinstance(body.get("partial_images"), int) else 0
    return max(1, answers or 1) * (price.output_per_image + 100 * max(0, partial or 0))
