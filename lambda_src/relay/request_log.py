"""The record of one request: one JSON line that is CloudWatch metrics too. No prompt, completion or key.

Source of the `_aws` block: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring, page
CloudWatch_Embedded_Metric_Format_Specification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from relay.errors import DeliveryError, ErrorKind, Fault, NotHttpError, Outcome, RelayError
from relay.frozen import EMPTY
from relay.log import Log
from relay.models import Delivery, Json, Request, Usage

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
    # Limits of which much is used up, once per window; requests that only an observed limit would have refused.
    "LimitWarnings": "Count",
    "OverObserved": "Count",
}
# Of a caller in a group also by group, of which there are as many as the environment names.
_BY_GROUP = ("Requests", "Spend")


class RequestLog:
    """The record of one request, filled in as it goes and written when it is over: enter it into the reply's exit stack.

    `delivery` is asked at the end.
    """

    def __init__(self, *, request_id: str, function: str, delivery: Callable[[], Delivery], log: Log) -> None:
        self._fields: dict[str, Json] = {"requestId": request_id, "function": function}
        self._delivery = delivery
        self._log = log
        self._started = time.monotonic()
        self._in_stream: RelayError | None = None

    def request(self, request: Request, caller: str, *, group: str = "", labels: Mapping[str, str] = EMPTY) -> None:
        """Notes who asks for what. `caller` is a hash of 32 hexadecimal digits; group and labels are as the operator has
        configured them."""
        self._fields |= {"method": request.method[:10], "path": request.path[:100], "caller": caller}
        if group:
            self._fields["group"] = group
        if labels:
            self._fields["labels"] = dict(labels)

    def through(self, way: str) -> None:
        """Notes which way the request came: "edge", "direct" or "api"."""
        self._fields["way"] = way

    def model(self, name: str, *, stream: bool) -> None:
        """Notes the model that was asked for, once it is known to be one that the environment allows."""
        self._fields |= {"model": name[:80], "stream": stream}

    def upstream(self, status: int) -> None:
        """Notes the status of OpenAI's response."""
        self._fields["upstreamStatus"] = status

    def response(self, usage: Usage | None, error: RelayError | None) -> None:
        """Notes the tokens that OpenAI counted, None when it did not say; and an error that it sent in the stream, which
        passed to the caller as it was and is a failure all the same."""
        self._in_stream = error
        if usage is not None:
            self._fields |= {"InputTokens": usage.input, "OutputTokens": usage.output}
            self._fields |= {"cachedTokens": usage.cached_input, "reasoningTokens": usage.reasoning}

    def settled(self, dollars: str, *, over: Sequence[str] = (), warnings: int = 0) -> None:
        """Notes what was booked for the request, in US dollars; the observed limits that it exceeded, and how many limits were
        warned of when it was settled."""
        self._fields |= {"usd": dollars, "Spend": float(dollars)}
        if over:
            self._fields |= {"overObserved": ",".join(over), "OverObserved": 1}
        if warnings:
            self._fields["LimitWarnings"] = warnings

    def __enter__(self) -> RequestLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.write(failure)

    def write(self, failure: BaseException | None) -> None:
        """Writes the line. `failure` is what ended the request, if anything did."""
        failure = failure or self._in_stream
        delivery = self._delivery()
        seconds = time.monotonic() - self._started
        fault = _fault(failure)
        fields: dict[str, Json] = self._fields | {
            "outcome": outcome_of(failure),
            "status": delivery.status,
            "Requests": 1,
            "Failures": int(fault in (Fault.SERVICE, Fault.STORE)),
            "StoreFailures": int(fault is Fault.STORE),
            "StreamCuts": int(failure is not None and delivery.status == 200),
            "Duration": round(seconds * 1000, 1),
            "Bytes": delivery.body_bytes,
        }
        if delivery.first_byte_at:
            first = delivery.first_byte_at - self._started
            fields["TimeToFirstByte"] = round(first * 1000, 1)
            tokens = fields.get("OutputTokens")
            if isinstance(tokens, int) and tokens and seconds - first > 0.001:
                fields["TokensPerSecond"] = round(tokens / (seconds - first), 1)
        if isinstance(failure, RelayError) and failure.log:
            fields["cause"] = failure.log[:300]
        self._log.record("request", **fields, ready=_metrics(fields))


def outcome_of(failure: BaseException | None) -> str:
    """One word from a fixed set: "ok", the name of an error kind, or what became of the response."""
    ending = _ending(failure)
    return ending.word if isinstance(ending, Outcome) else ending.name.lower()


def _fault(failure: BaseException | None) -> Fault:
    ending = _ending(failure)
    return ending.fault if isinstance(ending, Outcome) else ending.spec.fault


def _ending(failure: BaseException | None) -> Outcome | ErrorKind:
    if failure is None:
        return Outcome.OK
    if isinstance(failure, RelayError):
        return failure.kind
    if isinstance(failure, DeliveryError):
        return failure.outcome
    return Outcome.NOT_HTTP if isinstance(failure, NotHttpError) else Outcome.BUG


# Two thirds of a line, and always the same: as objects they took a third of the time of writing one.
_DEFINITIONS = {name: f'{{"Name":"{name}","Unit":"{unit}"}}' for name, unit in _UNITS.items()}


def _metrics(fields: Mapping[str, Json]) -> str:
    present = ",".join([text for name, text in _DEFINITIONS.items() if name in fields])
    definition = f'{{"Namespace":"{NAMESPACE}","Dimensions":[["function"]],"Metrics":[{present}]}}'
    if "group" in fields:
        present = ",".join([_DEFINITIONS[name] for name in _BY_GROUP if name in fields])
        definition += f',{{"Namespace":"{NAMESPACE}","Dimensions":[["function","group"]],"Metrics":[{present}]}}'
    return f',"_aws":{{"Timestamp":{int(time.time() * 1000)},"CloudWatchMetrics":[{definition}]}}'
