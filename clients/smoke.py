"""Checks a deployed endpoint from outside: `make smoke URL=https://...`. Knows httpx and what is promised.

Costs one short answer. The cadence is measured because only a deployment shows it: anything between the relay
and the caller may hold chunks back.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from botocore.credentials import Credentials

from clients import EXAMPLE_MODEL
from clients.signing import (
    CREDENTIAL_ERRORS,
    FUNCTION_URL_HOST,
    Signer,
    advice,
    endpoint,
    is_loopback,
    openai_error,
    signer,
)

CHAT = "/v1/chat/completions"
# Two reads closer together than this came in one piece somewhere on the way.
TOGETHER_SECONDS = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One promise, whether it was kept, and what was seen. `cure`: what to do; `final`: nothing more can be checked."""

    promise: str
    kept: bool
    seen: str
    cure: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One read: seconds since the request was sent, and how many events ended in it."""

    at: float
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is checked, and with what. `stranger` signs for the same place with a secret that is not valid."""

    url: str
    model: str
    http: httpx.Client
    signer: Signer

    @property
    def stranger(self) -> Signer:
        known = self.signer.credentials.get_frozen_credentials()
        wrong = Credentials(known.access_key, "0" * 40, known.token)
        return dataclasses.replace(self.signer, credentials=wrong)

    def request(self, body: bytes, signer: Signer | None, path: str = CHAT) -> httpx.Request:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        url = self.url + path
        if signer is not None:
            headers |= signer.sign("POST", url, body, headers["content-type"])
        return self.http.build_request("POST", url, content=body, headers=headers)

    def chat(self, **extra: Any) -> bytes:
        message = {"role": "user", "content": "Count from one to thirty in words, separated by commas."}
        return json.dumps({"model": self.model, "messages": [message], **extra}).encode()


def unsigned(at: Endpoint) -> Iterator[Finding]:
    for who, signs in (("an unsigned", None), ("a wrongly signed", at.stranger)):
        answer = at.http.send(at.request(at.chat(), signs))
        yield Finding(
            promise=f"{who} request is refused with 403",
            kept=answer.status_code == 403,
            seen=f"{answer.status_code} {answer.text[:80]!r}",
        )


def errors(at: Endpoint) -> Iterator[Finding]:
    for promise, status, body, path in (
        ("an unknown path is a 404 in OpenAI's shape", 404, b"{}", "/v1/no-such-path"),
        ("a body that is not JSON is a 400 in OpenAI's shape", 400, b"{", CHAT),
    ):
        answer = at.http.send(at.request(body, at.signer, path))
        if openai_error(answer.content) is not None:
            yield _refused_by_aws(at, answer)
            return
        kept = answer.status_code == status and _openai_error(answer.text)
        yield Finding(promise=promise, kept=kept, seen=f"{answer.status_code} {answer.text[:80]!r}")


def _refused_by_aws(at: Endpoint, answer: httpx.Response) -> Finding:
    fields = answer.json()
    message = str(fields.get("Message", fields.get("message")))
    cures = [advice(message)]
    if not at.signer.host and not FUNCTION_URL_HOST.match(answer.request.url.host) and not is_loopback(at.url):
        cures.append(
            "The URL is not a Function URL's: behind CloudFront, give the Function URL's host with --sign-host."
        )
    return Finding(
        promise=f"a request signed for {at.signer.host or answer.request.url.host} in {at.signer.region} is let in",
        kept=False, seen=f"{answer.status_code} {message!r}", cure=" ".join(filter(None, cures)), final=True,
    )  # fmt: skip


def streaming(at: Endpoint) -> Iterator[Finding]:
    sent = time.perf_counter()
    answer = at.http.send(at.request(at.chat(stream=True), at.signer), stream=True)
    try:
        headers_at = time.perf_counter() - sent
        arrivals, text = _arrivals(answer, sent)
    finally:
        answer.close()
    kind = answer.headers.get("content-type", "")
    yield Finding(
        promise="a signed request is answered with an event stream",
        kept=answer.status_code == 200 and kind.startswith("text/event-stream"),
        seen=f"{answer.status_code} {kind}" + ("" if answer.status_code == 200 else f" {text[:400]!r}"),
        cure="Choose a model that this environment allows with --model." if answer.status_code in (400, 404) else "",
    )
    if answer.status_code == 200:
        yield Finding(
            promise="the stream is complete",
            kept=text.rstrip().endswith(b"data: [DONE]"),
            seen=f"ends in {text[-40:]!r}",
        )
        yield cadence(arrivals, headers_at)


def cadence(arrivals: list[Arrival], headers_at: float) -> Finding:
    """Kept when the events came in at least half as many separate reads as there are events.

    Lambda's front end has been seen to deliver each chunk only with the next one (2023-24,
    github.com/aws/aws-lambda-nodejs-runtime-interface-client, threads 94 and 102). From here that looks like
    an upstream that is one token slower: compare the first event shown here with the relay's own log.
    """
    events = sum(arrival.events for arrival in arrivals)
    apart = [later.at - earlier.at for earlier, later in itertools.pairwise(arrivals)]
    gaps = [gap for gap in apart if gap > TOGETHER_SECONDS]
    reads = len(gaps) + 1
    ends = [arrival.at for arrival in arrivals] or [0.0]
    seen = (
        f"{events} events in {reads} separate reads; headers after {_ms(headers_at)}, "
        f"first event {_ms(ends[0])}, last {_ms(ends[-1])}; "
        f"gap median {_ms(statistics.median(gaps or [0]))}, longest {_ms(max(gaps, default=0))}"
    )
    return Finding(promise="events arrive one by one", kept=events > 2 and reads >= events / 2, seen=seen)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _arrivals(answer: httpx.Response, sent: float) -> tuple[list[Arrival], bytes]:
    arrivals, text = [], bytearray()
    for piece in answer.iter_raw():
        before = text.count(b"\n\n")
        text += piece
        arrivals.append(Arrival(at=time.perf_counter() - sent, events=text.count(b"\n\n") - before))
    return arrivals, bytes(text)


def _openai_error(text: str) -> bool:
    try:
        return set(json.loads(text)["error"]) >= {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        return False


CHECKS: tuple[Callable[[Endpoint], Iterator[Finding]], ...] = (unsigned, errors, streaming)


def check(at: Endpoint) -> Iterator[Finding]:
    """Check every promise in turn, up to a finding that is final; trouble in reaching the endpoint is a finding, too."""
    for promises in CHECKS:
        try:
            for finding in promises(at):
                yield finding
                if finding.final:
                    return
        except httpx.HTTPError as failure:
            cure = f"Check {at.url}, the network, HTTPS_PROXY and NO_PROXY." if _is_unreachable(failure) else ""
            yield Finding(promise=f"{promises.__name__} can be checked", kept=False, seen=f"{failure!r}", cure=cure)


def _is_unreachable(failure: httpx.HTTPError) -> bool:
    return isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)


def main(arguments: list[str]) -> int:
    """Check and report. Returns 0 when every promise is kept, 1 when one is not, 2 when nothing could be checked."""
    parser = argparse.ArgumentParser(prog="python -m clients.smoke", description=__doc__)
    parser.add_argument("url", help="the Function URL, or the distribution in front of it")
    parser.add_argument("--sign-host", default="", help="the Function URL's host, when the URL is another")
    parser.add_argument("--region", default="", help="default: the one in the Function URL, else the profile's")
    parser.add_argument("--profile", help="the AWS profile to sign with")
    parser.add_argument("--model", default=EXAMPLE_MODEL, help="one that the environment allows (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        url = endpoint(given.url)
        signs = signer(url, sign_host=given.sign_host, region=given.region, profile=given.profile)
        findings = list(_reported(url, signs, given.model))
    except CREDENTIAL_ERRORS as failure:
        print(f"smoke: {failure}", file=sys.stderr)
        return 2
    broken = sum(not finding.kept for finding in findings)
    print(
        f"{broken} of {len(findings)} promises are broken"
        if broken
        else f"all {len(findings)} promises are kept by {url}"
    )
    return 1 if broken else 0


def _reported(url: str, signs: Signer, model: str) -> Iterator[Finding]:
    # One connection per request: a kept one would hide what a new caller sees.
    limits = httpx.Limits(max_keepalive_connections=0)
    timeout = httpx.Timeout(120, connect=10)
    with httpx.Client(timeout=timeout, limits=limits, trust_env=not is_loopback(url)) as http:
        for finding in check(Endpoint(url=url, model=model, http=http, signer=signs)):
            print(f"{'ok  ' if finding.kept else 'FAIL'}  {finding.promise}\n      {finding.seen}", flush=True)
            if finding.cure and not finding.kept:
                print(f"      {finding.cure}", flush=True)
            yield finding


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
