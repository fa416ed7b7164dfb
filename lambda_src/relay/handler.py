"""The handler: one request's way from the door to OpenAI and back. Reads like that sentence.

Knows the order of things; each thing itself is in its own module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain

from relay.doors.function_url import to_request
from relay.doors.origin_secret import OriginSecretCheck
from relay.errors import ErrorKind, RelayError
from relay.lambda_runtime.client import Invocation
from relay.lambda_runtime.loop import Reply
from relay.limits.admission import Admission, AdmissionRequest, Permit
from relay.limits.settlement import Settlement
from relay.log import Log
from relay.models import Request, Response
from relay.net.wait import Wait
from relay.openai import errors, response, transforms
from relay.openai.credentials import Keys
from relay.openai.transport import Call, Upstream, UpstreamResponse
from relay.openai.usage_meter import BodyMeter, EventMeter, Meter
from relay.request import endpoints, upstream_request
from relay.request.upstream_request import UpstreamRequest
from relay.request_log import RequestLog
from relay.settings import Settings

# Of the time that is left, at most this part is held back for ending well, so that short deadlines leave room to work.
_RESERVE_SHARE = 0.2


class Relay:
    """Answers invocations. One at a time: an environment never has two."""

    def __init__(
        self,
        *,
        settings: Settings,
        upstream: Upstream,
        keys: Keys,
        edge: OriginSecretCheck,
        admission: Admission,
        log: Log,
        stop_fd: int = -1,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._keys = keys
        self._edge = edge
        self._admission = admission
        self._log = log
        self._stop_fd = stop_fd

    def __call__(self, invocation: Invocation, reply: Reply) -> Response:
        """Answers one invocation; what it raises, the runtime turns into an answer."""
        settings = self._settings
        record = RequestLog(request_id=invocation.id, function=settings.function_name, reply=reply, log=self._log)
        reply.when_done(record.finish)
        request = to_request(invocation.event, invocation.id)
        # The secret's ARN is known in this account only, and stays the same while keys are rotated.
        identifier = upstream_request.caller_identifier(request.caller, settings.openai_secret_arn)
        record.request(request, identifier)
        record.through(self._edge.admit(request.headers))
        wanted = upstream_request.prepare(
            request, settings.request_policy, max_body_bytes=settings.max_body_bytes, identifier=identifier
        )
        record.model(str(wanted.fields.get("model", "")), stream=wanted.wants_stream)
        if wanted.endpoint is endpoints.USAGE:
            return response.own(self._admission.usage(request.caller))
        tab = Settlement(self._permit(request, wanted, invocation), record)
        reply.when_done(tab.close)
        watch = self._watch(invocation, reply, wanted, tab)
        answer = self._sent(wanted, invocation.id, watch, tab)
        reply.when_done(lambda _: answer.close())
        record.upstream(answer.status)
        if not 200 <= answer.status < 300:
            tab.free()
            return response.refusal(answer, begun=reply.begun)
        if wanted.endpoint.body == "none":
            return response.models(answer, self._allows(request), wanted.id)
        return self._body(wanted, answer, reply, watch, record, tab)

    def _permit(self, request: Request, wanted: UpstreamRequest, invocation: Invocation) -> Permit:
        """Leave to send `wanted`, which its bound narrows to the caller's policy. A list of models costs nothing."""
        if wanted.endpoint.body == "none":
            self._admission.policy(request.caller)
            return Permit.free()
        return self._admission.admit(
            AdmissionRequest(
                request_id=request.id,
                caller=request.caller,
                endpoint=wanted.endpoint.path,
                models=wanted.models,
                bound=wanted.bound,
                seconds=invocation.deadline - time.monotonic(),
            ),
            meanwhile=self._upstream.connect_ahead,
        )

    def _allows(self, request: Request) -> Callable[[str], bool]:
        policy = self._admission.policy(request.caller)
        return lambda model: self._settings.request_policy.allows_model(model) and policy.allows(model)

    def _sent(self, wanted: UpstreamRequest, request_id: str, watch: Wait, tab: Settlement) -> UpstreamResponse:
        try:
            return self._open(wanted, request_id, watch, tab)
        except RelayError as error:
            if error.kind is ErrorKind.UPSTREAM_UNREACHABLE:
                tab.free()
            raise

    def _open(self, wanted: UpstreamRequest, request_id: str, watch: Wait, tab: Settlement) -> UpstreamResponse:
        body, content_type = wanted.body()
        key = self._keys.current(meanwhile=self._upstream.connect_ahead)
        headers = wanted.headers(key=key, content_type=content_type, request_id=request_id)
        call = Call(method=wanted.endpoint.method, path=wanted.endpoint.upstream, headers=headers, body=body)
        if not watch.seconds_left():
            raise RelayError(ErrorKind.DEADLINE, log="no time left to ask upstream")
        tab.sending()
        answer = self._upstream.open(call, watch)
        if answer.status == 401:
            self._keys.refused(key)
        return answer

    def _watch(self, invocation: Invocation, reply: Reply, wanted: UpstreamRequest, tab: Settlement) -> Wait:
        left = max(0.0, invocation.deadline - time.monotonic())
        reserve = min(self._settings.deadline_reserve_seconds, left * _RESERVE_SHARE)
        watch = Wait(downstream=reply.stream, deadline=invocation.deadline - reserve, stop_fd=self._stop_fd)
        if wanted.wants_stream and self._settings.heartbeat_seconds:
            watch.silence = self._settings.heartbeat_seconds
            watch.on_silence = _heartbeat(reply, watch, tab.headers(_stream_headers(wanted)))
        return watch

    def _body(
        self,
        wanted: UpstreamRequest,
        answer: UpstreamResponse,
        reply: Reply,
        watch: Wait,
        record: RequestLog,
        tab: Settlement,
    ) -> Response:
        response.check(answer, wants_stream=wanted.wants_stream, kinds=wanted.endpoint.content_types)
        headers = tab.headers(response.passed_headers(answer))
        meter: Meter = BodyMeter(headers.get("content-type", ""))
        if wanted.wants_stream:
            assert wanted.endpoint.stream_format is not None  # `wants_stream` is checked against it
            meter = EventMeter(wanted.endpoint.stream_format, answers=wanted.choices)
        # Last in, first out: the record learns the usage before it is written.
        reply.when_done(lambda _: record.usage(meter.usage))
        reply.when_done(lambda _: record.in_stream(errors.meaning(meter.error) if meter.error else None))
        tab.metered(meter)
        chunks = response.to_the_end(answer.chunks, meter, watch)
        if wanted.wants_stream:
            chunks = chain(_first_event(chunks, meter, reply, tab), chunks)
            headers |= _stream_headers(wanted)
        watch.overdue = ErrorKind.DEADLINE
        return Response(status=answer.status, headers=headers, body=_transformed(chunks, wanted))


def _first_event(chunks: Iterator[bytes], meter: Meter, reply: Reply, tab: Settlement) -> Iterator[bytes]:
    try:
        return response.first_event(chunks, meter, reply)
    except RelayError:
        if meter.error is not None:
            tab.free()  # a refusal in the form of an event
        raise


def _heartbeat(reply: Reply, watch: Wait, headers: dict[str, str]) -> Callable[[], None]:
    def beat() -> None:
        # The bounded wait for a real status is over: from here on a failure travels in the stream.
        if not reply.begun:
            reply.begin(200, headers)
        watch.overdue = ErrorKind.DEADLINE
        reply.keep_alive()

    return beat


def _stream_headers(wanted: UpstreamRequest) -> dict[str, str]:
    return response.TEXT_HEADERS if wanted.as_text else response.SSE_HEADERS


def _transformed(chunks: Iterator[bytes], wanted: UpstreamRequest) -> Iterator[bytes]:
    chain_of = transforms.for_request(
        strip_usage=wanted.added_usage,
        text_of=wanted.endpoint.stream_format if wanted.as_text else None,
    )
    for transform in chain_of:
        chunks = transform(chunks)
    return chunks
