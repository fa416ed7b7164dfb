"""The ways in: each turns Lambda's event into a `Request`, and says whether it came the way it had to.

A door is one file that makes a `Door`: the Function URL's is always there, the API's where the settings name an API.
Knows nothing of OpenAI or limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from relay.doors import function_url
from relay.doors.door import Door
from relay.errors import NotHttpError
from relay.models import Json, Request

DOORS = (function_url.DOOR,)


def to_request(event: bytes, request_id: str, doors: Sequence[Door] = DOORS, *, function_arn: str = "") -> Request:
    """The HTTP request in `event`, by the one door that takes it, of those for the name by which the function was invoked.

    Raises NotHttpError when none does, as with an event that somebody invoked the function with. So it does when several do:
    no service of AWS's writes such an event, and who the caller is would depend on the door that is asked first. Raises
    what the door raises.
    """
    fields = _load(event)
    alias = _alias(function_arn)
    named = [door for door in doors if door.alias and door.alias == alias]
    takers = [door for door in named or [door for door in doors if not door.alias] if door.takes(fields)]
    if len(takers) != 1:
        why = "is no HTTP request" if not takers else "has the shapes of several doors"
        raise NotHttpError(f"the event {why}")
    return takers[0].to_request(fields, request_id)


def _alias(function_arn: str) -> str:
    """The qualifier of arn:aws:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER, "" when it has none."""
    parts = function_arn.split(":")
    return parts[7] if len(parts) == 8 else ""


def _load(event: bytes) -> Mapping[str, Json]:
    try:
        fields: Json = json.loads(event)
    except (ValueError, RecursionError) as error:
        raise NotHttpError("the event is not JSON") from error
    if not isinstance(fields, dict):
        raise NotHttpError("the event is not a JSON object")
    return fields
