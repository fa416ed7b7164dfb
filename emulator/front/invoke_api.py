"""Lambda's own API, as far as invoking goes: the other way in, past the Function URL.

`Invoke` gives the whole answer at once, `InvokeWithResponseStream` gives it piece by piece in event-stream framing;
both carry what the function wrote as it is, prelude and NULs included. The event is the invoker's own text: whoever may
do this can claim to be anybody, so only the identities named here may. Knows nothing of processes or of Function URLs.

docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html and API_Invoke.html
"""

from __future__ import annotations

import datetime
import importlib
import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from emulator.front.function_url import new_trace_id
from emulator.net.listener import Listener, read_body
from emulator.runtime.environment_pool import EnvironmentPool, InitFailedError, ThrottledError
from emulator.runtime.invocation import Ending, InvocationResponse, Outcome
from emulator.signing.identities import Identity
from emulator.signing.signature import RefusedError, SignedRequest, Verifier

_STREAMING = re.compile(r"/2021-11-15/functions/(?P<name>[^/]+)/response-streaming-invocations")
_BUFFERED = re.compile(r"/2015-03-31/functions/(?P<name>[^/]+)/invocations")


class InvokeApi:
    """`invokers` are the identities that a policy would give `lambda:InvokeFunction`; nobody has it by default."""

    def __init__(
        self,
        fleet: EnvironmentPool,
        verifier: Verifier,
        *,
        invokers: Sequence[Identity],
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._pool = fleet
        self._verifier = verifier
        self._allowed = {identity.access_key for identity in invokers}
        self._clock = clock
        self._listener = Listener(self._serve)

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self) -> None:
        await self._listener.start(0)

    async def close(self) -> None:
        await self._listener.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        event = await read_body(request)
        if event is None:
            return _refuse(413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes")
        signed = SignedRequest(
            method=request.method, target=request.raw_path, headers=list(request.headers.items()), body=event
        )
        try:
            caller = self._verifier.verify(signed, self._clock())
        except RefusedError as refused:
            return _refuse(403, refused.kind, str(refused))
        if caller.access_key not in self._allowed:
            return _refuse(
                403,
                "AccessDeniedException",
                f"User: {caller.arn} is not authorized to perform: lambda:InvokeFunction "
                f"on resource: {self._pool.function.arn}",
            )
        return await self._invoke(request, event or b"{}")

    async def _invoke(self, request: web.BaseRequest, event: bytes) -> web.StreamResponse:
        streaming, buffered = _STREAMING.fullmatch(request.path), _BUFFERED.fullmatch(request.path)
        named = streaming or buffered
        if request.method != "POST" or named is None:
            return _refuse(404, "UnknownOperationException", "only Invoke and InvokeWithResponseStream are served")
        name, alias = _unqualified(unquote(named["name"]), self._pool.function.arn)
        if alias:
            message = f"not authorized to perform: lambda:InvokeFunction on resource: {self._pool.function.arn}:{alias}"
            return _refuse(403, "AccessDeniedException", message)  # a permission on the function is none on an alias
        if name not in (self._pool.function.name, self._pool.function.arn):
            return _refuse(404, "ResourceNotFoundException", f"Function not found: {named['name']}")
        try:
            _, answer = await self._pool.invoke(event, str(uuid.uuid4()), new_trace_id())
        except ThrottledError:
            return _refuse(429, "TooManyRequestsException", "Rate Exceeded.")
        except InitFailedError as failed:
            answer = InvocationResponse()
            answer.end(failed.outcome)
        return await (_stream(request, answer) if streaming else _whole(answer))


def _unqualified(name: str, arn: str) -> tuple[str, str]:
    """A function's name or ARN, and the alias behind it: "relay:api"."""
    if name.startswith(arn):
        return arn, name.removeprefix(arn).removeprefix(":")
    own, _, alias = name.partition(":")
    return own, alias


async def _whole(answer: InvocationResponse) -> web.Response:
    body = b""
    while part := await answer.read():
        body += part
    assert answer.outcome is not None
    if answer.outcome.ending is Ending.COMPLETE:
        return web.Response(body=body, headers={"X-Amz-Executed-Version": "$LATEST"})
    error = {"errorType": answer.outcome.error_type, "errorMessage": answer.outcome.message}
    headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "$LATEST"}
    return web.Response(text=json.dumps(error), headers=headers)


async def _stream(request: web.BaseRequest, answer: InvocationResponse) -> web.StreamResponse:
    headers = {"content-type": "application/vnd.amazon.eventstream", "X-Amz-Executed-Version": "$LATEST"}
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        while part := await answer.read():
            await response.write(_message("PayloadChunk", "application/octet-stream", part))
        assert answer.outcome is not None
        await response.write(_message("InvokeComplete", "application/json", _completion(answer.outcome)))
    except ConnectionError:
        answer.discard()  # the function is not told, as on Lambda
    return response


def _completion(outcome: Outcome) -> bytes:
    if outcome.ending is Ending.COMPLETE:
        return b"{}"
    return json.dumps({"ErrorCode": outcome.error_type or "Unhandled", "ErrorDetails": outcome.message}).encode()


def _message(kind: str, content_type: str, payload: bytes) -> bytes:
    """One message of application/vnd.amazon.eventstream, by MiniStack's encoder; imported here, because it takes 0.3 s."""
    service: Any = importlib.import_module("ministack.services.lambda_svc")
    headers = {":message-type": "event", ":event-type": kind, ":content-type": content_type}
    encoded: bytes = service._es_encode_message(headers, payload)
    return encoded


def _refuse(status: int, kind: str, message: str) -> web.Response:
    text = json.dumps({"Type": "User", "Message": message})
    return web.Response(status=status, text=text, content_type="application/json", headers={"x-amzn-ErrorType": kind})
