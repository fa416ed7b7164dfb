"""What a body holds: tools, models and references to be held against the environment's rules, and all that costs more than
its own text. Found in one walk that rules, bound and lists of models share. Pure.

The walk looks everywhere and not only where today's API has something to find, because new fields appear without notice. Below
the names of CALLERS_OWN callers choose the keys (a JSON schema, metadata): OpenAI reads no ids and no content there.

One key reads what every caller has stored, so where nothing may be stored every reference is refused that is not known to
mean something else. Tokens of what is text are bounded by its bytes; what is not known to be text is not bounded by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relay.limits.sent_body import Contents
from relay.models import Json
from relay.request import known_fields, media
from relay.request.policy import NAME, NOTHING_IS_STORED, RequestPolicy, invalid, no_such_model, not_allowed

CALLERS_OWN = frozenset(
    {"schema", "parameters", "input_schema", "output_schema", "metadata", "arguments", "env", "headers", "logit_bias"}
    | {"acknowledged_safety_checks", "pending_safety_checks", "svg_usage", "attributes"}
    # Codex's telemetry: ids of its own threads and turns.
    | {"client_metadata", "internal_chat_message_metadata_passthrough"}
)
# Items that tell what tools a server had; they give the model none.
_TOLD = ("mcp_list_tools",)
# Objects of these names are weighed with the part that they stand in.
_WEIGHED_ABOVE = ("image_url", "input_audio", "file")
# A GIF is 2 to 16 of them, and an SVG is written by a second model. Source: openai-python, types/image_generate_params.py.
_ONE_PICTURE = ("png", "jpeg", "webp")
_CLIENT_SIDE_WHEN = {"tool_search": ("execution", "client"), "shell": ("environment", "local")}
_SEND_THE_ITEM = (
    'send the item itself: with `store: false` and `include: ["reasoning.encrypted_content"]` a response holds all that the '
    "next turn needs (AI SDK: providerOptions.openai.store = false)"
)
# Ids that tie together parts of one request or name a service of OpenAI's. Every other field that ends in "_id" may stand for
# something that another caller has stored, whether or not it is known today.
WITHIN_REQUEST = frozenset({"call_id", "tool_call_id", "caller_id", "approval_request_id", "connector_id"})
_ENDS = ("_id", "_ids")
# Items that OpenAI completes from its store by their id when they come without this.
_COMPLETED = {"reasoning": "encrypted_content", "compaction": "encrypted_content", "image_generation_call": "result"}
_PATH_CHARACTERS = 200
# Not `dict | list`, which makes a new type at each turn: it took half the time of the walk.
_NESTED = frozenset({dict, list})

Place = tuple["Place", str | int] | None
"""The place above and the step from there; the body itself is None."""

Part = Mapping[str, Json]
"""An object in a body."""


def inspect(body: dict[str, Json], policy: RequestPolicy, known: frozenset[str]) -> Contents:
    """The contents of `body`, whose top-level fields are `known` to be bounded by the endpoint's rules.

    Raises RelayError for the first thing that `policy` does not allow.
    """
    contents = Contents()
    for place, part in _objects(body):
        if part.get("tools") is not None and part.get("type") not in _TOLD:
            _tools(place, part["tools"], policy, contents)
        if part.get("model") is not None:
            contents.models.append(model_name(part["model"], (place, "model"), policy))
        if not policy.stateful:
            _refuse_reference(place, part)
        elif place is not None and _stands_for_another(part):
            contents.fills_context = True
        _weigh(place, part, known, contents)
    return contents


def _objects(body: Part) -> Iterator[tuple[Place, Part]]:
    """Every object in `body` with its place, the body first. Iterative: depth is the caller's choice."""
    pending: list[tuple[Place, Json]] = [(None, dict(body))]
    while pending:
        place, here = pending.pop()
        below: list[tuple[Place, Json]] = []
        if isinstance(here, dict):
            yield place, here
            below = [
                ((place, name), each)
                for name, each in here.items()
                if type(each) in _NESTED and name not in CALLERS_OWN
            ]
        elif isinstance(here, list) and not _NESTED.isdisjoint(map(type, here)):
            below = [((place, index), each) for index, each in enumerate(here) if type(each) in _NESTED]
        below.reverse()
        pending += below


def path(place: Place) -> str:
    """ "messages[0].content". Built only for a refusal: names are the caller's, and may be megabytes."""
    steps = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step[:_PATH_CHARACTERS]}")
    return "".join(reversed(steps)).removeprefix(".")[:_PATH_CHARACTERS]


def model_name(name: Json, place: Place, policy: RequestPolicy) -> str:
    """`name` if it can be a model's name and the environment allows it. Raises RelayError."""
    if not isinstance(name, str):
        raise invalid(path(place), "it has to be a string")
    if not NAME.fullmatch(name):
        raise invalid(path(place), "a model's name has 1 to 128 letters, digits and any of . _ : / @ + -")
    if not policy.allows_model(name):
        raise no_such_model(name, path(place))
    return name


def _refuse_reference(place: Place, part: Part) -> None:
    """Raises RelayError if `part`, which stands at `place`, reads what is stored at OpenAI."""
    for name, value in part.items():
        if name.endswith(_ENDS) and name not in WITHIN_REQUEST and value is not None:
            raise not_allowed(path((place, name)), f"it may name something stored, and {NOTHING_IS_STORED}")
    if isinstance(part.get("container"), str):
        raise not_allowed(path((place, "container")), NOTHING_IS_STORED)
    if place is not None and _stands_for_another(part):
        cure = f"; {_SEND_THE_ITEM}" if isinstance(place[1], int) else ""
        raise not_allowed(path(place), f"it refers to something stored, and {NOTHING_IS_STORED}{cure}")


def _stands_for_another(part: Part) -> bool:
    """Whether an item says that it is only a reference, or has an id and is not known to be more than that."""
    kind = part.get("type")
    if kind == "item_reference":
        return True
    if part.get("id") is None:
        return False
    if isinstance(kind, str) and kind in _COMPLETED:
        return not part.get(_COMPLETED[kind])
    if not kind or kind == "message":
        return not part.get("role") or part.get("content") is None
    return not isinstance(kind, str) or kind not in known_fields.TEXT_TYPES | {known_fields.COMPACTS}


def _tools(place: Place, tools: Json, policy: RequestPolicy, contents: Contents) -> None:
    if not isinstance(tools, list):
        raise invalid(path((place, "tools")), "it has to be a list")
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str) or not isinstance(tool, dict):
            raise invalid(path((((place, "tools"), index), "type")), "it has to be a string")
        here = ((place, "tools"), index)
        at_the_callers = kind in known_fields.CLIENT_SIDE_TOOLS or _runs_at_the_callers(kind, tool)
        if not _is_allowed(kind, policy, at_the_callers=at_the_callers):
            allows = f"allows {', '.join(policy.tools)}" if policy.tools else "allows none"
            why = f"it is a tool of type {kind[:64]!r}, and this environment {allows} (setting `tools`)"
            raise not_allowed(path(here), why)
        if not at_the_callers:
            contents.cannot_bound(f"'{path(here)}', the hosted tool {kind[:64]!r}, is billed by what it does")


def _runs_at_the_callers(kind: str, tool: Part) -> bool:
    name, where = _CLIENT_SIDE_WHEN.get(kind, ("", ""))
    value = tool.get(name)
    return bool(name) and where == (value.get("type") if isinstance(value, dict) else value)


def _is_allowed(kind: str, policy: RequestPolicy, *, at_the_callers: bool) -> bool:
    """By its type, or by "shell:local" and the like, which allow a type only so far as it runs at the caller's."""
    if kind in policy.tools:
        return ":" not in kind
    return at_the_callers and kind in _CLIENT_SIDE_WHEN and f"{kind}:{_CLIENT_SIDE_WHEN[kind][1]}" in policy.tools


def _weigh(place: Place, part: Part, known: frozenset[str], contents: Contents) -> None:
    """Adds to `contents` what `part` brings beyond its text."""
    if place is not None and place[1] in _WEIGHED_ABOVE:
        return
    # What an error is called is anybody's text.
    kind = part.get("type") if place is None or place[1] != "error" else None
    if kind is not None and not isinstance(kind, str):
        kind = type(kind).__name__
    if kind is None and _is_picture(place):
        kind = "image"
    unknown = part.keys() - (known if place is None else known_fields.TEXT_FIELDS)
    brings = {name for name in unknown if part[name] is not None} if unknown else unknown
    if kind and kind not in known_fields.TEXT_TYPES:
        weighed = media.weigh(kind, part, contents)
        if weighed is not None:
            brings -= weighed
        elif kind == known_fields.COMPACTS:
            contents.compacts = True
        elif kind in known_fields.FILES or kind in known_fields.STORED_ITEMS:
            contents.fills_context = True
        else:
            contents.cannot_bound(f"nothing bounds what '{path(place)}', of the type {kind[:64]!r}, costs")
    elif kind in known_fields.TEXT_IN:
        brings -= known_fields.TEXT_IN[kind]
    if brings & known_fields.FILE_FIELDS:
        contents.fills_context = True
        brings -= known_fields.FILE_FIELDS
    if brings:
        contents.cannot_bound(f"nothing bounds what '{path((place, min(brings)))}' costs")
    _options(place, part, contents)


def _is_picture(place: Place) -> bool:
    """Whether `place` is that of a picture by its field alone, as "mask" and "images[0]" are."""
    if place is not None and place[0] is not None and isinstance(place[1], int):
        place = place[0]
    return place is not None and place[0] is None and place[1] in known_fields.PICTURE_FIELDS


def _options(place: Place, part: Part, contents: Contents) -> None:
    """Values of known fields that make a request cost what its bound does not know."""
    if part.get("ttl") == "12h":
        contents.long_cache = True
    elif part.get("ttl") not in (None, "30m"):
        contents.cannot_bound(f'\'{path((place, "ttl"))}\' other than "30m" and "12h" has no price on the list')
    if part.get("prewarm") not in (None, False):
        contents.cannot_bound(f"'{path((place, 'prewarm'))}' fills the cache at a price of its own")
    if place is None:
        if part.get("output_format") not in (None, *_ONE_PICTURE):
            contents.cannot_bound('\'output_format\' other than "png", "jpeg" and "webp" is more than one picture')
        contents.fills_context |= any(part.get(name) for name in ("previous_response_id", "conversation"))
    elif place[1] == "reasoning" and part.get("mode") not in (None, "standard"):
        contents.cannot_bound(f"'{path((place, 'mode'))}' other than \"standard\" runs several passes")
