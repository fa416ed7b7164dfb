"""What a body holds: tools, models and references to be held against the environment's rules, and all that costs more than
its own text. Found in one walk that rules, bound and lists of models share. Pure.

Tokens of what is text are bounded by its bytes; what is not known to be text is not bounded by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.formats import recording
from relay.limits.sent_body import Contents
from relay.models import Json
from relay.request import known_fields, stored_references
from relay.request.body_walk import Part, Place, objects, path
from relay.request.policy import NAME, RequestPolicy, invalid, no_such_model, not_allowed

if TYPE_CHECKING:
    from relay.formats import multipart

# Items that tell what tools a server had; they give the model none.
_TOLD = ("mcp_list_tools",)
# Objects of these names are weighed with the part that they stand in.
_WEIGHED_ABOVE = ("image_url", "input_audio", "file")
_CLIENT_SIDE_WHEN = {"tool_search": ("execution", "client"), "shell": ("environment", "local")}


def inspect(body: dict[str, Json], policy: RequestPolicy, known: frozenset[str]) -> Contents:
    """The contents of `body`, whose top-level fields are `known` to be bounded by the endpoint's rules.

    Raises RelayError for the first thing that `policy` does not allow.
    """
    contents = Contents()
    for place, part in objects(body):
        if part.get("tools") is not None and part.get("type") not in _TOLD:
            _tools(place, part["tools"], policy, contents)
        if part.get("model") is not None:
            contents.models.append(model_name(part["model"], (place, "model"), policy))
        if not policy.stateful:
            stored_references.refuse(place, part)
        elif place is not None and stored_references.stands_for_another(part):
            contents.fills_context = True
        _weigh(place, part, known, contents)
    return contents


def model_name(name: Json, place: Place, policy: RequestPolicy) -> str:
    """`name` if it can be a model's name and the environment allows it. Raises RelayError."""
    if not isinstance(name, str):
        raise invalid(path(place), "it has to be a string")
    if not NAME.fullmatch(name):
        raise invalid(path(place), "a model's name has 1 to 128 letters, digits and any of . _ : / @ + -")
    if not policy.allows_model(name):
        raise no_such_model(name, path(place))
    return name


def _tools(place: Place, tools: Json, policy: RequestPolicy, contents: Contents) -> None:
    if not isinstance(tools, list):
        raise invalid(path((place, "tools")), "it has to be a list")
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str) or not isinstance(tool, dict):
            raise invalid(path((((place, "tools"), index), "type")), "it has to be a string")
        here = ((place, "tools"), index)
        if kind not in policy.tools:
            allows = f"allows {', '.join(policy.tools)}" if policy.tools else "allows none"
            why = f"it is a tool of type {kind[:64]!r}, and this environment {allows} (setting `tools`)"
            raise not_allowed(path(here), why)
        if kind not in known_fields.CLIENT_SIDE_TOOLS and not _runs_at_the_callers(kind, tool):
            contents.cannot_bound(f"'{path(here)}', the hosted tool {kind[:64]!r}, is billed by what it does")


def _runs_at_the_callers(kind: str, tool: Part) -> bool:
    name, where = _CLIENT_SIDE_WHEN.get(kind, ("", ""))
    value = tool.get(name)
    return bool(name) and where == (value.get("type") if isinstance(value, dict) else value)


def _weigh(place: Place, part: Part, known: frozenset[str], contents: Contents) -> None:
    """Adds to `contents` what `part` brings beyond its text."""
    if place is not None and place[1] in _WEIGHED_ABOVE:
        return
    kind = part.get("type")
    if kind is not None and not isinstance(kind, str):
        kind = type(kind).__name__
    unknown = part.keys() - (known if place is None else known_fields.TEXT_FIELDS)
    brings = {name for name in unknown if part[name] is not None} if unknown else unknown
    if kind and kind not in known_fields.TEXT_TYPES:
        brings -= _media(kind, place, part, contents)
    elif kind in known_fields.TEXT_IN:
        brings -= known_fields.TEXT_IN[kind]
    if brings & known_fields.FILE_FIELDS:
        contents.fills_context = True
        brings -= known_fields.FILE_FIELDS
    if brings:
        contents.cannot_bound(f"nothing bounds what '{path((place, min(brings)))}' costs")
    _options(place, part, contents)


def _options(place: Place, part: Part, contents: Contents) -> None:
    """Values of known fields that make a request cost what its bound does not know."""
    if part.get("ttl") == "12h":
        contents.long_cache = True
    elif part.get("ttl") not in (None, "30m"):
        contents.cannot_bound(f'\'{path((place, "ttl"))}\' other than "30m" and "12h" has no price on the list')
    if part.get("prewarm") not in (None, False):
        contents.cannot_bound(f"'{path((place, 'prewarm'))}' fills the cache at a price of its own")
    if place is None:
        contents.fills_context |= any(part.get(name) for name in ("previous_response_id", "conversation"))
    elif place[1] == "reasoning" and part.get("mode") not in (None, "standard"):
        contents.cannot_bound(f"'{path((place, 'mode'))}' other than \"standard\" runs several passes")


def _media(kind: str, place: Place, part: Part, contents: Contents) -> frozenset[str]:
    """Weighs a part of a type that is not text. Gives the fields that are weighed with it."""
    if kind in known_fields.PICTURES:
        return _picture(part, contents)
    if kind == "input_audio":
        return _sound(part, contents)
    if kind == "image_generation_call":
        # With its result it is a picture; without, OpenAI takes it from its store.
        result = part.get("result")
        if isinstance(result, str) and result:
            contents.pictures += 1
            contents.binary += len(result)
        return frozenset({"result"})
    if kind in known_fields.FILES or kind in known_fields.STORED_ITEMS:
        contents.fills_context = True
    else:
        contents.cannot_bound(f"nothing bounds what '{path(place)}', of the type {kind[:64]!r}, costs")
    return frozenset()


def _picture(part: Part, contents: Contents) -> frozenset[str]:
    url = part.get("image_url", part.get("url"))
    if isinstance(url, dict) and url.keys() <= {"url", "detail"}:
        url = url.get("url")
    if isinstance(url, str):
        contents.pictures += 1
        if url.startswith("data:image/") and "image_url" in part:
            contents.binary += len(url)
    elif url is not None or not part.get("file_id"):
        return frozenset()
    return frozenset({"image_url", "url"})


def _sound(part: Part, contents: Contents) -> frozenset[str]:
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


def inspect_form(parts: Sequence[multipart.Part], known: frozenset[str], contents: Contents) -> None:
    """Adds what the fields of a form bring, of which the text has been inspected: its recording."""
    for part in parts:
        name = part.name.partition("[")[0]
        if name not in known:
            contents.cannot_bound(f"nothing bounds what '{name}' costs")
        if part.filename is None:
            continue
        tokens = recording.most_tokens(part.value)
        if tokens is None or name != "file":
            contents.fills_context = True
        else:
            contents.audio_tokens += tokens
        contents.binary += len(part.value)
