"""What an object in a body refers to at OpenAI: responses, files, vector stores and items that are stored there. Pure.

One key reads what every caller has stored, so where nothing may be stored every reference is refused that is not known to
mean something else.
"""

from __future__ import annotations

from relay.request import known_fields
from relay.request.body_walk import Part, Place, path
from relay.request.policy import not_allowed

NOTHING_IS_STORED = "nothing is stored at OpenAI in this environment (setting `stateful`)"
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


def refuse(place: Place, part: Part) -> None:
    """Raises RelayError if `part`, which stands at `place`, reads what is stored at OpenAI."""
    for name, value in part.items():
        if name.endswith(_ENDS) and name not in WITHIN_REQUEST and value is not None:
            raise not_allowed(path((place, name)), f"it may name something stored, and {NOTHING_IS_STORED}")
    if isinstance(part.get("container"), str):
        raise not_allowed(path((place, "container")), NOTHING_IS_STORED)
    if place is not None and stands_for_another(part):
        raise not_allowed(path(place), f"it refers to something stored, and {NOTHING_IS_STORED}; {_SEND_THE_ITEM}")


def stands_for_another(part: Part) -> bool:
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
    return not isinstance(kind, str) or kind not in known_fields.TEXT_TYPES
