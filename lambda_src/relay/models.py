"""The nouns of one request. Knows nothing of Lambda, HTTP libraries or AWS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from relay.frozen import EMPTY, Frozen

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What `json.loads` returns and `json.dumps` takes. `isinstance(value, dict)` narrows it to `dict[str, Json]`."""

JsonObject: TypeAlias = "dict[str, Json]"
"""A JSON object. A parameter that is only read is better typed `Mapping[str, Json]`, which takes any mapping."""

EdgeMode = Literal["off", "optional", "required"]
"""Whether requests have to come through CloudFront: not at all, also, or always."""


class Caller(Frozen):
    """Who made the request, as AWS or the authorizer of the relay's API verified it.

    `account` and `principal` are the identity. Of an IAM principal `principal` is the part of the unique id before ":",
    because what follows is a session name of the caller's own choice; `arn` is for policy matching and display only.
    The holder of a key is "key" and the key's name, with the id of the key; the holder of a token "oidc/ALIAS", for its
    issuer, and the token's subject. `arn` is then what policies match: "key:NAME", "oidc:ALIAS:SUBJECT".
    Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html, requestContext.authorizer.iam.
    """

    account: str
    principal: str
    arn: str
    key_id: str = ""

    @property
    def key(self) -> str:
        """What limits and budgets are counted under: "123456789012/AROAEXAMPLE"."""
        return f"{self.account}/{self.principal}"


class Request(Frozen):
    """One HTTP request as it came through the door. Header names are lower-case; `path` is not percent-decoded.

    `id` is Lambda's, a UUID. The query is left out: no path of OpenAI's that the relay serves has one. `through_api` says
    that it came through the relay's API, which has a web ACL of its own. `response_headers` are the door's, for any response.
    """

    id: str
    method: str
    path: str
    headers: Mapping[str, str] = EMPTY
    body: bytes = b""
    caller: Caller
    through_api: bool = False
    response_headers: Mapping[str, str] = EMPTY


class Response(Frozen):
    """One HTTP response. `body` yields non-empty byte strings; what it raises is a failure in mid-stream.

    Whoever iterates `body` closes it where it can be closed, also when it is abandoned early. What it reads from is
    closed by whoever opened that.
    """

    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]


class Delivery(Frozen):
    """How much of a response has been written. `status` is 0 and `first_byte_at` 0.0 until there is something.

    `body_bytes` counts without the head; `first_byte_at` is on time.monotonic()'s clock, in seconds.
    """

    status: int
    body_bytes: int
    first_byte_at: float


class Usage(Frozen):
    """What OpenAI counted for one response, in tokens. The details are parts of the totals, never added to them.

    `cached_input`, `cache_write`, `audio_input` and `image_input` are parts of `input`; `reasoning`, `audio_output`
    and `image_output` are parts of `output`. `cache_write_12h` is the part of `cache_write` that is kept for 12 hours,
    None where OpenAI does not say. `seconds` of sound are billed in place of tokens by models that count them, rounded up.
    `service_tier` is the tier of the response, which is the one billed.
    `Usage()` says that nothing was billed; "not known" is None, never an empty Usage.
    Source: platform.openai.com/docs/api-reference/chat/object (usage), .../responses/object (usage, service_tier).
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_12h: int | None = None
    audio_input: int = 0
    image_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    seconds: int = 0
    model: str = ""
    service_tier: str = ""

    @property
    def total(self) -> int:
        """All tokens of the request, the unit of a limit on tokens per day."""
        return self.input + self.output

    def plus(self, other: Usage) -> Usage:
        """The tokens of both; model and tier are those of `other`."""
        both = {name: (count, getattr(other, name)) for name, count in vars(self).items() if not isinstance(count, str)}
        return other.changed(**{name: None if None in counts else sum(counts) for name, counts in both.items()})
