"""What the relay says to each request of `sdk_values`: passes, or which setting would let it, or that nothing bounds it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from relay.errors import RelayError
from relay.formats import multipart
from relay.formats.multipart import Part
from relay.limits import cost_bound
from relay.models import Caller, Request
from relay.request import endpoints, known_fields, upstream_request
from relay.request.endpoints import Endpoint
from relay.request.policy import RequestPolicy

from tests.relay.request.test_known_fields import DEAR_TYPES, SPECS
from tests.support import sdk_values
from tests.support.sdk_values import FILE

CALLER = Caller(account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/a/b")
# Each setting as wide as it goes: every type of tool that the SDK knows, every tier.
OPENED: Mapping[str, Any] = {
    "stateful": True,
    "tools": tuple(sorted(known_fields.TEXT_TYPES | set(DEAR_TYPES.split()))),
    "service_tiers": ("auto", "default", "fast", "flex", "priority", "scale", "ultrafast"),
    "max_choices": 128,
}
_SETTING = re.compile(r"\(setting `(\w+)`\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`settings` are those that had to be opened, in the order in which the refusals named them; `refused` is what was still
    said then, "" for nothing. `what` is the place of the first refusal, `tool` the type of tool that it was about.
    `unbounded` is why a budget would refuse what passes."""

    endpoint: Endpoint
    fields: Mapping[str, Any]
    settings: tuple[str, ...]
    what: str
    tool: str
    refused: str
    unbounded: str


@cache
def outcomes() -> tuple[Outcome, ...]:
    """Of every request, endpoint by endpoint."""
    found = []
    for name, spec in SPECS.items():
        endpoint = next(each for each in endpoints.TABLE if each.fields is getattr(known_fields, name))
        found += [_outcome(endpoint, _with_model(fields)) for _, fields in sdk_values.requests(spec)]
    return tuple(found)


def _with_model(fields: dict[str, Any]) -> dict[str, Any]:
    """The relay wants a model to be named: what a caller may use hangs on it."""
    return {**fields, "model": fields.get("model") or "m"}


def _outcome(endpoint: Endpoint, fields: dict[str, Any]) -> Outcome:
    opened: dict[str, Any] = {}
    what = tool = ""
    while True:
        refusal, unbounded = sent(endpoint, fields, RequestPolicy(**opened))
        what = what or (re.sub(r"\[\d+\]", "[]", refusal.param or "") if refusal else "")
        named = _SETTING.search(refusal.text) if refusal else None
        if refusal and not tool:
            tool = "".join(re.findall(r"tool of type '(\w+)'", refusal.text)[:1])
        if named is None or named[1] in opened:
            break
        opened[named[1]] = OPENED[named[1]]
    return Outcome(
        endpoint=endpoint,
        fields=fields,
        settings=tuple(opened),
        what=what,
        tool=tool,
        refused=refusal.text if refusal else "",
        unbounded="" if endpoint.bound is cost_bound.FREE else unbounded,
    )


def sent(endpoint: Endpoint, fields: dict[str, Any], policy: RequestPolicy) -> tuple[RelayError | None, str]:
    """The refusal of a request, and why nothing bounds it, where these are."""
    if endpoint.body == "json":
        body, content_type = json.dumps(fields).encode(), "application/json"
    else:
        parts = list(_parts(fields))
        plain = {part.name: part.value.decode() for part in parts if part.filename is None and "[" not in part.name}
        body, content_type = multipart.serialise(parts, plain)
    headers = {"content-type": content_type}
    request = Request(id="id", method="POST", path=endpoint.path, headers=headers, body=body, caller=CALLER)
    try:
        wanted = upstream_request.prepare(request, policy, max_body_bytes=10**6, identifier="hash")
    except RelayError as refusal:
        return refusal, ""
    return None, wanted.contents.unbounded


def _parts(fields: Mapping[str, Any]) -> Iterator[Part]:
    """As openai-python writes a form."""
    for field, given in fields.items():
        name = f"{field}[]" if isinstance(given, list) else field
        for value in given if isinstance(given, list) else [given]:
            if value is FILE:
                yield Part(name=name, value=b"\x89PNG", filename=b"a.png")
            elif isinstance(value, dict):
                yield from (Part(name=f"{name}[{key}]", value=_word(each)) for key, each in value.items())
            elif value is not None:
                yield Part(name=name, value=_word(value))


def _word(value: Any) -> bytes:
    return (str(value).lower() if isinstance(value, bool) else str(value)).encode()
