"""What a request brings that is no text of its body: pictures, sounds, files, stored parts and hosted tools. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.limits.prices import Price

LARGEST_PICTURE = 50_000
"""The dearest picture known: 2,833 + 8 x 5,667 tokens, gpt-4o-mini at high detail.
Source: platform.openai.com/docs/guides/images-vision#calculating-costs."""

BYTES_PER_AUDIO_TOKEN = 50
"""Audio input counts 10 tokens a second; the thinnest MP3 (8 kbit/s) has 1,000 bytes a second, so a token has at least
100. Half of that, to be sure. Source: platform.openai.com/docs/guides/realtime-costs; ISO/IEC 13818-3 (LSF, layer III)."""

PICTURES = ("image_url", "input_image", "computer_screenshot")

CLIENT_SIDE_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch"})
"""Tools that run at the caller's. OpenAI bills all others by the call and feeds what they find back as input."""


class UnboundedError(Exception):
    """Nothing in the request or on the price list bounds its cost. The text says what does not."""


def refuse_hosted_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    kinds = [str(tool.get("type")) for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []
    hosted = [kind for kind in kinds if kind not in CLIENT_SIDE_TOOLS]
    if body.get("web_search_options") is not None:
        hosted.append("web_search_options")
    if hosted:
        raise UnboundedError(f"the hosted tool {hosted[0]!r} is billed by what it does")


def parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
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


def part_beyond_text(part: Mapping[str, Any], price: Price | None) -> int | None:
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
