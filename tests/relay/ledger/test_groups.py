"""Groups in the ledger: a request is booked in two accounts or in none, whatever is lost and whoever dies."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from relay.accounts.account import EXPIRED, Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits
from relay.aws.dynamodb import Store
from relay.aws.errors import ConditionFailedError, StoreError
from relay.ledger import items
from relay.ledger.ledger import Admitted, GroupTerms, Ledger
from relay.ledger.owner_writes import GroupWrites
from relay.limits import decision
from relay.limits.decision import RefusedError

from tests.support import dynamo
from tests.support.ledger_bench import Bench

ANN, BOB = "123456789012/AIDAANN", "123456789012/AIDABOB"
TEAM = "atlas"
DAY, MONTH = "d:2026-11-23", "M:2026-11"


@pytest.fixture(scope="module", params=["dynalite", "ministack"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with getattr(dynamo, request.param)() as url:
        yield url


@pytest.fixture
def bench(url: str) -> Iterator[Bench]:
    made = Bench(url)
    with made.open:
        yield made


def reserve(
    ledger: Ledger, entry: Reservation, caller: str = ANN, own: Mapping[str, int] | None = None, **limits: Any
) -> Admitted:
    terms = GroupTerms(name=TEAM, limits=Limits(**limits), judge=partial(decision.judge, group=TEAM))
    entry = entry.changed(group=TEAM)
    return ledger.reserve(caller, "123456789012:user/x", entry, Limits(**(own or {})), decision.judge, group=terms)


def refusal(ledger: Ledger, entry: Reservation, caller: str = ANN, **limits: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        reserve(ledger, entry, caller, **limits)
    return caught.value.refusal.code


def settle(ledger: Ledger, admitted: Admitted, caller: str = ANN, usd: int = 40) -> None:
    entry = admitted.entry
    ledger.settle(
        caller,
        admitted,
        UsageRecord(
            id=entry.id, at=entry.at, outcome="ok", usd=usd, tokens=4, bound_usd=entry.usd, bound_tokens=entry.tokens,
            group=entry.group,
        ),
    )  # fmt: skip


def used(bench: Bench) -> tuple[int, int, int]:
    """Requests, tokens and pico-USD of the group's day and month, which have to agree."""
    account = bench.group_account(TEAM)
    day, month = ([account.count(window, unit) for unit in ("req", "tok", "usd")] for window in (DAY, MONTH))
    assert day == month
    return day[0], day[1], day[2]


def sums(bench: Bench, *callers: str) -> tuple[int, ...]:
    """The same of the callers' accounts together."""
    accounts = [bench.account(caller) for caller in callers]
    return tuple(sum(account.count(DAY, unit) for account in accounts) for unit in ("req", "tok", "usd"))


def test_one_further_round_trip_to_admit_and_one_to_settle(bench: Bench) -> None:
    db = dynamo.Counting(bench.store())
    ledger = bench.ledger(db)
    settle(ledger, reserve(ledger, bench.entry()))
    db.calls.clear()
    admitted = reserve(ledger, bench.entry(), usd_per_day=10_000, concurrent=5)
    assert db.calls == ["UpdateItem", "UpdateItem"]
    settle(ledger, admitted)
    assert db.calls[2:] == ["UpdateItem", "PutItem", "UpdateItem"]
    assert used(bench) == sums(bench, ANN) == (2, 8, 80)
    account = bench.group_account(TEAM)
    assert (dict(account.open), dict(account.done)) == ({}, {}), "a group's item stays small"


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({"requests_per_minute": 3}, "requests_per_minute"),
        ({"concurrent": 3}, "concurrent"),
        ({"tokens_per_day": 39}, "tokens_per_day"),
        ({"usd_per_day": 399}, "usd_per_day"),
        ({"usd_per_month": 399}, "usd_per_month"),
    ],
)
def test_each_limit_of_a_group_holds_for_all_its_members_together(
    bench: Bench, limits: dict[str, Any], kind: str
) -> None:
    ledger = bench.ledger()
    for caller in (ANN, BOB, ANN):
        reserve(ledger, bench.entry(), caller, **limits)
    for process in (ledger, bench.ledger()):
        assert refusal(process, bench.entry(), BOB, **limits) == f"group.{kind}"
    assert used(bench) == sums(bench, ANN, BOB) == (3, 30, 300)
    assert len(bench.account(ANN).open) + len(bench.account(BOB).open) == len(bench.group_account(TEAM).open) == 3


def test_what_its_caller_may_not_do_is_never_booked_for_the_group(bench: Bench) -> None:
    ledger = bench.ledger()
    reserve(ledger, bench.entry(), own={"concurrent": 1})
    db = dynamo.Counting(bench.store())
    with pytest.raises(RefusedError) as caught:
        reserve(bench.ledger(db), bench.entry(), own={"concurrent": 1})
    assert caught.value.refusal.code == "concurrent"
    assert db.calls.count("UpdateItem") == 1, "the group's item, which all members write, is left alone"
    assert used(bench) == (1, 10, 100)


def test_what_the_group_refuses_is_taken_back_at_once_and_leaves_nothing_behind(bench: Bench) -> None:
    ledger = bench.ledger()
    reserve(ledger, bench.entry(), concurrent=1)
    for _ in range(3):
        assert refusal(ledger, bench.entry(), own={"concurrent": 2}, concurrent=1) == "group.concurrent"
    account = bench.account(ANN)
    assert (len(account.open), len(account.done)) == (1, 0), "no tombstone where no copy is on its way"
    assert sums(bench, ANN) == (1, 10, 100)


def test_a_message_says_whose_limit_it_is(bench: Bench) -> None:
    with pytest.raises(RefusedError) as caught:
        reserve(bench.ledger(), bench.entry(), usd_per_day=99)
    error = caught.value.refusal.error()
    assert error.param == "group.usd_per_day"
    assert str(caught.value.refusal.text).startswith("Group 'atlas': Daily limit ")


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("lost", range(1, 13))
def test_every_call_may_fail_once_before_or_after_it_is_applied(bench: Bench, lost: int, fault: str) -> None:
    """Calls of the first request of a new caller in a new group: some ten to admit, three to settle."""
    ledger = bench.ledger(dynamo.Lossy(bench.store(), lambda count, *_: fault if count == lost else None))
    settle(ledger, reserve(ledger, bench.entry()))
    settle(ledger, reserve(ledger, bench.entry(), BOB), BOB)
    bench.now += 200_000
    bench.ledger().sweep_group(TEAM)
    assert used(bench) == sums(bench, ANN, BOB) == (2, 8, 80)
    assert not bench.group_account(TEAM).open
    assert not bench.group_account(TEAM).done


class Dying:
    """A store that a process reaches until it is killed: after `calls` of them nothing gets through any more."""

    def __init__(self, inner: Store, calls: int) -> None:
        self._inner = inner
        self._left = calls

    def call(self, operation: str, body: Mapping[str, Any], **limits: Any) -> Mapping[str, Any]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._inner.call(operation, body, **limits)


@pytest.mark.parametrize("calls", range(6))
def test_a_process_may_die_between_any_two_calls(bench: Bench, calls: int) -> None:
    """Five calls of a warm request: reserve twice, settle, record, settle the group's. What the caller's account says is what
    the group's says, once the lease is over and both have been looked at."""
    warm = bench.ledger()
    settle(warm, reserve(warm, bench.entry()))
    dying = bench.ledger(Dying(bench.store(), calls))
    with contextlib.suppress(KeyboardInterrupt):
        settle(dying, reserve(dying, bench.entry(usd=1000)))
    bench.now += 61_000
    others = bench.ledger()
    settle(others, reserve(others, bench.entry()))
    settle(others, reserve(others, bench.entry(), BOB), BOB)
    others.sweep(ANN)
    bench.now += 61_000
    others.sweep_group(TEAM)
    expected = {0: 0, 1: 1000, 2: 1000, 3: 40, 4: 40, 5: 40}[calls]
    assert sums(bench, ANN, BOB)[2] == 3 * 40 + expected
    # Killed before the group's account was written, nothing was sent, and only its caller's slot is lost.
    assert used(bench)[2] == 3 * 40 + (0 if calls == 1 else expected)
    assert not bench.group_account(TEAM).open
    assert not bench.group_account(TEAM).done


def test_an_admission_that_gives_up_leaves_nothing_in_either_account(bench: Bench) -> None:
    """The group's write is applied, and no reply ever comes."""

    def only_the_groups(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        is_group = body.get("Key", {}).get("pk", {}).get("S") == f"group#{TEAM}"
        return "after" if is_group and "size(" in body.get("ConditionExpression", "") and broken else None

    broken: list[int] = []
    ledger = bench.ledger(dynamo.Lossy(bench.store(), only_the_groups))
    settle(ledger, reserve(ledger, bench.entry()))
    broken.append(1)
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry())
    assert len(bench.group_account(TEAM).open) == 1
    assert not bench.account(ANN).open, "taken back while there was time"
    broken.clear()
    settle(ledger, reserve(ledger, bench.entry(), BOB), BOB)
    assert used(bench) == sums(bench, ANN, BOB) == (2, 8, 80)
    assert not bench.group_account(TEAM).open


@pytest.mark.parametrize("record", ["moved on late", "moved on before"])
def test_a_group_is_corrected_by_a_settlement_whose_record_is_not_written_down_yet(bench: Bench, record: str) -> None:
    """Killed between its caller's settlement and the record; its caller comes back long after the group was looked at."""
    warm = bench.ledger()
    settle(warm, reserve(warm, bench.entry()))
    dying = bench.ledger(Dying(bench.store(), 3))
    with contextlib.suppress(KeyboardInterrupt):
        settle(dying, reserve(dying, bench.entry(usd=1000)))
    bench.now += 61_000
    bench.ledger().sweep_group(TEAM)
    if record == "moved on before":
        bench.ledger().sweep(ANN)
    bench.now += 61_000
    bench.ledger().sweep_group(TEAM)
    bench.ledger().sweep(ANN)
    assert used(bench) == sums(bench, ANN) == (2, 8, 80)
    assert not bench.group_account(TEAM).done


def test_what_its_caller_took_back_does_not_stay_booked_for_the_group(bench: Bench) -> None:
    """The group's write is applied, its reply lost, and the process is killed before it can take that back, too."""

    def once_armed(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        is_group = body.get("Key", {}).get("pk", {}).get("S") == f"group#{TEAM}"
        return "after" if armed and is_group and "size(" in body.get("ConditionExpression", "") else None

    armed: list[int] = []
    ledger = bench.ledger(dynamo.Lossy(bench.store(), once_armed))
    settle(ledger, reserve(ledger, bench.entry()))
    armed.append(1)
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry())
    for _ in range(3):
        bench.now += 61_000
        bench.ledger().sweep_group(TEAM)
    assert used(bench) == sums(bench, ANN) == (1, 4, 40)
    assert not bench.group_account(TEAM).done


def test_an_open_request_of_a_caller_who_never_comes_back_stays_booked_for_the_group(bench: Bench) -> None:
    killed = bench.ledger()
    reserve(killed, bench.entry())
    for _ in range(3):
        bench.now += 61_000
        bench.ledger().sweep_group(TEAM)
    assert bench.account(ANN).open
    assert used(bench) == (1, 10, 100)
    assert not bench.group_account(TEAM).done


class Recorder:
    """Keeps the bodies of what it passes on."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.bodies: list[Mapping[str, Any]] = []

    def call(self, operation: str, body: Mapping[str, Any], **limits: Any) -> Mapping[str, Any]:
        self.bodies.append(body)
        return self.inner.call(operation, body, **limits)


def test_a_late_copy_of_a_groups_reservation_never_makes_a_request_free(bench: Bench) -> None:
    recorder = Recorder(bench.store())
    ledger = bench.ledger(recorder)
    settle(ledger, reserve(ledger, bench.entry()))
    admitted = reserve(ledger, bench.entry())
    (late,) = [body for body in recorder.bodies if body.get("Key", {}).get("pk", {}).get("S") == f"group#{TEAM}"][-1:]
    settle(ledger, admitted)
    bench.store().call("UpdateItem", late)
    bench.now += 61_000
    bench.ledger().sweep_group(TEAM)
    requests, _, usd = used(bench)
    assert (requests, usd) == (3, 120), "booked again, at what it came to: minutes late, more than once and never less"


def test_a_copy_of_a_write_that_was_in_doubt_is_kept_out(bench: Bench) -> None:
    """The first attempt at the group's write is lost on its way; its copy arrives after the request is settled."""
    lost: list[Mapping[str, Any]] = []

    def first_of_the_group(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        is_group = body.get("Key", {}).get("pk", {}).get("S") == f"group#{TEAM}" and "size(" in str(body)
        if armed and is_group and not lost:
            lost.append(body)
            return "before"
        return None

    armed: list[int] = []
    ledger = bench.ledger(dynamo.Lossy(bench.store(), first_of_the_group))
    settle(ledger, reserve(ledger, bench.entry()))
    armed.append(1)
    settle(ledger, reserve(ledger, bench.entry()))
    with pytest.raises(ConditionFailedError):
        bench.store().call("UpdateItem", lost[0])
    assert used(bench) == sums(bench, ANN) == (2, 8, 80)
    bench.now += 70_000
    for _ in range(3):
        settle(ledger, reserve(ledger, bench.entry()))
    assert not bench.group_account(TEAM).done, "and its tombstone goes after a minute"


def test_a_request_that_another_process_expired_counts_alike_in_both_accounts(bench: Bench) -> None:
    slow = bench.ledger()
    held = reserve(slow, bench.entry())
    bench.now += 61_000
    bench.ledger().sweep(ANN)
    settle(slow, held)
    assert [kept.outcome for kept in bench.records().values()] == [EXPIRED]
    assert used(bench) == sums(bench, ANN) == (1, 10, 100)


def test_an_operator_stops_a_whole_group_and_raises_its_budget_for_a_day(bench: Bench) -> None:
    def override(fields: Mapping[str, Any], lifted: tuple[str, ...] = ()) -> None:
        bench.store().call("UpdateItem", GroupWrites(bench.table, TEAM).set_overrides(fields, lifted))

    ledger = bench.ledger()
    reserve(ledger, bench.entry(), usd_per_day=100)
    override({"stop": "too dear"})
    with pytest.raises(RefusedError) as caught:
        reserve(ledger, bench.entry(), BOB, usd_per_day=100)
    assert caught.value.refusal.text == "The group 'atlas' was stopped by its operator. too dear"
    override({"over:day": DAY, "over:usd_per_day": 200}, ("stop",))
    reserve(ledger, bench.entry(), BOB, usd_per_day=100)
    assert refusal(ledger, bench.entry(), usd_per_day=100) == "group.usd_per_day"


def test_a_new_group_is_written_down_before_its_first_request(bench: Bench) -> None:
    assert not bench.item(items.group_directory_key(TEAM))
    reserve(bench.ledger(), bench.entry())
    assert bench.item(items.group_directory_key(TEAM))["subject"] == TEAM


@pytest.mark.parametrize("group", ["", TEAM])
def test_one_request_warns_of_a_limit_in_each_window(bench: Bench, group: str) -> None:
    processes = [bench.ledger() for _ in range(3)]
    settle(processes[0], reserve(processes[0], bench.entry()))
    told = [ledger.warn(ANN, group, "usd_per_day", DAY, f"id-{number}") for number, ledger in enumerate(processes)]
    assert told == [True, False, False]
    assert processes[1].warn(ANN, group, "usd_per_month", MONTH, "id-1"), "each limit for itself"
    assert processes[2].warn(ANN, group, "usd_per_day", "d:2026-11-24", "id-2")
    assert not processes[0].warn(ANN, group, "usd_per_day", DAY, "id-3"), "a day that is over is not warned of again"


def test_of_many_processes_at_once_one_warns(bench: Bench) -> None:
    settle(bench.ledger(), reserve(bench.ledger(), bench.entry()))
    processes = [bench.ledger() for _ in range(8)]
    for day in range(24, 29):
        window, start = f"d:2026-11-{day}", threading.Barrier(len(processes))

        def warn(number: int, window: str = window, start: threading.Barrier = start) -> bool:
            start.wait()
            return processes[number].warn(ANN, TEAM, "usd_per_day", window, f"id-{number}")

        with ThreadPoolExecutor(len(processes)) as pool:
            assert sum(pool.map(warn, range(len(processes)))) == 1


def test_a_warning_whose_reply_is_lost_is_raised_all_the_same(bench: Bench) -> None:
    settle(bench.ledger(), reserve(bench.ledger(), bench.entry()))
    lossy = dynamo.Lossy(bench.store(), lambda count, *_: "after" if count == 1 else None)
    assert bench.ledger(lossy).warn(ANN, "", "usd_per_day", DAY, "id-1")
