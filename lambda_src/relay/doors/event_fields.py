"""What the events of several AWS front ends have in common: a body, as text or base64, and objects in objects. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from relay.errors import ErrorKind, RelayError
from relay.frozen import EMPTY
from relay.models import Json


def object_at(fields: Mapping[str, Json], *names: str) -> Mapping[str, Json]:
    """The object that is found in `fields` by these names, one below the other; an empty one where there is none."""
    for name in names:
        below = fields.get(name)
        fields = below if isinstance(below, dict) else EMPTY
    return fields


def body(event: Mapping[str, Json]) -> bytes:
    """The body of the HTTP request in `event`. Raises RelayError(BAD_REQUEST) when it cannot be decoded."""
    text = event.get("body")
    if text is None:
        return b""
    if not isinstance(text, str):
        raise RelayError(ErrorKind.BAD_REQUEST, "The request body could not be read.", log="body is not a string")
    encoded = event.get("isBase64Encoded", False)
    if encoded is not True:
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise RelayError(ErrorKind.BAD_REQUEST, "The request body is not valid UTF-8.") from error
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RelayError(ErrorKind.BAD_REQUEST, "The request body could not be read.", log="bad base64") from error
