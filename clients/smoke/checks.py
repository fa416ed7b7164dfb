"""The checks by name, in the order in which a fresh deployment is walked: outside first, then what AWS tells of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError

from clients.deployed import alarms, records, state
from clients.deployed.account import UnavailableError
from clients.deployed.deployment import Deployment
from clients.report import Finding, Result, skipped
from clients.smoke import bearers, edge, locks, streams
from clients.smoke.endpoint import Endpoint, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One run. `deployment` finds the stacks behind the endpoint, or raises UnavailableError."""

    at: Endpoint
    session: boto3.Session
    deployment: Callable[[], Deployment]
    notes: records.Notes = field(default_factory=lambda: records.Notes(canary=f"canary{secrets.token_hex(8)}"))
    role: str = ""
    edge_mode: str = ""
    thinking_model: str = ""
    silence_seconds: float = 45.0
    heartbeat_seconds: float = streams.HEARTBEAT_SECONDS
    deadline_seconds: float | None = None
    drill: bool = False
    api: str = ""
    api_bearer: str = field(default="", repr=False)

    def noting(self, what: str) -> Endpoint:
        """The endpoint; the next stream's request is noted under `what`, so that its record can be looked for."""
        return _Noting(
            url=self.at.url, model=self.at.model, http=self.at.http, signer=self.at.signer, notes=self.notes, what=what
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noting(Endpoint):
    notes: records.Notes
    what: str

    def stream(self, body: bytes, path: str = "/v1/chat/completions", *, leave_after: int = 0) -> Stream:
        stream = Endpoint.stream(self, body, path, leave_after=leave_after)
        if stream.is_event_stream and stream.request_id:
            self.notes.ids[self.what] = stream.request_id
        return stream


def _deadline(walk: Walk) -> Iterator[Finding]:
    """Asked for, it is waited for however long it takes; else the function's own is read where that is allowed."""
    at, promise = walk.noting("cut"), "a stream that fails midway ends with an error event"
    if walk.deadline_seconds is not None:
        yield from streams.cut(at, promise)
        return
    try:
        seconds: float | None = walk.deployment().configuration()["Timeout"]
    except UnavailableError:
        seconds = None
    yield from streams.deadline(at, seconds)


def _direct(walk: Walk) -> Iterator[Finding]:
    mode = walk.edge_mode
    if not mode and walk.at.is_behind_edge:
        try:
            mode = walk.deployment().configuration()["Environment"]["Variables"].get("EDGE", "")
        except UnavailableError:
            mode = ""
    yield from locks.direct(walk.at, mode)


def _drill(walk: Walk) -> Iterator[Finding]:
    if not walk.drill:
        yield skipped(
            "the alarm stops the relay", "it was not asked for", "Give --drill: it stops the relay for a minute."
        )
        return
    yield from alarms.drill(walk.deployment(), lambda: walk.at.models().status_code == 200)


CHECKS: Mapping[str, Callable[[Walk], Iterator[Finding]]] = {
    "locks": lambda walk: locks.unsigned(walk.at),
    "errors": lambda walk: locks.errors(walk.at),
    "direct": _direct,
    "permissions": lambda walk: locks.permissions(walk.at, walk.role, walk.session),
    "stream": lambda walk: streams.streaming(walk.noting("stream"), walk.notes.canary),
    "disconnect": lambda walk: streams.disconnect(walk.noting("left")),
    "silence": lambda walk: streams.silence(
        walk.noting("silence"), walk.thinking_model or walk.at.model, walk.silence_seconds, walk.heartbeat_seconds
    ),
    "deadline": _deadline,
    "edge": lambda walk: edge.edge(walk.at),
    "api": lambda walk: bearers.api(walk.at, walk.api, walk.api_bearer),
    "references": lambda walk: state.references(walk.deployment()),
    "grants": lambda walk: state.grants(walk.deployment()),
    "concurrency": lambda walk: state.concurrency(walk.deployment()),
    "alarms": lambda walk: alarms.alarms(walk.deployment()),
    "spend-watch": lambda walk: alarms.spend_watch(walk.deployment()),
    "log": lambda walk: records.log(walk.deployment(), walk.notes),
    "metrics": lambda walk: records.metrics(walk.deployment(), walk.notes),
    "drill": _drill,
}
# Those that take minutes, or are billed for more than a short response.
SLOW = ("silence", "deadline", "log", "metrics")


def check(walk: Walk, names: tuple[str, ...] = tuple(CHECKS)) -> Iterator[Finding]:
    """Check every promise in turn, up to a finding that is final; trouble in reaching the endpoint is a finding, too."""
    for name in names:
        try:
            for finding in CHECKS[name](walk):
                yield replace(finding, check=name)
                if finding.final:
                    return
        except httpx.HTTPError as failure:
            cure = f"Check {walk.at.url}, the network, HTTPS_PROXY and NO_PROXY." if _is_unreachable(failure) else ""
            seen = f"{type(failure).__name__}: {failure}"
            broken = Finding(promise=f"{name} can be checked", result=Result.BROKEN, seen=seen, cure=cure, check=name)
            yield broken
        except UnavailableError as failure:
            yield replace(skipped(f"{name}: what AWS says of the deployment", str(failure), failure.cure), check=name)
        except (BotoCoreError, ClientError) as failure:
            yield replace(skipped(f"{name} can be checked", str(failure)), check=name)


def _is_unreachable(failure: httpx.HTTPError) -> bool:
    return isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
