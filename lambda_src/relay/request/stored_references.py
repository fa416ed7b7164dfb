"""What a body refers to beyond its own text: tools, further models, and things stored at OpenAI. Pure.

Looks everywhere and not only where today's API has such things, because new fields appear without notice. What lies
below a name that holds the caller's own data (a JSON schema, metadata) is not looked at: OpenAI takes no ids there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.request.policy import RequestPolicy, invalid, no_such_model, not_allowed

NOTHING_IS_STORED = "nothing is stored at OpenAI in this environment"

# Names whose value is the caller's own, with keys of its own choice; and two lists of ids that refer to nothing stored.
_CALLERS_OWN = frozenset(
    {"schema", "parameters", "input_schema", "output_schema", "metadata", "arguments", "env", "headers"}
    | {"acknowledged_safety_checks", "pending_safety_checks", "svg_usage"}
)
# Ids that tie together parts of one request. Every other name that ends in "_id" stands for something stored.
_WITHIN_REQUEST = frozenset({"call_id", "tool_call_id", "caller_id", "approval_request_id"})
# Items that OpenAI completes from its store by their id when they come without this.
_COMPLETED = {"reasoning": "encrypted_content", "compaction": "encrypted_content", "image_generation_call": "result"}
# Items that tell what tools a server had; they give the model none.
_TOLD = ("mcp_list_tools",)

_PATH_CHARACTERS = 200
# Not `dict | list`, which makes a new type at each turn: it took half the time of the walk.
_NESTED = (dict, list)

# The place above and the step from there; the body itself is None.
Place = tuple["Place", str | int] | None


def check(body: Mapping[str, Any], policy: RequestPolicy) -> None:
    """Raises RelayError for the first reference in `body` that `policy` does not allow."""
    for place, part in _objects(body):
        _tools(place, part, policy)
        _model(place, part, policy)
        if not policy.stateful:
            _stored(place, part)


def _tools(place: Place, part: Mapping[str, Any], policy: RequestPolicy) -> None:
    tools = part.get("tools")
    if tools is None or part.get("type") in _TOLD:
        return
    if not isinstance(tools, list):
        raise invalid(_path((place, "tools")), "it has to be a list")
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            raise invalid(_path((((place, "tools"), index), "type")), "it has to be a string")
        if kind not in policy.tools:
            allowed = f"tools of type {', '.join(policy.tools)}" if policy.tools else "no tools"
            raise not_allowed(_path(((place, "tools"), index)), f"this environment allows {allowed}")


def _model(place: Place, part: Mapping[str, Any], policy: RequestPolicy) -> None:
    """The model, and any beside it: of a moderation, of an image tool."""
    name = part.get("model")
    if name is None:
        return
    if not isinstance(name, str):
        raise invalid(_path((place, "model")), "it has to be a string")
    if not policy.allows_model(name):
        raise no_such_model(name, _path((place, "model")))


def _stored(place: Place, part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name.endswith(("_id", "_ids")) and name not in _WITHIN_REQUEST and value is not None:
            raise not_allowed(_path((place, name)), NOTHING_IS_STORED)
    if isinstance(part.get("container"), str):
        raise not_allowed(_path((place, "container")), NOTHING_IS_STORED)
    if place is not None and _stands_for_another(part):
        raise not_allowed(_path(place), f"it refers to something stored, and {NOTHING_IS_STORED}")


def _stands_for_another(part: Mapping[str, Any]) -> bool:
    """Whether an item says that it is only a reference, or is an id and nothing that it could be the id of."""
    kind = part.get("type")
    if kind == "item_reference":
        return True
    if part.get("id") is None:
        return False
    if isinstance(kind, str) and kind in _COMPLETED:
        return not part.get(_COMPLETED[kind])
    return not kind and not part.get("role")


def _objects(body: Mapping[str, Any]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every object in `body` with its place, the body first. Iterative: depth is the caller's choice."""
    pending: list[tuple[Place, Any]] = [(None, body)]
    while pending:
        place, here = pending.pop()
        if isinstance(here, dict):
            yield place, here
            inside = [(name, each) for name, each in here.items() if isinstance(each, _NESTED)]
            below = [((place, name), each) for name, each in inside if name not in _CALLERS_OWN]
        else:
            below = [((place, index), each) for index, each in enumerate(here) if isinstance(each, _NESTED)]
        below.reverse()
        pending += below


def _path(place: Place) -> str:
    """ "messages[0].content". Built only for a refusal: names are the caller's, and may be megabytes."""
    steps = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step[:_PATH_CHARACTERS]}")
    return "".join(reversed(steps)).removeprefix(".")[:_PATH_CHARACTERS]
