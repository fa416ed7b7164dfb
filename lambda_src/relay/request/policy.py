"""What callers may ask for in this environment, and how a refusal is worded. Pure.

One OpenAI key stands behind many callers, so by default nothing a caller sends may reach what another one stored
(responses, conversations, files, vector stores, containers are readable through their ids with the same key), and
nothing may start work at OpenAI that the relay cannot see or stop. Source: platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import json
import re
from typing import Any

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.policies.policy import LEAST_OUTPUT_CAP


class RequestPolicy(Frozen):
    """The rules of one environment. An empty `models` allows every model; tokens are those of one response, and at least
    16, which is the least that OpenAI takes for `max_output_tokens`.

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
        try:
            given: Any = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON ({type(error).__name__})") from None
        if not isinstance(given, dict):
            raise ValueError("it has to be a JSON object")  # noqa: TRY004 - a value, not an argument
        kinds = {name: type(default) for name, default in cls._defaults.items()}
        for name, value in given.items():
            if name not in kinds:
                raise ValueError(f"{name!r} is not one of {', '.join(kinds)}")
            if not _is_valid(name, kinds[name], value):
                raise ValueError(f"{name} is not valid: {value!r}")
        values: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**values)

    def allows_model(self, model: str) -> bool:
        """Exactly as it is spelt in the configuration: look-alikes and other spellings are other models."""
        return not self.models or model in self.models


NOTHING_IS_STORED = "nothing is stored at OpenAI in this environment (setting `stateful`)"


def invalid(param: str, why: str) -> RelayError:
    """A refusal of a value that no environment takes."""
    return RelayError(ErrorKind.BAD_REQUEST, f"Invalid value for '{param}': {why}.", param=param, code="invalid_value")


def not_allowed(param: str, why: str) -> RelayError:
    """A refusal of what another environment might allow."""
    return RelayError(ErrorKind.BAD_REQUEST, f"'{param}' cannot be used: {why}.", param=param, code="not_allowed")


def no_such_model(name: str, param: str) -> RelayError:
    """OpenAI's own words and code for a model that the key may not use, so that clients know it."""
    text = f"The model {json.dumps(name[:100])} does not exist or you do not have access to it."
    return RelayError(ErrorKind.MODEL_NOT_ALLOWED, text, param=param)


# Field -> the least and the most. Below 16 OpenAI refuses a Responses request. The stack checks the same before it is
# deployed; a test holds both sides equal.
_BOUNDS = {"max_output_tokens": (LEAST_OUTPUT_CAP, 1_000_000), "max_choices": (1, 128)}
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}")
"""A name of a model, tool or tier, as OpenAI spells it and hosts that are compatible with it ("openai/gpt-5",
"ft:gpt-5:org:name:id"). Names are stored and shown: 500 requests of one caller with names of this length are 130 KB of the
400 KB that DynamoDB allows an item."""


def _is_valid(name: str, kind: type, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, list) and all(isinstance(entry, str) and NAME.fullmatch(entry) for entry in value)
    if type(value) is int and name in _BOUNDS:
        least, most = _BOUNDS[name]
        return least <= value <= most
    return type(value) is kind
