"""What a request body may ask for in this environment. Pure: a parsed body goes in, the body that may be sent comes out.

One OpenAI key stands behind many callers, so by default nothing a caller sends may reach what another one stored
(responses, conversations, files, vector stores, containers are readable through their ids with the same key), and
nothing may start work at OpenAI that the relay cannot see or stop. Source: platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from relay.errors import Kind, RelayError

Body = dict[str, Any]
Shape = Callable[[Body, "RequestPolicy"], None]

# The fields that cap the output of a model, with the one that is set when a caller sets none.
_CHAT_CAPS = ("max_completion_tokens", "max_tokens")
_RESPONSES_CAPS = ("max_output_tokens",)
# Ids of things that live at OpenAI, wherever they stand in messages, input items and tools.
_STORED_IDS = frozenset({"file_id", "file_ids", "vector_store_ids", "container_id", "previous_response_id"})
# Top-level fields of the Responses API that read or write stored state.
_STATEFUL_FIELDS = ("previous_response_id", "conversation", "prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """The rules of one environment. An empty `models` allows every model; tokens are those of one answer.

    `stateful` lets callers use what is stored at OpenAI, for environments where all callers may see all of it.
    """

    models: tuple[str, ...] = ()
    max_output_tokens: int = 16_384
    max_choices: int = 4
    stateful: bool = False
    tools: tuple[str, ...] = ("function", "custom")
    service_tiers: tuple[str, ...] = ("auto", "default")

    @classmethod
    def from_json(cls, text: str) -> RequestPolicy:
        """Reads the setting. Raises ValueError with one line that names the field."""
        given: Any = json.loads(text) if text.strip() else {}
        if not isinstance(given, dict):
            raise ValueError("it has to be a JSON object")  # noqa: TRY004 - a value, not an argument
        kinds = {field.name: type(field.default) for field in fields(cls)}
        for name, value in given.items():
            if name not in kinds:
                raise ValueError(f"{name!r} is not one of {', '.join(kinds)}")
            if not _is_a(kinds[name], value):
                raise ValueError(f"{name} is not valid: {value!r}")
        values: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**values)

    def allows_model(self, model: str) -> bool:
        """Exactly as it is spelt in the configuration: look-alikes and other spellings are other models."""
        return not self.models or model in self.models


def _is_a(kind: type, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, list) and all(isinstance(entry, str) and entry for entry in value)
    return type(value) is kind and not (isinstance(value, int) and value < 1 and kind is int)


def chat(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/chat/completions. Asks for usage in streams; whether the caller did is remembered by `wants_usage`."""
    model(body, policy)
    stream_flag(body)
    _cap(body, _CHAT_CAPS, policy.max_output_tokens)
    _choices(body, policy)
    _tier(body, policy)
    _tools(body, policy)
    if body.get("web_search_options") is not None and "web_search" not in policy.tools:
        raise _refused("web_search_options", "web search is not allowed in this environment")
    if not policy.stateful:
        _stateless(body, ("messages",))
    if body.get("stream") is True:
        options = body.get("stream_options")
        if options is not None and not isinstance(options, dict):
            raise _refused("stream_options", "it has to be an object")
        body["stream_options"] = {**(options or {}), "include_usage": True}


def responses(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/responses. Without `stateful`, nothing is stored: OpenAI's own default is to store."""
    model(body, policy)
    stream_flag(body)
    _cap(body, _RESPONSES_CAPS, policy.max_output_tokens)
    _tier(body, policy)
    _tools(body, policy)
    if body.get("background") not in (None, False):
        # A background job goes on after the connection has ended, so neither usage nor limits could see it.
        raise _refused("background", "background responses are not allowed")
    if not policy.stateful:
        _stateless(body, ("input",))
        body["store"] = False


def images(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/images/generations."""
    model(body, policy)
    stream_flag(body)
    _choices(body, policy)


def speech(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/audio/speech, which streams as events only when `stream_format` says so."""
    model(body, policy)
    if body.get("stream_format") not in (None, "audio", "sse"):
        raise _refused("stream_format", 'it has to be "audio" or "sse"')


def transcriptions(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/audio/transcriptions: the text fields of a form, so flags come as words."""
    model(body, policy)
    if body.get("stream") not in (None, "true", "false"):
        raise _refused("stream", 'it has to be "true" or "false"')


def moderations(body: Body, policy: RequestPolicy) -> None:
    """POST /v1/moderations, where OpenAI lets callers leave the model out."""
    body.setdefault("model", "omni-moderation-latest")
    model(body, policy)


def model(body: Body, policy: RequestPolicy) -> None:
    """The one rule of every endpoint, and the only one of embeddings."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise _refused("model", "it has to be a string")
    if not policy.allows_model(name):
        # OpenAI's own words and code for a model that the key may not use, so that clients know it.
        text = f"The model {json.dumps(name[:100])} does not exist or you do not have access to it."
        raise RelayError(Kind.MODEL_NOT_ALLOWED, text, param="model")


def stream_flag(body: Body) -> None:
    """`stream` decides how an answer is read, so only a real boolean is one."""
    if body.get("stream") not in (None, True, False) or isinstance(body.get("stream"), int | float) is not isinstance(
        body.get("stream"), bool
    ):
        raise _refused("stream", "it has to be true or false")


def _refused(param: str, why: str) -> RelayError:
    return RelayError(Kind.BAD_REQUEST, f"Invalid value for '{param}': {why}.", param=param, code="invalid_value")


def _not_allowed(param: str, why: str) -> RelayError:
    return RelayError(Kind.BAD_REQUEST, f"'{param}' cannot be used: {why}.", param=param, code="not_allowed")


def _whole(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise _refused(name, "it has to be a whole number above 0")
    return value


def _cap(body: Body, names: tuple[str, ...], most: int) -> None:
    """Clamps every spelling of the output cap; sets the first where the caller has set none."""
    given = {name: value for name in names if (value := _whole(body, name)) is not None}
    if not given:
        body[names[0]] = most
    for name, value in given.items():
        body[name] = min(value, most)


def _choices(body: Body, policy: RequestPolicy) -> None:
    wanted = _whole(body, "n")
    if wanted is not None and wanted > policy.max_choices:
        raise _refused("n", f"at most {policy.max_choices} choices are allowed")


def _tier(body: Body, policy: RequestPolicy) -> None:
    tier = body.get("service_tier")
    if tier is not None and tier not in policy.service_tiers:
        raise _not_allowed("service_tier", f"this environment allows {', '.join(policy.service_tiers) or 'none'}")


def _tools(body: Body, policy: RequestPolicy) -> None:
    tools = body.get("tools")
    if tools is None:
        return
    if not isinstance(tools, list):
        raise _refused("tools", "it has to be a list")
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            raise _refused(f"tools[{index}].type", "it has to be a string")
        if kind not in policy.tools:
            raise _not_allowed(f"tools[{index}]", f"this environment allows tools of type {', '.join(policy.tools)}")


def _stateless(body: Body, places: tuple[str, ...]) -> None:
    for name in _STATEFUL_FIELDS:
        if body.get(name) is not None:
            raise _not_allowed(name, "nothing is stored at OpenAI in this environment")
    if body.get("store") not in (None, False):
        raise _not_allowed("store", "nothing is stored at OpenAI in this environment")
    for place in places:
        _no_stored_ids(place, body.get(place))
    for index, tool in enumerate(body.get("tools") or ()):
        # Only the tool itself: what lies deeper is the caller's own JSON schema.
        _no_stored_names(f"tools[{index}]", tool)
        if isinstance(tool.get("container"), str):
            raise _not_allowed(f"tools[{index}].container", "nothing is stored at OpenAI in this environment")


def _no_stored_ids(place: str, value: Any) -> None:
    for path, part in _objects(place, value):
        _no_stored_names(path, part)
        # An item that is only an id, or says so, stands for one that was stored; so does earlier audio in a message.
        if part.get("type") == "item_reference" or ("id" in part and not part.get("type") and "role" not in part):
            raise _not_allowed(path, "it refers to something stored at OpenAI")


def _no_stored_names(path: str, part: Mapping[str, Any]) -> None:
    for name in _STORED_IDS & part.keys():
        if part[name] is not None:
            raise _not_allowed(f"{path}.{name}", "it refers to something stored at OpenAI")


def _objects(place: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object below `value` with its path. Iterative: depth is the caller's choice."""
    pending = [(place, value)]
    while pending:
        path, here = pending.pop()
        if isinstance(here, dict):
            yield path, here
            pending.extend((f"{path}.{name}", each) for name, each in here.items() if isinstance(each, dict | list))
        elif isinstance(here, list):
            pending.extend((f"{path}[{n}]", each) for n, each in enumerate(here) if isinstance(each, dict | list))
