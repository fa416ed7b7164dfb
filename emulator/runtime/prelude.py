"""The prelude of a streamed HTTP response: JSON, eight NULs, then the body. Pure; finds the NULs in any chunking.

docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
DELIMITER = b"\0" * 8
LIMIT = 16 * 1024  # what Lambda accepts before the delimiter
# Lambda owns these; what a function says about them is dropped or would corrupt the stream's framing.
DROPPED = frozenset({"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


class InvalidPreludeError(ValueError):
    """The function's prelude is not one that Lambda would turn into an HTTP response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prelude:
    status: int
    headers: tuple[tuple[str, str], ...]


class PreludeReader:
    """Feed it bytes; `prelude` is set once the delimiter has come, and `feed` returns the body from then
    on.
    """

    def __init__(self) -> None:
        self.prelude: Prelude | None = None
        self._seen = bytearray()

    def feed(self, data: bytes) -> bytes:
        if self.prelude is not None:
            return data
        self._seen += data
        at = self._seen.find(DELIMITER)
        if at < 0:
            if len(self._seen) > LIMIT:
                raise InvalidPreludeError(f"no delimiter within {LIMIT} bytes")
            return b""
        self.prelude = parse(bytes(self._seen[:at]))
        body = bytes(self._seen[at + len(DELIMITER) :])
        self._seen.clear()
        return body


def parse(raw: bytes) -> Prelude:
    if len(raw) > LIMIT:
        raise InvalidPreludeError(f"{len(raw)} bytes before the delimiter; the limit is {LIMIT}")
    try:
        value = json.loads(raw or b"{}")
    except ValueError as error:
        raise InvalidPreludeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidPreludeError("not a JSON object")
    status = value.get("statusCode", 200)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise InvalidPreludeError(f"statusCode is {status!r}")
    headers = [*_single(value.get("headers", {})), *_multiple(value.get("multiValueHeaders", {}))]
    cookies = value.get("cookies", [])
    if not isinstance(cookies, list) or not all(isinstance(cookie, str) for cookie in cookies):
        raise InvalidPreludeError("cookies is not a list of strings")
    headers += [("set-cookie", cookie) for cookie in cookies]
    return Prelude(status=status, headers=tuple(_clean(name, text) for name, text in headers if _kept(name)))


def _single(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
        raise InvalidPreludeError("headers is not an object of strings")
    return list(headers.items())


def _multiple(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, dict):
        raise InvalidPreludeError("multiValueHeaders is not an object")
    pairs: list[tuple[str, str]] = []
    for name, texts in headers.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InvalidPreludeError("multiValueHeaders is not an object of lists of strings")
        pairs += [(name, text) for text in texts]
    return pairs


def _kept(name: str) -> bool:
    return name.lower() not in DROPPED


def _clean(name: str, text: str) -> tuple[str, str]:
    if not name or any(character in name + text for character in "\r\n\0"):
        raise InvalidPreludeError(f"header {name!r} cannot be sent")
    return name, text
