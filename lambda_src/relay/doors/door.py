"""What a door is: which of Lambda's events it takes, and the HTTP request in one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.frozen import Frozen
from relay.models import Json, Request


class Door(Frozen):
    """One way in. `takes` tells from the shape of an event, a JSON object, whether it came through this door.

    `to_request` gives the HTTP request in such an event under a given id, with the caller as AWS wrote it there. It raises
    RelayError(NO_IDENTITY) where AWS has verified nobody, whatever else the event says.

    `alias` is the function's alias by which alone events of this door come; "" where they come by any other name. Lambda
    says by which name it was asked for, so that a permission on one name opens one door.
    """

    takes: Callable[[Mapping[str, Json]], bool]
    to_request: Callable[[Mapping[str, Json], str], Request]
    alias: str = ""
