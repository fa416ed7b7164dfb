"""What is written down of a request: one JSON line that is CloudWatch metrics too. No prompt, completion or key.

Source of the `_aws` block: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring, page
CloudWatch_Embedded_Metric_Format_Specification.
"""

from __future__ import annotations

import time
from typing import Any

from relay.errors import RelayError
from relay.lambda_runtime.client import ResponseRefusedError, RuntimeApiError
from relay.lambda_runtime.loop import Reply
from relay.log import Log
from relay.models import Request, Usage

NAMESPACE = "OpenAILambdaRelay"
# Few on purpose: CloudWatch bills each metric per combination of dimensions. What is finer is in the line itself.
_UNITS = {
    "Requests": "Count",
    "Failures": "Count",
    "StreamCuts": "Count",
    "StoreFailures": "Count",
    "TimeToFirstByte": "Milliseconds",
    "Duration": "Milliseconds",
    "InputTokens": "Count",
    "OutputTokens": "Count",
    "TokensPerSecond": "Count/Second",
    "Bytes": "Bytes",
    # US dollars; CloudWatch has no unit for money.
    "Spend": "None",
}


class RequestLog:
    """The record of one request, filled in as it goes and written when it is over."""

    def __init__(self, *, request_id: str, function: str, reply: Reply, log: Log) -> None:
        self._fields: dict[str, Any] = {"requestId": request_id, "function": function}
        self._reply = reply
        self._log = log
        self._started = time.monotonic()
        self._in_stream: RelayError | None = None

    def request(self, request: Request, caller: str) -> None:
        """Who asks for what. `caller` is a hash."""
        self._fields |= {"method": request.method[:10], "path": request.path[:100], "caller": caller}

    def through(self, way: str) -> None:
        """Which way it came: "edge" or "direct"."""
        self._fields["way"] = way

    def model(self, name: str, *, stream: bool) -> None:
        """What model was asked for, once it is known to be one that the environment allows."""
        self._fields |= {"model": name[:80], "stream": stream}

    def upstream(self, status: int) -> None:
        """OpenAI has answered."""
        self._fields["upstreamStatus"] = status

    def usage(self, usage: Usage | None) -> None:
        """What OpenAI counted; None when it did not say."""
        if usage is not None:
            self._fields |= {"InputTokens": usage.input, "OutputTokens": usage.output}
            self._fields |= {"cachedTokens": usage.cached_input, "reasoningTokens": usage.reasoning}

    def in_stream(self, error: RelayError | None) -> None:
        """What OpenAI said in the stream itself: it passed to the caller as it was, and is a failure all the same."""
        self._in_stream = error

    def cost(self, dollars: str) -> None:
        """What was booked for the request, in US dollars."""
        self._fields |= {"usd": dollars, "Spend": float(dollars)}

    def finish(self, failure: BaseException | None) -> None:
        """Writes the line. `failure` is what ended the request, if anything did."""
        failure = failure or self._in_stream
        outcome = outcome_of(failure)
        seconds = time.monotonic() - self._started
        fields = self._fields | {
            "outcome": outcome,
            "status": self._reply.status,
            "Requests": 1,
            "Failures": int(outcome in _OURS),
            "StoreFailures": int(outcome in _STORES),
            "StreamCuts": int(failure is not None and self._reply.status == 200),
            "Duration": round(seconds * 1000, 1),
            "Bytes": self._reply.body_size,
        }
        if self._reply.first_byte_at:
            first = self._reply.first_byte_at - self._started
            fields["TimeToFirstByte"] = round(first * 1000, 1)
            if fields.get("OutputTokens") and seconds - first > 0.001:
                fields["TokensPerSecond"] = round(fields["OutputTokens"] / (seconds - first), 1)
        if isinstance(failure, RelayError) and failure.log:
            fields["cause"] = failure.log[:300]
        self._log.info("request", **fields, ready=_metrics(fields))


# Refusals are the caller's matter; these are the relay's or OpenAI's, and what an alarm should count.
_OURS = frozenset(
    {
        "bug",
        "response_refused",
        "response_lost",
        "key_unavailable",
        "edge_unavailable",
        "store_unavailable",
        "upstream_unreachable",
        "upstream_broken",
        "upstream_error",
        "upstream_key",
        "upstream_timeout",
        "upstream_overloaded",
        "upstream_exhausted",
        "deadline",
    }
)


# Of these, what is AWS's: Secrets Manager or DynamoDB did not do what was asked.
_STORES = frozenset({"key_unavailable", "edge_unavailable", "store_unavailable"})


def outcome_of(failure: BaseException | None) -> str:
    """One word from a fixed set: "ok", the name of an error kind, or what became of the answer."""
    if failure is None:
        return "ok"
    if isinstance(failure, RelayError):
        return failure.kind.name.lower()
    if isinstance(failure, ResponseRefusedError):
        return "response_refused"
    return "response_lost" if isinstance(failure, RuntimeApiError) else "bug"


# Two thirds of a line, and always the same: as objects they took a third of the time of writing one.
_DEFINITIONS = {name: f'{{"Name":"{name}","Unit":"{unit}"}}' for name, unit in _UNITS.items()}


def _metrics(fields: dict[str, Any]) -> str:
    present = ",".join([text for name, text in _DEFINITIONS.items() if name in fields])
    definition = f'{{"Namespace":"{NAMESPACE}","Dimensions":[["function"]],"Metrics":[{present}]}}'
    return f',"_aws":{{"Timestamp":{int(time.time() * 1000)},"CloudWatchMetrics":[{definition}]}}'
