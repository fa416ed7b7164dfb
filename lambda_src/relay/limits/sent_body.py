"""The body that will be sent, and what it holds beside its text: all that a bound of its cost has to know. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from relay.frozen import Frozen
from relay.models import Json


class Contents:
    """What a body holds beside its text, filled by the walk over it.

    `models` are all that it names. `pictures` and `audio_tokens` are counts; `binary` are the bytes of the body that are
    neither text nor billed as such. `long_cache`: the prompt is to be kept for 12 hours. `fills_context`: files or stored
    items, of unknown size. `compacts`: the context is compacted before the response. `unbounded` says what it is whose cost
    nothing bounds, "" when there is no such thing.
    """

    def __init__(self) -> None:
        self.models: list[str] = []
        self.pictures = 0
        self.audio_tokens = 0
        self.binary = 0
        self.long_cache = False
        self.fills_context = False
        self.compacts = False
        self.unbounded = ""

    def cannot_bound(self, why: str) -> None:
        """Keeps the first reason."""
        self.unbounded = self.unbounded or why


class Sent(Frozen):
    """The body that will be sent: its fields, its contents, and its bytes once it is written."""

    fields: Mapping[str, Json]
    contents: Contents
    body: bytes
