"""Hundreds of requests of every kind at once: what the ledger says is what the stand-in for OpenAI says it billed."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.fakes.raw_upstream import EVENT_STREAM, Close, Recorded, Send, Stall, Step, chunk, head, json_answer
from tests.support import relay_with_limits
from tests.support.relay_with_limits import Answer, Setup

KINDS = ("stream", "whole", "cut", "stall", "refused by us", "refused by them")
WEIGHTS = (42, 30, 10, 1, 10, 7)
# A hundred for everybody, as many as are promised for `--thorough`.
REQUESTS = {False: 100, True: 500}
TIMEOUT = 3.0


@pytest.fixture(scope="module")
def setup(bundle: Path) -> Iterator[Setup]:
    policies = {"default": {"usd_day": 1000, "models": ["gpt-5-mini"], "output_cap": 100}}
    with relay_with_limits.running(bundle, policies, timeout=TIMEOUT, concurrency=4) as running:
        yield running


class Billing:
    """An upstream that does what the prompt says and writes its bill."""

    def __init__(self) -> None:
        self.bill: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Recorded) -> list[Step]:
        body = json.loads(request.body)
        kind, _, number = body["messages"][0]["content"].partition(":")
        tokens = (10 + int(number), 1 + int(number) % 60)
        usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        if kind == "refused by them":
            return json_answer(400, {"error": {"message": "no", "type": "invalid_request_error", "code": None}})
        words: list[Step] = [Send(head(headers=EVENT_STREAM)), Send(chunk(relay_with_limits.words("Hel")[0]))]
        if kind == "cut":
            return [*words, Close()]
        if kind == "stall":
            return [*words, Stall()]
        with self._lock:
            self.bill[request.header("x-client-request-id") or ""] = tokens
        return relay_with_limits.stream(usage) if body.get("stream") else relay_with_limits.whole(usage)


def _send(setup: Setup, kind: str, number: int) -> tuple[str, Answer]:
    model = "gpt-5" if kind == "refused by us" else "gpt-5-mini"
    content = f"{kind}:{number}"
    answer = setup.send(model=model, stream=kind != "whole", messages=[{"role": "user", "content": content}])
    while answer.status_code == 503:  # the store's or the door's, on a machine that is busy
        answer = setup.send(model=model, stream=kind != "whole", messages=[{"role": "user", "content": content}])
    return kind, setup.over(answer)


@pytest.mark.timeout(600)
def test_the_ledger_says_what_was_billed(setup: Setup, request: pytest.FixtureRequest) -> None:
    billing = Billing()
    setup.upstream.answer_with(billing)
    chance = random.Random(7)
    more = REQUESTS[request.config.getoption("--thorough")] - len(KINDS)
    kinds = [*KINDS, *chance.choices(KINDS, WEIGHTS, k=more)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda pair: _send(setup, pair[1], pair[0]), enumerate(kinds)))
    fared = Counter((kind, answer.status_code, answer.broken) for kind, answer in answers)
    records = {record.id: record for record in setup.records()}
    counted = {id: (record.counts["input"], record.counts["output"]) for id, record in records.items() if record.counts}
    assert counted == billing.bill
    by_kind = {answer.headers["x-request-id"]: kind for kind, answer in answers}
    for id, record in records.items():
        if by_kind.get(id) in ("cut", "stall"):
            assert (record.usd, record.tokens) == (record.bound_usd, record.bound_tokens)
        if by_kind.get(id) == "refused by them":
            assert (record.usd, record.tokens) == (0, 0)
    assert not any(by_kind.get(id) == "refused by us" for id in records)
    account = setup.account()
    days = {name.rpartition(":")[0] for name in account.counters if name.startswith("d:")}
    assert sum(account.count(day, "tok") for day in days) == sum(record.tokens for record in records.values())
    assert sum(account.count(day, "usd") for day in days) == sum(record.usd for record in records.values())
    assert not account.open
    print("\n".join(f"{count:4} {kind}: {status}{', broken off' if broken else ''}"
                    for (kind, status, broken), count in sorted(fared.items())))  # fmt: skip
