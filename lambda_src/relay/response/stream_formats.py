"""The formats of OpenAI's event streams: what ends each, and where its text is. Pure.

Chat completions end with the word [DONE]; the others with an event of a certain type. Event names are never
white-listed: new ones appear without notice. Source: platform.openai.com/docs/api-reference, the *-streaming pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.frozen import Frozen
from relay.models import Json
from relay.response.members import error_in


def _no_text(fields: Mapping[str, Json]) -> str:
    return ""


class StreamFormat(Frozen):
    """`terminal_types` end a stream, and so does [DONE] in all of them; `text` is what an event adds to the text, and
    `error` is OpenAI's error object in an event that tells of a failure."""

    name: str
    terminal_types: frozenset[str] = frozenset()
    text: Callable[[Mapping[str, Json]], str] = _no_text
    error: Callable[[Mapping[str, Json]], Mapping[str, Json] | None] = error_in


def _chat_text(fields: Mapping[str, Json]) -> str:
    choices = fields.get("choices")
    parts = []
    for choice in choices if isinstance(choices, list) else ():
        # Only the first choice: two texts typed into one another help nobody.
        if isinstance(choice, dict) and choice.get("index", 0) == 0 and isinstance(delta := choice.get("delta"), dict):
            parts.append(delta.get("content") or delta.get("refusal") or "")
    return "".join(part for part in parts if isinstance(part, str))


def _responses_error(fields: Mapping[str, Json]) -> Mapping[str, Json] | None:
    if fields.get("type") != "response.failed":
        return error_in(fields)
    response = fields.get("response")
    error = response.get("error") if isinstance(response, dict) else None
    return error if isinstance(error, dict) else {"code": "response_failed"}


def _delta(*types: str) -> Callable[[Mapping[str, Json]], str]:
    def text(fields: Mapping[str, Json]) -> str:
        delta = fields.get("delta")
        return delta if fields.get("type") in types and isinstance(delta, str) else ""

    return text


CHAT = StreamFormat(name="chat", text=_chat_text)
RESPONSES = StreamFormat(
    name="responses",
    terminal_types=frozenset({"response.completed", "response.incomplete", "response.failed"}),
    text=_delta("response.output_text.delta", "response.refusal.delta"),
    error=_responses_error,
)
IMAGES = StreamFormat(name="images", terminal_types=frozenset({"image_generation.completed"}))
IMAGE_EDITS = StreamFormat(name="image_edits", terminal_types=frozenset({"image_edit.completed"}))
SPEECH = StreamFormat(name="speech", terminal_types=frozenset({"speech.audio.done"}))
TRANSCRIPTION = StreamFormat(
    name="transcription",
    terminal_types=frozenset({"transcript.text.done"}),
    text=_delta("transcript.text.delta"),
)
