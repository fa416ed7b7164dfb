"""The parts of a body that bring more than their text: pictures, sound and recordings, weighed for the bound. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from relay.formats import recording
from relay.limits.sent_body import Contents
from relay.models import Json
from relay.request.known_fields import PICTURE_FIELDS, PICTURES
from relay.request.policy import invalid

if TYPE_CHECKING:
    from relay.formats import multipart

# "svg[model]", "images[0][file_id]": what in a body of JSON is held against the environment's rules.
_NAMES_ANOTHER = re.compile(r"\[(model|\w*_ids?)\]")


# What is surely one picture; a GIF may be many, and drawings (SVG) and other formats are what nobody has looked at. OpenAI
# documents PNG, JPEG, WEBP and GIFs that do not move. Source: platform.openai.com/docs/guides/images-vision.
_ONE_PICTURE = re.compile(r"data:image/(png|jpe?g|webp)[;,]")
_GIF = "R0lGOD"  # in base64
_LONGEST_HEAD = 100  # characters before a data URL's comma


def weigh(kind: str, part: Mapping[str, Json], contents: Contents) -> frozenset[str] | None:
    """Adds to `contents` a part of the type `kind`. Gives the fields that are weighed with it; None where it is no picture
    and no sound."""
    if kind in PICTURES:
        return _picture(part, contents)
    if kind == "input_audio":
        return _sound(part, contents)
    if kind == "image_generation_call":
        # With its result it is a picture; without, OpenAI takes it from its store.
        result = part.get("result")
        if isinstance(result, str) and result:
            contents.pictures += 1
            contents.binary += len(result)
            contents.fills_context |= result.startswith(_GIF)
        return frozenset({"result"})
    return None


def _picture(part: Mapping[str, Json], contents: Contents) -> frozenset[str]:
    url = part.get("image_url", part.get("url"))
    if isinstance(url, dict) and url.keys() <= {"url", "detail"}:
        url = url.get("url")
    if isinstance(url, str):
        contents.pictures += 1
        if _ONE_PICTURE.match(url) and not url[:_LONGEST_HEAD].partition(",")[2].startswith(_GIF):
            contents.binary += len(url) if "image_url" in part else 0
        elif url[:5].lower() == "data:":
            contents.fills_context = True
    elif url is not None or not part.get("file_id"):
        return frozenset()
    return frozenset({"image_url", "url"})


def _sound(part: Mapping[str, Json], contents: Contents) -> frozenset[str]:
    sound = part.get("input_audio")
    data = sound.get("data") if isinstance(sound, dict) and sound.keys() <= {"data", "format"} else None
    if not isinstance(data, str):
        return frozenset()
    tokens = recording.most_tokens_of_base64(data)
    if tokens is None:
        contents.fills_context = True
    else:
        contents.audio_tokens += tokens
        contents.binary += len(data)
    return frozenset({"input_audio"})


def weigh_form(parts: Sequence[multipart.Part], known: frozenset[str], contents: Contents) -> None:
    """Adds what the fields of a form bring, of which the plain ones have been inspected: its recording, its pictures.

    Raises RelayError for what names a model or something stored inside a field, and for a picture that is no file.
    """
    for part in parts:
        name = part.name.partition("[")[0]
        if _NAMES_ANOTHER.search(part.name):
            raise invalid(part.name, "a form cannot say it; send it in a body of JSON")
        if name not in known:
            contents.cannot_bound(f"nothing bounds what '{name}' costs")
        if name in PICTURE_FIELDS:
            if part.filename is None:
                raise invalid(name, "in a form it has to be a file")
            contents.pictures += 1
            contents.binary += len(part.value)
            contents.fills_context |= part.value.startswith(b"GIF8")
            continue
        if part.filename is None:
            continue
        tokens = recording.most_tokens(part.value)
        if tokens is None or name != "file":
            contents.fills_context = True
        else:
            contents.audio_tokens += tokens
        contents.binary += len(part.value)
