"""Processes killed at any moment of a streamed request: nothing open stays open, nothing is lost, nothing counts twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from relay.accounts.account import EXPIRED

from emulator.fakes.raw_upstream import EVENT_STREAM, LAST_CHUNK, Recorded, Send, Sleep, Step, head
from tests.support import relay_with_limits
from tests.support.relay_with_limits import Setup

# Eight for everybody, as many as are promised for `--thorough`.
KILLS = {False: 8, True: 50}
TIMEOUT = 4.0
GROUP = "atlas"
LEASE_GRACE = 5.0


@pytest.fixture(scope="module", params=["alone", "in a group"])
def setup(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Setup]:
    policies: dict[str, Any] = {"default": {"usd_day": 100, "concurrent": 100, "output_cap": 100}}
    if request.param == "in a group":
        policies["default"]["group"] = GROUP
        policies["groups"] = {GROUP: {"usd_day": 100, "concurrent": 100}}
    with relay_with_limits.running(bundle, policies, timeout=TIMEOUT, concurrency=2) as running:
        yield running


def slow_stream(request: Recorded) -> list[Step]:
    """Half a second of words, then what was used."""
    whole = relay_with_limits.stream({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, *"abcdefgh")
    events = [step for step in whole if isinstance(step, Send)][1:-1]
    paced: list[Step] = [Send(head(headers=EVENT_STREAM))]
    for event in events:
        paced += [Sleep(0.05), event]
    return [*paced, Send(LAST_CHUNK)]


def _ask(setup: Setup) -> None:
    with contextlib.suppress(httpx.HTTPError):
        setup.send()


@pytest.mark.timeout(600)
def test_kill_9_at_random_moments(setup: Setup, request: pytest.FixtureRequest) -> None:
    chance = random.Random(4)
    setup.upstream.answer_with(slow_stream)
    setup.over(setup.send())
    for _ in range(KILLS[request.config.getoption("--thorough")]):
        setup.local.warm(1)
        asking = threading.Thread(target=_ask, args=(setup,))
        asking.start()
        # Over the whole life of a request: before it is admitted, in mid-stream, while it is settled.
        time.sleep(chance.uniform(0.0, 0.75))
        for pid in filter(None, setup.local.pids()):  # 0: not started yet; to kill(2) that is ourselves
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        asking.join()
    # A process that lives sweeps what the dead have left once their leases are over, 25 of them with each request.
    time.sleep(TIMEOUT + LEASE_GRACE + 0.5)
    for _ in range(4):
        setup.over(setup.send())
    _audit(setup)


def _audit(setup: Setup) -> None:
    account = setup.account()
    records = setup.records()
    ids = [record.id for record in records]
    assert len(set(ids)) == len(ids), "one record for each"
    sent = {recorded.header("x-client-request-id") for recorded in setup.upstream.requests}
    assert sent <= set(ids), "what was sent has a record"
    assert not account.open
    assert set(account.done) <= set(ids)
    expired = [record for record in records if record.outcome == EXPIRED]
    assert expired, "some were killed in mid-stream"
    assert all(record.usd == record.bound_usd for record in expired)
    days = {name.rpartition(":")[0] for name in account.counters if name.startswith("d:")}
    for unit, total in (
        ("usd", sum(record.usd for record in records)),
        ("tok", sum(record.tokens for record in records)),
        ("req", len(records)),
    ):
        assert sum(account.count(day, unit) for day in days) == total, unit
    shared = setup.group_account(GROUP)
    if shared.exists:
        assert not shared.open
        # Killed between the two reservations, a request was never sent: its caller's account alone holds its bound.
        between = [record for record in expired if record.id not in sent and record.group]
        for unit, figure in (("usd", lambda r: r.usd), ("tok", lambda r: r.tokens), ("req", lambda r: 1)):
            total, most = sum(shared.count(day, unit) for day in days), sum(map(figure, records))
            assert most - sum(map(figure, between)) <= total <= most, unit
    print(f"{len(sent)} sent, {len(records)} records, {len(expired)} of them expired")
