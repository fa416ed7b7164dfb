"""A REST API in front of the function: bearers in, a judged caller, an event of format 1.0; responses out as they come.

Knows HTTP as API Gateway speaks it (Regional, response transfer mode STREAM) and what it refuses by itself. Knows nothing
of the relay, of what a key is or where keys are kept: that is the authorizer function's.
docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
"""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from emulator.front.delivery import Delivery, Disconnects, Pace, Undelivered
from emulator.front.function_url import new_trace_id
from emulator.front.rest_event import ApiCall, rest_event
from emulator.front.tokens import ForbiddenError, JwtAuthorizer, TrustedIssuer, UnauthorizedError
from emulator.net.listener import Listener, read_body
from emulator.processes.log import LogSink
from emulator.runtime.environment_pool import EnvironmentPool, InitFailedError, ThrottledError
from emulator.runtime.function import Function
from emulator.runtime.invocation import Ending
from emulator.signing.identities import ACCOUNT

PACE = Pace(idle_seconds=300, full_speed_bytes=10 * 1024 * 1024)
_AUTHORIZER_SECONDS = 15.0
_KEYS, _TOKENS = "/v1/", "/sso/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One of the API's gateway responses."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The API as its template has it. `key_function` judges keys, None where there are none; `issuers` are whose tokens
    let in. `refusals` are by type, `alias` is the function's name that the API invokes."""

    id: str
    stage: str
    alias: str
    key_function: Function | None
    key_pattern: str
    cache_seconds: float
    issuers: Sequence[TrustedIssuer] = ()
    algorithms: Sequence[str] = ()
    scopes: Sequence[str] = ()
    origins: Sequence[str] = ()
    binary_types: Sequence[str] = ()
    refusals: Mapping[str, Refusal] = field(default_factory=dict)


class RestApi:
    """Serves the stage at the root, as a domain of one's own does. `keys` runs the authorizer function, when there is one."""

    def __init__(
        self,
        api: Api,
        fleet: EnvironmentPool,
        keys: EnvironmentPool | None,
        logs: LogSink,
        *,
        disconnects: Disconnects = Disconnects.HIDDEN,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        pace: Pace = PACE,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._api = api
        self._keys = keys
        self._clock = clock
        self._pattern = re.compile(api.key_pattern)
        self._remembered: dict[str, tuple[float, Mapping[str, Any] | None]] = {}
        self._tokens = JwtAuthorizer(api.issuers, api.algorithms, api.scopes, clock=lambda: self._clock().timestamp())
        self._delivery = Delivery(
            fleet, logs, self.counters, disconnects, self._undelivered, alias=api.alias, pace=pace
        )
        self._listener = Listener(self._serve, report=logs.platform, cancels=disconnects is Disconnects.TOLD)

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self) -> None:
        await self._listener.start(0)

    async def close(self) -> None:
        await self._listener.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        path = request.raw_path.partition("?")[0]
        body = await read_body(request)
        resource = self._resource(path)
        if resource is None:
            return self._refuse("MISSING_AUTHENTICATION_TOKEN", request_id)
        if request.method == "OPTIONS" and self._api.origins:
            return self._preflight(request)
        try:
            authorizer = await self._authorize(request, resource)
        except _RefusedError as refused:
            return self._refuse(refused.kind, request_id)
        if body is None:
            return self._refuse("REQUEST_TOO_LARGE", request_id)
        call = ApiCall(
            api_id=self._api.id,
            stage=self._api.stage,
            account=ACCOUNT,
            resource=f"{resource}{{proxy+}}",
            method=request.method,
            target=request.raw_path,
            proxy=path.removeprefix(resource),
            headers=list(request.headers.items()),
            body=body,
            authorizer=authorizer,
            request_id=request_id,
            source_ip=request.remote or "127.0.0.1",
            now=self._clock(),
            binary_types=self._api.binary_types,
        )
        return await self._delivery.invoke(request, rest_event(call), request_id, new_trace_id())

    def _resource(self, path: str) -> str | None:
        """The resource that a path is below; {proxy+} stands for something, never for nothing."""
        served = [_KEYS] if self._keys is not None else []
        served += [_TOKENS] if self._api.issuers else []
        return next((each for each in served if path.startswith(each) and len(path) > len(each)), None)

    async def _authorize(self, request: web.BaseRequest, resource: str) -> Mapping[str, Any]:
        presented = request.headers.getall("authorization", [])
        if not presented:
            raise _RefusedError("UNAUTHORIZED")
        if resource == _TOKENS:
            try:
                return {"claims": await self._tokens.claims(presented[-1])}
            except UnauthorizedError:
                raise _RefusedError("UNAUTHORIZED") from None
            except ForbiddenError:
                raise _RefusedError("ACCESS_DENIED") from None
        if not self._pattern.search(presented[-1]):
            raise _RefusedError("UNAUTHORIZED")
        context = await self._judge(presented[-1], request)
        if context is None:
            raise _RefusedError("ACCESS_DENIED")
        return context

    async def _judge(self, bearer: str, request: web.BaseRequest) -> Mapping[str, Any] | None:
        """What the authorizer function says of a bearer, or said within the time that it is remembered."""
        until, context = self._remembered.get(bearer, (0.0, None))
        if time.monotonic() < until:
            self.counters["authorizer remembered"] += 1
            return context
        assert self._keys is not None
        region = self._keys.function.region
        arn = f"arn:aws:execute-api:{region}:{ACCOUNT}:{self._api.id}/{self._api.stage}/{request.method}{request.path}"
        event = {"type": "TOKEN", "authorizationToken": bearer, "methodArn": arn}
        decision = await self._asked(self._keys, json.dumps(event).encode())
        context = _context(decision, arn)
        self._remembered[bearer] = (time.monotonic() + self._api.cache_seconds, context)
        return context

    async def _asked(self, keys: EnvironmentPool, event: bytes) -> dict[str, Any]:
        self.counters["authorizer invoked"] += 1
        try:
            async with asyncio.timeout(_AUTHORIZER_SECONDS):
                _, answer = await keys.invoke(event, str(uuid.uuid4()), new_trace_id())
                text = b""
                while part := await answer.read():
                    text += part
        except (ThrottledError, InitFailedError, TimeoutError):
            raise _RefusedError("AUTHORIZER_FAILURE") from None
        if answer.outcome is None or answer.outcome.ending is not Ending.COMPLETE:
            raise _RefusedError("AUTHORIZER_FAILURE")
        decision: dict[str, Any] = json.loads(text)
        return decision

    def _preflight(self, request: web.BaseRequest) -> web.Response:
        origin = request.headers.get("origin", "")
        headers = {
            "Access-Control-Allow-Headers": "authorization,*",
            "Access-Control-Allow-Methods": "GET,POST,DELETE",
            "Access-Control-Max-Age": "3600",
            "Vary": "Origin",
        }
        allowed = origin if origin in self._api.origins else self._api.origins[0]
        return web.Response(status=204, headers={**headers, "Access-Control-Allow-Origin": allowed})

    def _undelivered(self, cause: Undelivered, request_id: str) -> web.Response:
        kind = "INTEGRATION_TIMEOUT" if cause is Undelivered.SILENT else "INTEGRATION_FAILURE"
        return self._refuse(kind, request_id)

    def _refuse(self, kind: str, request_id: str) -> web.Response:
        self.counters[f"refused {kind}"] += 1
        found = self._api.refusals.get(kind)
        if found is None:
            return web.json_response({"message": kind}, status=500, headers={"x-amzn-RequestId": request_id})
        headers = {**found.headers, "x-amzn-RequestId": request_id}
        return web.Response(status=found.status, text=found.body, content_type="application/json", headers=headers)


class _RefusedError(Exception):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def _context(decision: Mapping[str, Any], arn: str) -> Mapping[str, Any] | None:
    """What of a decision reaches the function; None when it denies `arn`. A policy's * stands for any text."""
    allowed = False
    for statement in decision["policyDocument"]["Statement"]:
        matches = re.fullmatch(re.escape(statement["Resource"]).replace(r"\*", ".*"), arn) is not None
        if matches and statement["Effect"] == "Deny":
            return None
        allowed = allowed or (matches and statement["Effect"] == "Allow")
    context = {name: str(value) for name, value in decision.get("context", {}).items()}
    return {**context, "principalId": decision["principalId"], "integrationLatency": 1} if allowed else None
