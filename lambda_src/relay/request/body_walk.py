"""The walk over a parsed body: every object in it with its place, but what lies below a name that is the caller's own.

It looks everywhere and not only where today's API has something to find, because new fields appear without notice. Below
the names of CALLERS_OWN callers choose the keys (a JSON schema, metadata): OpenAI reads no ids and no content there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relay.models import Json

CALLERS_OWN = frozenset(
    {"schema", "parameters", "input_schema", "output_schema", "metadata", "arguments", "env", "headers", "logit_bias"}
    | {"acknowledged_safety_checks", "pending_safety_checks", "svg_usage", "attributes"}
    # Codex's telemetry: ids of its own threads and turns.
    | {"client_metadata", "internal_chat_message_metadata_passthrough"}
)
_PATH_CHARACTERS = 200
# Not `dict | list`, which makes a new type at each turn: it took half the time of the walk.
_NESTED = frozenset({dict, list})

Place = tuple["Place", str | int] | None
"""The place above and the step from there; the body itself is None."""

Part = Mapping[str, Json]
"""An object in a body."""


def objects(body: Part) -> Iterator[tuple[Place, Part]]:
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
