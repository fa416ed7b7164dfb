"""Many processes, one limit: exactly as many get in as there is room for, every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from relay.accounts.account import Account, account_of
from relay.ledger import items

from tests.support import child_process, dynamo

PROCESSES, EACH, ROOM = 8, 64, 20
# Of a member of a group, where each refusal takes back what its caller's account held: as many as are promised, or enough.
EACH_MEMBER = {False: 16, True: EACH}
# One for everybody, as many as are promised for `--thorough`.
ROUNDS = {False: 1, True: 50}
KINDS = [
    ("dynalite", {"concurrent": ROOM}),
    ("dynalite", {"usd_per_day": ROOM * 7}),
    ("dynalite", {"usd_per_month": ROOM * 7 + 6}),
    ("dynalite", {"tokens_per_day": ROOM * 3 + 2}),
    ("dynalite", {"requests_per_minute": ROOM}),
    ("ministack", {"concurrent": ROOM}),
    ("ministack", {"usd_per_day": ROOM * 7}),
]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with dynamo.dynalite() as dynalite, dynamo.ministack() as ministack:
        yield {"dynalite": dynalite, "ministack": ministack}


class Crowd:
    """PROCESSES contenders for one table."""

    def __init__(self, url: str, table: str, limits: dict[str, int]) -> None:
        command = [sys.executable, "-m", "tests.support.doubles.competing_reserver", url, table, json.dumps(limits)]
        env = {**os.environ, "PYTHONPATH": str(dynamo.ROOT / "lambda_src")}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._all = [subprocess.Popen(command, cwd=dynamo.ROOT, env=env, **pipes) for _ in range(PROCESSES)]
        for process in self._all:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def round(self, caller: str, group: str = "", each: int = EACH) -> Counter[str]:
        """Everybody at once, `each` process that often; how they fared together. In a `group` each is a caller of its own."""
        for number, process in enumerate(self._all):
            assert process.stdin is not None
            process.stdin.write(f"{caller}-{number} {each} {group}\n" if group else f"{caller} {each}\n")
            process.stdin.flush()
        total: Counter[str] = Counter()
        for process in self._all:
            assert process.stdout is not None
            total.update(json.loads(process.stdout.readline()))
        return total

    def close(self) -> None:
        for process in self._all:
            child_process.end(process)
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("store", "limits"), KINDS, ids=[f"{store} {next(iter(kind))}" for store, kind in KINDS])
def test_exactly_as_many_get_in_as_there_is_room_for(
    urls: dict[str, str], store: str, limits: dict[str, int], request: pytest.FixtureRequest
) -> None:
    url = urls[store]
    table = dynamo.create_table(url, f"table-{uuid.uuid4().hex}")
    crowd = Crowd(url, table, limits)
    try:
        for _ in range(ROUNDS[request.config.getoption("--thorough")]):
            if "requests_per_minute" in limits:
                # A round of some seconds has to lie within one clock minute.
                time.sleep(max(0.0, 60 - time.time() % 60) if time.time() % 60 > 45 else 0)
            caller = f"1/{uuid.uuid4().hex}"
            assert crowd.round(caller) == {"admitted": ROOM, "refused": PROCESSES * EACH - ROOM, "other": 0}
            _is_booked(url, table, items.account_key(caller))
    finally:
        crowd.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("store", "limits"), KINDS, ids=[f"{store} {next(iter(kind))}" for store, kind in KINDS])
def test_exactly_as_many_members_of_a_group_get_in_as_there_is_room_for(
    urls: dict[str, str], store: str, limits: dict[str, int], request: pytest.FixtureRequest
) -> None:
    """Eight callers, one for each process, of whom none has a limit of its own."""
    url = urls[store]
    table = dynamo.create_table(url, f"table-{uuid.uuid4().hex}")
    crowd, thorough = Crowd(url, table, limits), request.config.getoption("--thorough")
    each = EACH_MEMBER[thorough]
    try:
        for _ in range(ROUNDS[thorough]):
            if "requests_per_minute" in limits:
                time.sleep(max(0.0, 60 - time.time() % 60) if time.time() % 60 > 40 else 0)
            caller, group = f"1/{uuid.uuid4().hex}", uuid.uuid4().hex[:12]
            fared = crowd.round(caller, group, each)
            assert fared == {"admitted": ROOM, "refused": PROCESSES * each - ROOM, "other": 0}
            _is_booked(url, table, items.group_account_key(group))
            members = [_account(url, table, items.account_key(f"{caller}-{number}")) for number in range(PROCESSES)]
            assert sum(len(member.open) for member in members) == ROOM, "who is refused by the group holds nothing"
            assert sum(sums(member)["usd"] for member in members) == ROOM * 7
    finally:
        crowd.close()


def _account(url: str, table: str, key: dict[str, str]) -> Account:
    return account_of(dynamo.client(url).get_item(TableName=table, Key=items.in_json(key))["Item"])


def sums(account: Account) -> Counter[str]:
    """What is booked, by unit, of all days."""
    sums: Counter[str] = Counter()
    for name, value in account.counters.items():
        if name.startswith("d:"):
            sums[name.rpartition(":")[2]] += value
    return sums


def _is_booked(url: str, table: str, key: dict[str, str]) -> None:
    account = _account(url, table, key)
    assert len(account.open) == ROOM
    assert dict(sums(account)) == {"req": ROOM, "tok": ROOM * 3, "usd": ROOM * 7}
