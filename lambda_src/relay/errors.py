"""Every way a request can fail, and the one table that says what the caller sees of it and whose fault it is.

Knows status, type, code, public text and retry rule of each kind; knows nothing of who raises it or how it travels.
The shape is OpenAI's: {"error": {"message", "type", "param", "code"}}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum

from relay.frozen import Frozen


class Fault(Enum):
    """Whose fault it is that a request did not succeed: what the metrics `Failures` and `StoreFailures` count by."""

    NOBODY = "nobody"
    CALLER = "caller"
    """A refusal that the caller or the operator brought about. Not counted as a failure."""
    SERVICE = "service"
    """The relay's, Lambda's or OpenAI's: counted in `Failures`."""
    STORE = "store"
    """Secrets Manager's or DynamoDB's: counted in `Failures` and in `StoreFailures`."""


class ErrorSpec(Frozen):
    """What the wire shows of one kind, and whose fault it is.

    `retry` becomes `x-should-retry`, which OpenAI's SDKs obey before anything else.
    """

    status: int
    type: str
    code: str
    text: str
    retry: bool = False
    fault: Fault = Fault.CALLER

    def __init__(
        self, status: int, type: str, code: str, text: str, *, retry: bool = False, fault: Fault = Fault.CALLER
    ) -> None:
        super().__init__(status=status, type=type, code=code, text=text, retry=retry, fault=fault)


class ErrorKind(Enum):
    """The fixed set of failures. Each is raised somewhere and tested; the value is its row on the wire."""

    NOT_FOUND = ErrorSpec(
        404, "invalid_request_error", "unknown_url", "Unknown path. The relay serves OpenAI's paths below /v1."
    )
    METHOD_NOT_ALLOWED = ErrorSpec(
        405, "invalid_request_error", "method_not_allowed", "This path does not accept this method."
    )
    BAD_REQUEST = ErrorSpec(400, "invalid_request_error", "invalid_request", "The request is invalid.")
    BAD_JSON = ErrorSpec(400, "invalid_request_error", "invalid_json", "The request body is not valid JSON.")
    TOO_LARGE = ErrorSpec(413, "invalid_request_error", "request_too_large", "The request body is too large.")
    UNSUPPORTED_MEDIA = ErrorSpec(
        415, "invalid_request_error", "unsupported_media_type", "This path does not accept this content type."
    )
    MODEL_NOT_ALLOWED = ErrorSpec(
        404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."
    )
    # 426, on which Codex goes over to HTTP at once. `Upgrade`, which RFC 9110 wants beside it, is the door's to send:
    # Lambda keeps headers of the connection from a function's response.
    NO_WEBSOCKETS = ErrorSpec(
        426,
        "invalid_request_error",
        "websockets_not_supported",
        "WebSocket and realtime connections are not supported: a Lambda Function URL carries one HTTP request and its "
        "response. Use POST /v1/responses or /v1/chat/completions with stream: true.",
    )
    NO_IDENTITY = ErrorSpec(403, "invalid_request_error", "no_identity", "The request has no verified AWS identity.")
    KEY_REVOKED = ErrorSpec(
        401, "invalid_request_error", "invalid_api_key", "The API key was revoked or has expired. Ask for a new one."
    )
    EDGE_REQUIRED = ErrorSpec(
        403,
        "invalid_request_error",
        "edge_required",
        "Requests must come through the edge: send this request to the edge's domain.",
    )
    EDGE_UNAVAILABLE = ErrorSpec(
        503,
        "api_error",
        "edge_unavailable",
        "Temporarily unable to verify that the request came through the edge.",
        retry=True,
        fault=Fault.STORE,
    )
    CALLER_REFUSED = ErrorSpec(403, "invalid_request_error", "caller_not_allowed", "No policy allows this caller.")
    CALLER_STOPPED = ErrorSpec(403, "invalid_request_error", "caller_stopped", "An operator has stopped this caller.")
    COST_UNBOUNDED = ErrorSpec(
        400, "invalid_request_error", "cost_not_bounded", "The cost of this request cannot be bounded."
    )
    DUPLICATE = ErrorSpec(
        409, "invalid_request_error", "duplicate_request", "A request with this id was processed already."
    )
    RATE_LIMITED = ErrorSpec(
        429, "rate_limit_error", "rate_limit_exceeded", "A rate limit of this caller is reached.", retry=True
    )
    BUDGET_EXHAUSTED = ErrorSpec(429, "insufficient_quota", "insufficient_quota", "A budget of this caller is used up.")
    STOPPED = ErrorSpec(503, "api_error", "relay_stopped", "An operator has stopped the relay.")
    STORE_UNAVAILABLE = ErrorSpec(
        503, "api_error", "store_unavailable", "Temporarily unable to read the limits.", retry=True, fault=Fault.STORE
    )
    KEY_UNAVAILABLE = ErrorSpec(
        503,
        "api_error",
        "key_unavailable",
        "Temporarily unable to read the relay's OpenAI key.",
        retry=True,
        fault=Fault.STORE,
    )
    UPSTREAM_UNREACHABLE = ErrorSpec(
        502, "api_error", "upstream_unreachable", "Temporarily unable to reach OpenAI.", retry=True, fault=Fault.SERVICE
    )
    UPSTREAM_BROKEN = ErrorSpec(
        502, "api_error", "upstream_broken", "OpenAI's response broke off or could not be read.", fault=Fault.SERVICE
    )
    UPSTREAM_ERROR = ErrorSpec(
        502, "api_error", "upstream_error", "OpenAI returned a server error.", retry=True, fault=Fault.SERVICE
    )
    UPSTREAM_KEY = ErrorSpec(
        502,
        "api_error",
        "upstream_key_refused",
        "OpenAI refused the relay's own key. The caller's credentials are not the cause.",
        fault=Fault.SERVICE,
    )
    UPSTREAM_RATE_LIMIT = ErrorSpec(
        429, "rate_limit_error", "rate_limit_exceeded", "OpenAI's rate limit is reached.", retry=True
    )
    UPSTREAM_EXHAUSTED = ErrorSpec(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "The credit of the relay's OpenAI account is used up.",
        fault=Fault.SERVICE,
    )
    UPSTREAM_OVERLOADED = ErrorSpec(
        503, "api_error", "upstream_overloaded", "OpenAI is temporarily overloaded.", retry=True, fault=Fault.SERVICE
    )
    UPSTREAM_TIMEOUT = ErrorSpec(
        504,
        "api_error",
        "upstream_timeout",
        "OpenAI did not respond within the function's time limit.",
        fault=Fault.SERVICE,
    )
    DEADLINE = ErrorSpec(
        504,
        "api_error",
        "deadline_exceeded",
        "The function's time limit was reached; the response is not complete.",
        fault=Fault.SERVICE,
    )
    SHUTDOWN = ErrorSpec(
        503, "api_error", "shutting_down", "The relay is shutting down; the response is not complete.", retry=True
    )
    INTERNAL = ErrorSpec(500, "api_error", "internal_error", "Internal error.", fault=Fault.SERVICE)

    @property
    def spec(self) -> ErrorSpec:
        """How the wire shows this kind."""
        return self.value


class Outcome(Enum):
    """How an invocation ended that was not ended by an error of one of the kinds above: a word and whose fault it is."""

    OK = "ok", Fault.NOBODY
    NOT_HTTP = "not_http", Fault.CALLER
    """The event is no HTTP request: somebody invoked the function directly."""
    RESPONSE_REFUSED = "response_refused", Fault.SERVICE
    """The Runtime API did not accept the response."""
    RESPONSE_LOST = "response_lost", Fault.SERVICE
    """The connection to the Runtime API broke, or nobody read on."""
    BUG = "bug", Fault.SERVICE
    """An exception that nobody expected."""

    def __init__(self, word: str, fault: Fault) -> None:
        self.word = word
        self.fault = fault


class NotHttpError(Exception):
    """The event is not an HTTP request, so there is nobody who could read an HTTP response."""


class DeliveryError(Exception):
    """The response did not reach the Runtime API whole. `outcome` says how the request log calls it."""

    outcome = Outcome.RESPONSE_LOST


class RelayError(Exception):
    """An expected failure. `text` replaces the public text; `log` is for the log only and never reaches the caller."""

    def __init__(
        self,
        kind: ErrorKind,
        text: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        log: str = "",
    ) -> None:
        super().__init__(f"{kind.name}: {log}" if log else kind.name)
        self.kind = kind
        self.text = text or kind.spec.text
        self.param = param
        self.code = code or kind.spec.code
        self.headers = dict(headers or {})
        self.log = log

    def body(self) -> bytes:
        """The OpenAI-shaped body, one line of JSON in UTF-8."""
        error = {"message": self.text, "type": self.kind.spec.type, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def response_headers(self) -> dict[str, str]:
        """The headers of a response made of this error."""
        retry = "true" if self.kind.spec.retry else "false"
        return {"content-type": "application/json", "x-should-retry": retry, **self.headers}
