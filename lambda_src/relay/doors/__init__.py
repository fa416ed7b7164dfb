"""The ways in: each turns Lambda's event into a `Request`, and says whether it came the way it had to.

A door is one file with its `DOOR`, and its line in `DOORS`. Knows nothing of OpenAI or limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from relay.doors import function_url
from relay.doors.door import Door
from relay.errors import NotHttpError
from relay.models import Json, Request

DOORS = (function_url.DOOR,)


def to_request(event: bytes, request_id: str, doors: Sequence[Door] = DOORS) -> Request:
    """The HTTP request in `event`, by the one door that takes it.

    Raises NotHttpError when none does, as with an event that somebody invoked the function with. So it does when several do:
    no service of AWS's writes such an event, and who the caller is would depend on the door that is asked first. Raises
    what the door raises.
    """
    fields = _load(event)
    takers = [door for door in doors if door.takes(fields)]
    if len(takers) != 1:
        why = "is no HTTP request" if not takers else "has the shapes of several doors"
        raise NotHttpError(f"the event {why}")
    return takers[0].to_request(fields, request_id)


def _load(event: bytes) -> Mapping[str, Json]:
    try:
        fields: Json = json.loads(event)
    except (ValueError, RecursionError) as error:
        raise NotHttpError("the event is not JSON") from error
    if not isinstance(fields, dict):
        raise NotHttpError("the event is not a JSON object")
    return fields
