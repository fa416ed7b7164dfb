"""`make deploy-local`: a local deployment, step by step, and what it shows. Exits 0 only if all was as it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

import httpx
from rich.console import Console

from clients import EXAMPLE_MODEL
from emulator.fakes.raw_upstream import RawUpstream, chat_stream
from emulator.local_deploy.deployment import LocalDeployment
from emulator.local_deploy.permissions import Attempt
from emulator.local_deploy.variants import CALLERS
from emulator.local_lambda import LocalLambda

PATH = "/v1/chat/completions"
NOT_COVERED = (
    "WAF's verdicts, CloudFront itself, streaming through a real Function URL, log deliveries, and values that AWS "
    "refuses: the tests of templates and `make smoke` on a deployment are for these"
)


class Report:
    """Steps with their seconds, and findings that have to be true."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self.is_good = True

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._console.print(f"{what:<58} {time.monotonic() - began:6.1f} s", markup=False)

    def expect(self, what: str, is_true: bool, seen: str = "") -> None:
        self.is_good &= is_true
        self._console.print(f"  {'ok ' if is_true else 'NOT'} {what}{f': {seen}' if seen else ''}", markup=False)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)


def run(environment: str, out: TextIO) -> bool:
    report = Report(out)
    with RawUpstream() as upstream, ExitStack() as started:
        upstream.answer(*chat_stream("It ", "works."))
        with report.step("synth, and an AWS account of MiniStack's"):
            deployment = started.enter_context(LocalDeployment(environment))
        with report.step("cdk bootstrap"):
            deployment.bootstrap()
        deployment.create_callers()
        _fail_first(report, deployment)
        _deploy(report, deployment)
        _check_permissions(report, deployment)
        _call(report, deployment, upstream)
        _deploy_beside(report, deployment)
        _update(report, deployment)
        _turn_the_edge_off(report, deployment)
        with report.step("cdk destroy"):
            left = deployment.destroy()
        report.expect("nothing is left but the bootstrap", left == ["CDKToolkit"], ", ".join(left))
    report.say(f"not covered: {NOT_COVERED}")
    return report.is_good


def _fail_first(report: Report, deployment: LocalDeployment) -> None:
    with report.step("a first cdk deploy, which fails at its end"):
        left = deployment.changes.fail_first()
    in_the_way = [name for name in left if not name.startswith("table ")]
    report.expect("nothing is in the way of the next", not in_the_way, ", ".join(left) or "nothing is left")


def _deploy_beside(report: Report, deployment: LocalDeployment) -> None:
    with report.step("the same under a second name, and without it again"):
        both, after = deployment.changes.deploy_beside()
    report.expect("both were there", len(both) == 2 * len(after) - 1, f"{len(both)} stacks with the bootstrap")
    report.expect("the first has stayed as it was", not deployment.differences(), f"{len(after)} stacks")


def _turn_the_edge_off(report: Report, deployment: LocalDeployment) -> None:
    with report.step("edge='off', and make leftovers"):
        found, removed = deployment.turn_the_edge_off()
    report.expect("the edge that is built no more is known", len(found) == 1, ", ".join(found))
    report.expect("it is removed", removed[-1:] == ["removed"])


def _deploy(report: Report, deployment: LocalDeployment) -> None:
    with report.step("cdk deploy"):
        deployment.deploy()
    callers = deployment.callers()
    report.expect(f"{len(CALLERS)} callers have the policy", callers == sorted(CALLERS), f"{len(callers)} roles")
    statements = deployment.function_statements()
    report.expect("they take no room in the function's own", not statements, f"{statements} statements")
    for name, value in sorted(deployment.outputs().items()):
        if name in ("EdgeUrl", "FunctionUrl", "LimitsTable", "SignHost"):
            report.say(f"  {name} = {value}")
    with report.step("cdk diff"):
        differences = deployment.differences()
    report.expect("there is nothing left to deploy", not differences, differences)
    deployment.set_key()
    report.say("  the key was set, as the output SetKeyCommand says")


def _check_permissions(report: Report, deployment: LocalDeployment) -> None:
    with report.step("calls under the function's role"):
        seen = list(deployment.attempts())
    for attempt in seen:
        report.expect(_wish(attempt), attempt.as_it_should_be, attempt.seen)


def _wish(attempt: Attempt) -> str:
    return f"{'may' if attempt.wanted else 'may not'} {attempt.what}"


def _call(report: Report, deployment: LocalDeployment, upstream: RawUpstream) -> None:
    with report.step("the relay as it was deployed"), deployment.running(upstream.url) as relay:
        direct, through = ask(relay, relay.url), ask(relay, relay.edge_url)
    report.expect("past the edge: refused", direct.status_code == 403, direct.json()["error"]["code"])
    report.expect("through the edge: answered", through.text.endswith("data: [DONE]\n\n"), f"{through.status_code}")
    report.expect("one request reached the upstream", len(upstream.requests) == 1)


def ask(relay: LocalLambda, url: str) -> httpx.Response:
    """A streamed completion, signed for the Function URL wherever it is sent."""
    body = json.dumps(
        {"model": EXAMPLE_MODEL, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    ).encode()
    signed = relay.sign("POST", PATH, body=body, headers={"content-type": "application/json"})
    return httpx.post(url + PATH, content=body, headers=signed, timeout=60, trust_env=False)


def _update(report: Report, deployment: LocalDeployment) -> None:
    value = deployment.rotate_origin_secret()
    with report.step("a new origin secret, and cdk deploy of a change"):
        deployment.update()
    report.expect("the change arrived", deployment.log_level() == "DEBUG")
    report.expect("the distribution sends the new secret", value in deployment.sent_by_the_distribution().values())
