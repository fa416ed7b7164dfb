"""What a fault may become, each with its check: the invariants that a caller relies on, measured on the bytes.

I1  what is delivered, minus heartbeats and the relay's own error event, is a prefix of what upstream sent, and holds
    all of it up to the fault
I2  exactly one terminal event, nothing after it, in the eyes of three parsers
I5  no failure looks like success: the official SDK raises
I6  no planted secret in an error
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

import openai
import pytest

from tests.support.harness import canaries, parsers
from tests.support.harness.exchange import Exchange

HEARTBEAT = re.compile(rb"(?m)^: keep-alive\n")
_ERROR_EVENT = re.compile(rb"event: error\ndata: (?P<error>\{.*\})\n\n\Z")
# Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html, error trailers.
_TRAILER_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


class Outcome(Protocol):
    """One row's right-hand side."""

    @property
    def text(self) -> str:
        """For the table in docs/faults.md."""

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        """Asserts it; `sent` is the body upstream sent before the fault."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A status and OpenAI's error shape, before anything of an answer."""

    status: int
    code: str
    retry: str = ""

    @property
    def text(self) -> str:
        return f"{self.status} `{self.code}`"

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        assert exchange.over == "answered 202"
        assert (exchange.status, _error(exchange.body)["code"]) == (self.status, self.code)
        assert exchange.prelude["headers"]["content-type"] == "application/json"
        assert exchange.prelude["headers"]["x-request-id"] == exchange.id
        assert exchange.trailer_type == ""
        if self.retry:
            assert exchange.prelude["headers"]["x-should-retry"] == self.retry
        assert not canaries.leaks(exchange.data)
        with pytest.raises(openai.APIStatusError) as raised:
            _sdk(exchange, stream=True)
        assert raised.value.status_code == self.status


@dataclass(frozen=True, slots=True)
class Cut:
    """A stream that ends in the relay's error event and in Lambda's error trailers."""

    code: str

    @property
    def text(self) -> str:
        return f"all that came, then an error event `{self.code}`"

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        assert exchange.over == "answered 202"
        assert exchange.status == 200
        body = HEARTBEAT.sub(b"", exchange.body)
        found = _ERROR_EVENT.search(body)
        assert found, body[-300:]
        assert _error(found["error"])["code"] == self.code
        # An event that was cut is ended first, or the error would become a part of it.
        between = sent == b"" or sent.endswith((b"\n\n", b"\n\r\n"))
        closing = b"" if between else b"\n" if sent.endswith(b"\n") else b"\n\n"
        assert body[: found.start()] == sent + closing
        assert _TRAILER_TYPE.fullmatch(exchange.trailer_type)
        assert exchange.trailer_body["errorType"] == exchange.trailer_type
        assert not canaries.leaks(json.dumps(exchange.trailer_body).encode() + found["error"])
        parsers.assert_one_end([exchange.body], node)
        with pytest.raises((openai.APIError, ValueError)):
            _sdk(exchange, stream=True)


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything upstream sent, byte for byte, and a good end."""

    text: str = "the whole response"

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        assert exchange.over == "answered 202"
        assert exchange.status == 200
        assert HEARTBEAT.sub(b"", exchange.body) == sent
        assert exchange.trailer_type == ""
        is_stream = exchange.prelude["headers"]["content-type"].startswith("text/event-stream")
        if is_stream:
            parsers.assert_one_end([exchange.body], node)
        assert _sdk(exchange, stream=is_stream)


@dataclass(frozen=True, slots=True)
class Passed:
    """OpenAI's own error about the caller's request, with its status and its text."""

    status: int
    code: str

    @property
    def text(self) -> str:
        return f"{self.status} `{self.code}`, OpenAI's own words"

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        assert exchange.over == "answered 202"
        assert (exchange.status, exchange.body) == (self.status, sent)
        assert _error(exchange.body)["code"] == self.code
        with pytest.raises(openai.APIStatusError):
            _sdk(exchange, stream=True)


@dataclass(frozen=True, slots=True)
class UpstreamsError:
    """OpenAI's own error event, which ends a stream as the relay's would; nothing is added."""

    text: str = "OpenAI's own error event, and nothing after it"

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        assert exchange.over == "answered 202"
        assert exchange.body == sent
        parsers.assert_one_end([exchange.body], node)
        with pytest.raises(openai.APIError):
            _sdk(exchange, stream=True)


@dataclass(frozen=True, slots=True)
class CutBody:
    """An answer that is no stream and breaks off: what came of it, and error trailers, which break the transport."""

    text: str = "what came, then a broken transport"

    def check(self, exchange: Exchange, sent: bytes, node: parsers.EventSourceParser) -> None:
        assert exchange.over == "answered 202"
        assert exchange.body == sent
        assert _TRAILER_TYPE.fullmatch(exchange.trailer_type)
        with pytest.raises((openai.APIError, ValueError)):
            _sdk(exchange, stream=False)


def _error(body: bytes) -> dict[str, Any]:
    fields = json.loads(body)
    assert set(fields) == {"error"}
    error = fields["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert isinstance(error, dict)
    return error


def _sdk(exchange: Exchange, *, stream: bool) -> list[Any]:
    return parsers.sdk(exchange.status, exchange.prelude["headers"], exchange.body, stream=stream)
