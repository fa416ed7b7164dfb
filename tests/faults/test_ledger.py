"""A hundred requests for each way in which a store can be bad to one: the books are right afterwards, to the token."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from relay.accounts.account import Reservation, UsageRecord, account_of, record_of
from relay.accounts.limit_kinds import Limits
from relay.aws.errors import StoreError
from relay.aws.update_expression import decode
from relay.ledger import items
from relay.ledger.ledger import Admitted, GroupTerms, Ledger
from relay.ledger.table import Table
from relay.limits.decision import judge

from tests.support import dynamo

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
REQUESTS = 100
CALLER = "123456789012/AROAEXAMPLE"
Fault = Callable[[int, str, Mapping[str, Any]], str | None]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with dynamo.dynalite() as url:
        yield url


def is_reserve(body: Mapping[str, Any]) -> bool:
    return "size(" in body.get("ConditionExpression", "")


def once_each(wanted: Callable[[str, Mapping[str, Any]], bool], how: str) -> Fault:
    """The first attempt at each write that is wanted goes wrong, its repetition does not."""
    seen: set[str] = set()

    def fault(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        if not wanted(operation, body) or str(body) in seen:
            return None
        seen.add(str(body))
        return how

    return fault


def at_random(share: float, seed: int, wanted: Callable[[str, Mapping[str, Any]], bool] = lambda *_: True) -> Fault:
    chance = random.Random(seed)

    def fault(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        return chance.choice(["before", "after"]) if wanted(operation, body) and chance.random() < share else None

    return fault


FAULTS: dict[str, Fault] = {
    "reserve applied, answer lost": once_each(lambda operation, body: is_reserve(body), "after"),
    "settle applied, answer lost": once_each(
        lambda operation, body: operation == "UpdateItem" and not is_reserve(body), "after"
    ),
    "record applied, answer lost": once_each(lambda operation, body: operation == "PutItem", "after"),
    "each call lost before or after, one in five": at_random(0.2, 1),
    "each call lost before or after, four in five": at_random(0.8, 2),
    "settlements lost before or after, nineteen in twenty": at_random(
        0.95, 3, lambda _, body: not is_reserve(body) and "attribute_exists(" in body.get("ConditionExpression", "")
    ),
}


TEAM = GroupTerms(name="atlas", limits=Limits(concurrent=50), judge=partial(judge, group="atlas"))


@pytest.mark.parametrize("group", [None, TEAM], ids=["alone", "in a group"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_hundred_requests_are_booked_once_each(url: str, name: str, group: GroupTerms | None) -> None:
    table = dynamo.create_table(url, f"table-{uuid.uuid4().hex}")
    now = [NOON]
    admitted: dict[str, tuple[Admitted, UsageRecord]] = {}
    refused: set[str] = set()
    unsettled: list[str] = []
    with dynamo.store(url) as plain:
        faulty = dynamo.Lossy(plain, FAULTS[name])
        # Each look at the clock finds it a fifth of a second later: an admission has some three attempts. One in two
        # accounts looks twice as often, and a new caller's in a new group once more for each of their items.
        ticks, pace = iter(range(10**9)), 15 if group else 5
        store = Table(faulty, name=table, monotonic=lambda: next(ticks) / pace, sleep=lambda _: None)
        ledger = Ledger(store, clock=lambda: now[0])
        for number in range(REQUESTS):
            now[0] += 500
            entry = Reservation(
                id=f"id-{number}", at=now[0], lease=now[0] + 30_000, usd=100 + number, tokens=10,
                group=group.name if group else "",
            )  # fmt: skip
            try:
                held = ledger.reserve(CALLER, "1:role/x", entry, Limits(concurrent=50), judge, group=group)
            except StoreError:
                refused.add(entry.id)
                continue
            record = UsageRecord(
                id=entry.id, at=entry.at, outcome="ok", usd=number, tokens=3, bound_usd=entry.usd, group=entry.group
            )
            admitted[entry.id] = (held, record)
            try:
                ledger.settle(CALLER, held, record)
            except StoreError:
                unsettled.append(entry.id)
        # The weather clears, the leases of what nobody settled run out, and whoever comes next sweeps.
        faulty.fault = lambda *_: None
        entry = Reservation(id="last", at=now[0], lease=now[0] + 1, usd=1, tokens=1, group=group.name if group else "")
        last = ledger.reserve(CALLER, "1:role/x", entry, Limits(), judge, group=group)
        ledger.settle(CALLER, last, UsageRecord(id="last", at=now[0], outcome="ok", usd=1, tokens=1))
        now[0] += 200_000
        for _ in range(6):
            sweeper = Ledger(
                Table(plain, name=table, monotonic=lambda: 0.0, sleep=lambda _: None), clock=lambda: now[0]
            )
            sweeper.sweep(CALLER)
            if group:
                shared = sweeper.sweep_group(group.name)
        if group:
            own = sweeper.account(CALLER)
            assert not shared.open
            assert {name: figure for name, figure in shared.counters.items() if name[0] != "m"} == {
                name: figure for name, figure in own.counters.items() if name[0] != "m"
            }, "what the group used is what its only member used"
    _audit(url, table, {id: record for id, (_, record) in admitted.items()}, set(unsettled))
    assert len(admitted) + len(refused) == REQUESTS
    if "four in five" in name:
        assert refused, "bad enough to be given up now and then"
    if "each call" not in name:
        assert not refused
        assert bool(unsettled) == ("nineteen" in name)


def _audit(url: str, table: str, admitted: dict[str, UsageRecord], unsettled: set[str]) -> None:
    key = items.in_json(items.account_key(CALLER))
    account = account_of(dynamo.client(url).get_item(TableName=table, Key=key)["Item"])
    plain_items = [{name: decode(value) for name, value in item.items()} for item in dynamo.items(url, table)]
    records = [record_of(item["sk"].partition("#")[2], item) for item in plain_items if item["pk"].startswith("usage#")]
    by_id = {record.id: record for record in records}
    assert len(by_id) == len(records), "one record for each"
    assert set(by_id) == set(admitted) | {"last"}, "admitted requests and no others"
    assert not account.open
    for id, record in admitted.items():
        if id not in unsettled:
            assert by_id[id].usd == record.usd
        else:
            assert by_id[id].usd in (record.usd, record.bound_usd)
    day = "d:2026-11-23"
    assert account.count(day, "usd") == sum(record.usd for record in records)
    assert account.count(day, "tok") == sum(record.tokens for record in records)
    assert account.count(day, "req") == len(records)
