"""The handler: one request's way from the door to OpenAI and back. Reads like that sentence.

Knows the order of things; each thing itself is in its own module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain

from relay.doors import DOORS, to_request
from relay.doors.door import Door
from relay.doors.origin_secret import OriginSecretCheck
from relay.errors import ErrorKind, RelayError
from relay.frozen import EMPTY
from relay.lambda_runtime.client import Invocation
from relay.lambda_runtime.reply import Reply
from relay.limits.admission import ADMISSION_SECONDS, Admission, AdmissionRequest
from relay.limits.settlement import Settlement
from relay.log import Log
from relay.models import Request, Response
from relay.openai.client import Call, Upstream, UpstreamResponse
from relay.openai.credentials import ApiKeys
from relay.policies.policy import Policy
from relay.pricing.money import dollars
from relay.request import endpoints, upstream_request
from relay.request.upstream_request import UpstreamRequest
from relay.request_log import RequestLog, outcome_of
from relay.response import errors, passing, transforms
from relay.response.usage_meter import BodyMeter, EventMeter, Meter
from relay.settings import Settings


class Relay:
    """Answers invocations. One at a time: an environment never has two."""

    def __init__(
        self,
        *,
        settings: Settings,
        upstream: Upstream,
        keys: ApiKeys,
        edge: OriginSecretCheck,
        admission: Admission,
        log: Log,
        doors: Sequence[Door] = DOORS,
    ) -> None:
        self._settings = settings
        self._doors = doors
        self._openai = upstream
        self._keys = keys
        self._edge = edge
        self._admission = admission
        self._log = log

    def __call__(self, invocation: Invocation, reply: Reply) -> Response:
        """Answers one invocation; what it raises, the loop turns into a response."""
        settings = self._settings
        # One time for all that AWS is asked before OpenAI: the edge's secret, the ledger, the key.
        until = min(time.monotonic() + ADMISSION_SECONDS, reply.wait.deadline)
        record = reply.closing.enter_context(
            RequestLog(
                request_id=invocation.id,
                function=settings.function_name,
                delivery=lambda: reply.delivery,
                log=self._log,
            )
        )
        request = to_request(invocation.event, invocation.id, self._doors, function_arn=invocation.function_arn)
        reply.headers = request.response_headers
        # The secret's ARN is known in this account only, and stays the same while keys are rotated.
        identifier = upstream_request.caller_identifier(request.caller, settings.openai_secret_arn)
        policy = self._admission.policy_of(request.caller)
        group = policy.group.name if policy and policy.group else ""
        record.request(request, identifier, group=group, labels=policy.labels if policy else EMPTY)
        record.through("api" if request.through_api else self._edge.admit(request.headers, until=until))
        upstream = upstream_request.prepare(
            request, settings.request_policy, max_body_bytes=settings.max_body_bytes, identifier=identifier
        )
        record.model(str(upstream.fields.get("model", "")), stream=upstream.wants_stream)
        _check_time(reply)
        if upstream.endpoint is endpoints.USAGE:
            return passing.own(self._admission.usage(request.caller, until=until))
        settlement = self._admit(request, upstream, policy, invocation, until)
        reply.closing.push(lambda kind, failure, trace: _settle(settlement, record, failure))
        if upstream.wants_stream:
            reply.expect_stream(settlement.headers(_stream_headers(upstream)))
        # Whatever fails before there is a response closes the connection to OpenAI before the caller is told.
        with ExitStack() as opened:
            response = self._send(upstream, request.id, reply, settlement, until)
            opened.callback(response.close)
            result = self._respond(request, upstream, response, reply, record, settlement)
            reply.closing.push(opened.pop_all())
        return result

    def _admit(
        self, request: Request, upstream: UpstreamRequest, policy: Policy | None, invocation: Invocation, until: float
    ) -> Settlement:
        """Leave to send `upstream`, which its bound narrows to the caller's policy."""
        return self._admission.admit(
            AdmissionRequest(
                request_id=request.id,
                caller=request.caller,
                policy=policy,
                endpoint=upstream.endpoint.path,
                models=upstream.models,
                bound=upstream.bound,
                seconds=invocation.deadline - time.monotonic(),
            ),
            until=until,
            meanwhile=self._openai.connect_ahead,
        )

    def _allows(self, request: Request) -> Callable[[str], bool]:
        policy = self._admission.policy(request.caller)
        return lambda model: self._settings.request_policy.allows_model(model) and policy.allows(model)

    def _send(
        self, upstream: UpstreamRequest, request_id: str, reply: Reply, settlement: Settlement, until: float
    ) -> UpstreamResponse:
        body, content_type = upstream.body()
        key = self._keys.current(until=until, meanwhile=self._openai.connect_ahead)
        headers = upstream.headers(key=key, content_type=content_type, request_id=request_id)
        call = Call(method=upstream.endpoint.method, path=upstream.endpoint.upstream, headers=headers, body=body)
        _check_time(reply)
        settlement.sending()
        try:
            response = self._openai.open(call, reply.wait)
        except RelayError as error:
            if error.kind is ErrorKind.UPSTREAM_UNREACHABLE:
                settlement.free()
            raise
        if response.status == 401:
            self._keys.refuse(key)
        return response

    def _respond(
        self,
        request: Request,
        upstream: UpstreamRequest,
        response: UpstreamResponse,
        reply: Reply,
        record: RequestLog,
        settlement: Settlement,
    ) -> Response:
        record.upstream(response.status)
        if not 200 <= response.status < 300:
            if passing.is_unbilled(response):
                settlement.free()
            return passing.refusal(response, begun=reply.begun)
        if upstream.endpoint.body == "none":
            listed = passing.models(response, self._allows(request), upstream.id)
            return listed.changed(headers=settlement.headers(listed.headers))
        passing.check(response, wants_stream=upstream.wants_stream, kinds=upstream.endpoint.content_types)
        headers = settlement.headers(passing.passed_headers(response))
        meter = _meter(upstream, headers.get("content-type", ""))
        settlement.metered(lambda: meter.usage)
        # Before the settlement and the record, which read it.
        reply.closing.callback(_note_usage, record, meter)
        chunks = passing.to_the_end(response.chunks, meter, reply.wait)
        if upstream.wants_stream:
            chunks = chain(_first_event(chunks, meter, reply, settlement), chunks)
            headers |= _stream_headers(upstream)
        else:
            chunks = chain(passing.first_piece(chunks), chunks)
        return Response(status=response.status, headers=headers, body=_transformed(chunks, upstream, response))


def _check_time(reply: Reply) -> None:
    """To be called between pieces of work that do not wait. Raises RelayError(DEADLINE)."""
    if not reply.wait.seconds_left():
        raise RelayError(ErrorKind.DEADLINE, log="no time left before the request was sent to OpenAI")


def _meter(upstream: UpstreamRequest, content_type: str) -> Meter:
    if not upstream.wants_stream:
        return BodyMeter(content_type)
    assert upstream.endpoint.stream_format is not None  # `wants_stream` is checked against it
    return EventMeter(upstream.endpoint.stream_format, choices=upstream.choices)


def _settle(settlement: Settlement, record: RequestLog, failure: BaseException | None) -> None:
    cost = dollars(settlement.close(outcome_of(failure)))
    record.settled(cost, over=settlement.over, warnings=settlement.warnings)


def _note_usage(record: RequestLog, meter: Meter) -> None:
    record.response(meter.usage, errors.to_relay_error(meter.error) if meter.error else None)


def _first_event(chunks: Iterator[bytes], meter: Meter, reply: Reply, settlement: Settlement) -> Iterator[bytes]:
    try:
        return passing.first_event(chunks, meter, lambda: reply.begun)
    except RelayError:
        if meter.error is not None and errors.is_unbilled(meter.error):
            settlement.free()  # a refusal in the form of an event
        raise


def _stream_headers(upstream: UpstreamRequest) -> dict[str, str]:
    return passing.TEXT_HEADERS if upstream.as_text else passing.SSE_HEADERS


def _transformed(chunks: Iterator[bytes], upstream: UpstreamRequest, response: UpstreamResponse) -> Iterator[bytes]:
    steps = transforms.for_response(
        content_type=response.headers.get("content-type", ""),
        strip_usage=upstream.added_usage,
        text_of=upstream.endpoint.stream_format if upstream.as_text else None,
    )
    for transform in steps:
        chunks = transform(chunks)
    return chunks
