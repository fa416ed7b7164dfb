"""The nouns of one request. Knows nothing of Lambda, HTTP libraries or AWS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The IAM principal that signed the request, as AWS verified it.

    `account` and `principal` are the identity: `principal` is the part of the unique id before ":", because what
    follows is a session name of the caller's own choice. `arn` is for policy matching and display only.
    Source: docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html, requestContext.authorizer.iam.
    """

    account: str
    principal: str
    arn: str
    access_key: str = ""

    @property
    def key(self) -> str:
        """What limits and budgets are counted under: "123456789012/AROAEXAMPLE"."""
        return f"{self.account}/{self.principal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request as it came through the door. Header names are lower-case; `path` is not percent-decoded."""

    id: str
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP answer. `body` yields non-empty byte strings; what it raises is a failure in mid-stream.

    `body` is closed by whoever iterates it, also when it is abandoned early.
    """

    status: int
    headers: Mapping[str, str]
    body: Iterator[bytes]
