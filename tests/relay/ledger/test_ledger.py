"""The ledger against two DynamoDB stand-ins: one that is strict, one that answers as AWS does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from relay.accounts.account import EXPIRED, Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits, Unit
from relay.aws.dynamodb import Store
from relay.aws.errors import StoreError
from relay.errors import ErrorKind, RelayError
from relay.ledger import items
from relay.ledger.ledger import Admitted, Ledger
from relay.ledger.owner_writes import CallerWrites
from relay.ledger.table import Table
from relay.limits import decision
from relay.limits.decision import RefusedError
from relay.pricing.money import PICO

from tests.support import dynamo
from tests.support.ledger_bench import CALLER, DAY, NOON, Bench


@pytest.fixture(scope="module", params=["dynalite", "ministack"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with getattr(dynamo, request.param)() as url:
        yield url


@pytest.fixture
def bench(url: str) -> Iterator[Bench]:
    made = Bench(url)
    with made.open:
        yield made


def reserve(ledger: Ledger, entry: Reservation, **limits: Any) -> Admitted:
    return ledger.reserve(CALLER, "123456789012:role/ci", entry, Limits(**limits), decision.judge)


def record(admitted: Admitted, **fields: Any) -> UsageRecord:
    entry = admitted.entry
    given = {"usd": 40, "tokens": 4, "outcome": "ok", "bound_usd": entry.usd, "bound_tokens": entry.tokens}
    return UsageRecord(id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, **{**given, **fields})


def refusal(ledger: Ledger, entry: Reservation, **limits: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        reserve(ledger, entry, **limits)
    return caught.value.refusal.code


def test_books_the_bound_then_what_it_came_to_and_leaves_one_record(bench: Bench) -> None:
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    assert bench.used() == (1, 10, 100)
    ledger.settle(CALLER, admitted, record(admitted, counts={"input": 3, "output": 1}))
    assert bench.used() == (1, 4, 40)
    assert not bench.account().open
    (kept,) = bench.records().values()
    assert (kept.outcome, kept.usd, kept.bound_usd, kept.counts) == ("ok", 40, 100, {"input": 3, "output": 1})


def test_admission_is_one_round_trip_and_settling_two(bench: Bench) -> None:
    db = dynamo.Counting(bench.store())
    ledger = bench.ledger(db)
    first = reserve(ledger, bench.entry())
    ledger.settle(CALLER, first, record(first))
    db.calls.clear()
    admitted = reserve(ledger, bench.entry(), requests_per_minute=60, usd_per_day=PICO, tokens_per_day=10_000)
    assert db.calls == ["UpdateItem"]
    ledger.settle(CALLER, admitted, record(admitted))
    assert db.calls == ["UpdateItem", "UpdateItem", "PutItem"]
    bench.now += 90_000  # a new minute is no exception
    reserve(ledger, bench.entry(), requests_per_minute=60)
    assert db.calls[3:] == ["UpdateItem"]
    bench.now += DAY
    reserve(ledger, bench.entry(), requests_per_minute=60)
    assert db.calls[3:] == ["UpdateItem", "UpdateItem"]


@pytest.mark.parametrize(
    ("at", "limits", "kind"),
    [
        (NOON, {"requests_per_minute": 1}, "requests_per_minute"),
        (NOON + DAY // 2, {"usd_per_day": 100}, "usd_per_day"),
        (NOON + 7 * DAY + DAY // 2, {"usd_per_month": 100}, "usd_per_month"),
    ],
)
def test_a_window_that_ends_during_an_admission_is_judged_as_it_was_written(
    bench: Bench, at: int, limits: dict[str, int], kind: str
) -> None:
    """The write books at the moment of the request; by the time its refusal is judged, the next window has begun."""

    class Turning:
        """A store that takes so long that the window is over when it replies."""

        def __init__(self, inner: Store) -> None:
            self.inner = inner
            self.calls = 0

        def call(self, operation: str, body: Mapping[str, Any], **given: Any) -> Mapping[str, Any]:
            self.calls += 1
            bench.now = max(bench.now, at)
            return self.inner.call(operation, body, **given)

    bench.now = at - 1
    reserve(bench.ledger(), bench.entry(), **limits)
    turning = Turning(bench.store())
    entry = bench.entry()
    assert refusal(bench.ledger(turning), entry, **limits) == kind
    assert turning.calls <= 2, "the write, and a look at the account where the store does not say"
    assert reserve(bench.ledger(), bench.entry(), **limits), "in the new window there is room"


def test_settled_records_leave_the_account_with_the_next_admission(bench: Bench) -> None:
    ledger = bench.ledger()
    for _ in range(5):
        admitted = reserve(ledger, bench.entry())
        ledger.settle(CALLER, admitted, record(admitted))
    assert len(bench.account().done) == 1
    assert len(bench.records()) == 5


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"requests_per_minute": 3}, "requests_per_minute"),
        ({"concurrent": 3}, "concurrent"),
        ({"tokens_per_day": 39}, "tokens_per_day"),
        ({"usd_per_day": 399}, "usd_per_day"),
        ({"usd_per_month": 399}, "usd_per_month"),
    ],
)
def test_each_limit_holds_exactly(bench: Bench, limits: dict[str, int], reason: str) -> None:
    ledger = bench.ledger()
    for _ in range(3):
        reserve(ledger, bench.entry(), **limits)
    assert refusal(ledger, bench.entry(), **limits) == reason
    assert bench.used() == (3, 30, 300)
    assert refusal(bench.ledger(), bench.entry(), **limits) == reason, "a process that knows nothing refuses too"


def test_a_request_over_an_empty_budget_is_refused_and_leaves_nothing(bench: Bench) -> None:
    ledger = bench.ledger()
    assert refusal(ledger, bench.entry(), usd_per_day=99) == "usd_per_day"
    reserve(ledger, bench.entry())
    assert refusal(ledger, bench.entry(), usd_per_day=99) == "usd_per_day"
    assert bench.used() == (1, 10, 100)


def test_windows_roll_over(bench: Bench) -> None:
    ledger = bench.ledger()
    limits = {"requests_per_minute": 1, "usd_per_day": 100, "usd_per_month": 200}
    reserve(ledger, bench.entry(), **limits)
    assert refusal(ledger, bench.entry(), **limits) == "usd_per_day"
    bench.now += DAY
    reserve(ledger, bench.entry(), **limits)
    bench.now += DAY
    assert refusal(ledger, bench.entry(), **limits) == "usd_per_month"
    bench.now += 8 * DAY
    reserve(ledger, bench.entry(), **limits)
    bench.now += 1
    assert refusal(ledger, bench.entry(), requests_per_minute=1) == "requests_per_minute"
    bench.now += 60_000
    reserve(ledger, bench.entry(), requests_per_minute=1)


def test_a_reservation_is_settled_on_the_day_on_which_it_was_made(bench: Bench) -> None:
    bench.now = NOON + DAY // 2 - 1
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    bench.now += 5_000
    later = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    account = bench.account()
    assert account.count("d:2026-11-23", "usd") == 40
    assert account.count("d:2026-11-24", "usd") == later.entry.usd
    assert account.count("M:2026-11", "usd") == 140


def test_what_is_out_of_date_is_cleared(bench: Bench) -> None:
    ledger = bench.ledger()
    for _ in range(3):
        admitted = reserve(ledger, bench.entry())
        bench.now += 40 * DAY
    ledger.settle(CALLER, admitted, record(admitted))
    names = {name for name in bench.account().counters if not name.startswith("M:")}
    assert all(name.startswith("d:2027-02-11") for name in names), names


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("lost", range(1, 8))
def test_every_call_may_fail_once_before_or_after_it_is_applied(bench: Bench, lost: int, fault: str) -> None:
    """Calls of one request of a new caller: reserve, (read,) introduce, switch, create, settle, record."""
    ledger = bench.ledger(dynamo.Lossy(bench.store(), lambda count, *_: fault if count == lost else None))
    admitted = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    assert bench.used() == (1, 4, 40)
    assert not bench.account().open
    assert [kept.usd for kept in bench.records().values()] == [40]


def test_a_store_that_answers_nothing_is_given_up_in_time(bench: Bench) -> None:
    ledger = bench.ledger(dynamo.Lossy(bench.store(), lambda *_: "before"))
    with pytest.raises(StoreError, match="Unreachable"):
        reserve(ledger, bench.entry())


def test_an_error_that_no_patience_helps_against_is_not_repeated(bench: Bench) -> None:
    db = dynamo.Counting(bench.store())
    bench.table = "no-such-table"
    with pytest.raises(StoreError, match="ResourceNotFoundException"):
        reserve(bench.ledger(db), bench.entry())
    assert len(db.calls) == 1


def test_a_reservation_whose_admission_gave_up_is_taken_back(bench: Bench) -> None:
    """Applied each time, and never an answer: the caller got 503 and nothing was sent."""
    down = [False]
    ledger = bench.ledger(dynamo.Lossy(bench.store(), lambda *_: "after" if down[0] else None))
    first = reserve(ledger, bench.entry())
    down[0] = True
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry())
    down[0] = False
    assert bench.used() == (2, 20, 200)
    ledger.settle(CALLER, first, record(first))
    assert bench.used() == (1, 4, 40)
    assert not bench.account().open
    assert len(bench.records()) == 1


def test_a_write_that_arrives_after_it_was_taken_back_is_kept_out(bench: Bench) -> None:
    """The write is held up on its way, the admission gives up, and only then does the store see it."""
    held: list[tuple[str, Mapping[str, Any]]] = []

    class Held:
        def call(self, operation: str, body: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
            if holding[0]:
                held.append((operation, body))
                raise StoreError("Unreachable")
            return inner.call(operation, body)

    inner, holding = bench.store(), [False]
    ledger = bench.ledger(Held())
    first = reserve(ledger, bench.entry())
    holding[0] = True
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry())
    holding[0] = False
    ledger.settle(CALLER, first, record(first))
    for operation, body in held:
        with pytest.raises(StoreError):
            inner.call(operation, body)
    assert bench.used() == (1, 4, 40)
    bench.now += 120_000
    bench.ledger().sweep(CALLER)
    assert len(bench.records()) == 1
    assert not bench.account().done


def is_reservation(body: Mapping[str, Any]) -> bool:
    return "size(" in body.get("ConditionExpression", "")


@pytest.mark.parametrize("lost", ["reservations", "everything"])
def test_nothing_stays_booked_after_an_outage_however_many_responses_it_lost(bench: Bench, lost: str) -> None:
    """500 requests in a row get 503, each of them perhaps booked; none was sent."""
    down = [False]

    def lose(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        return "after" if down[0] and (lost == "everything" or is_reservation(body)) else None

    ticks = itertools.count()

    def seconds() -> float:
        return next(ticks) * 2.0 if down[0] else 0.0  # one attempt each while the store is down

    table = Table(dynamo.Lossy(bench.store(), lose), name=bench.table, monotonic=seconds, sleep=lambda _: None)
    ledger = Ledger(table, clock=lambda: bench.now)
    first = reserve(ledger, bench.entry())
    ledger.settle(CALLER, first, record(first))
    down[0] = True
    for _ in range(500):
        bench.now += 2_000
        with pytest.raises(StoreError):
            reserve(ledger, bench.entry(), concurrent=3)
    down[0] = False
    assert len(bench.account().done) < 100, "tombstones do not pile up"
    last = reserve(ledger, bench.entry(), concurrent=3)
    ledger.settle(CALLER, last, record(last))
    assert bench.used() == (2, 8, 80), "reserved minus settled is 0 at rest"
    assert not bench.account().open
    assert set(bench.records()) == {first.entry.id, last.entry.id}


def test_a_slot_that_a_lost_response_holds_is_free_at_the_next_admission(bench: Bench) -> None:
    down = [False]
    ledger = bench.ledger(
        dynamo.Lossy(bench.store(), lambda _, __, body: "after" if down[0] and is_reservation(body) else None)
    )
    first = reserve(ledger, bench.entry())
    ledger.settle(CALLER, first, record(first))
    down[0] = True
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry(), concurrent=1)
    down[0] = False
    assert len(bench.account().open) == 1
    again = reserve(ledger, bench.entry(), concurrent=1)
    assert list(bench.account().open) == [again.entry.id]


def test_what_another_process_has_expired_meanwhile_is_taken_back_all_the_same(bench: Bench) -> None:
    down = [False]
    ledger = bench.ledger(
        dynamo.Lossy(bench.store(), lambda _, __, body: "after" if down[0] and is_reservation(body) else None)
    )
    first = reserve(ledger, bench.entry())
    ledger.settle(CALLER, first, record(first))
    down[0] = True
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry())
    down[0] = False
    bench.now += 61_000
    other = reserve(bench.ledger(), bench.entry(), concurrent=1)
    assert {kept.outcome for kept in bench.account().done.values()} >= {EXPIRED}
    again = reserve(ledger, bench.entry())
    for ledger_, admitted in ((bench.ledger(), other), (ledger, again)):
        ledger_.settle(CALLER, admitted, record(admitted))
    assert bench.used() == (3, 12, 120)
    assert {kept.outcome for kept in bench.records().values()} == {"ok"}


def test_a_late_first_reservation_of_a_new_caller_is_taken_back(bench: Bench) -> None:
    """The write that creates the account is held up on its way, and arrives when its admission has given up."""
    held: list[Mapping[str, Any]] = []

    class Held:
        def call(self, operation: str, body: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
            creates = operation == "UpdateItem" and "pk" in body["ExpressionAttributeNames"].values()
            if creates and len(held) < 9:
                held.append(body)
                raise StoreError("Unreachable")
            return inner.call(operation, body)

    inner, ticks = bench.store(), itertools.count()
    table = Table(Held(), name=bench.table, monotonic=lambda: next(ticks) / 4, sleep=lambda _: None)
    ledger = Ledger(table, clock=lambda: bench.now)
    with pytest.raises(StoreError):
        reserve(ledger, bench.entry())
    inner.call("UpdateItem", held[0])
    assert bench.used() == (1, 10, 100)
    held += [{}] * 9
    admitted = reserve(ledger, bench.entry(), concurrent=1)
    ledger.settle(CALLER, admitted, record(admitted))
    assert bench.used() == (1, 4, 40)
    assert set(bench.records()) == {admitted.entry.id}


def test_a_reservation_that_the_end_of_the_process_broke_off_is_taken_back_by_it(bench: Bench) -> None:
    class Stopping:
        stopped = False

        def call(self, operation: str, body: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
            response = inner.call(operation, body)
            if is_reservation(body) and self.stopped:
                raise RelayError(ErrorKind.SHUTDOWN)
            return response

    inner, db = bench.store(), Stopping()
    ledger = bench.ledger(db)
    first = reserve(ledger, bench.entry())
    db.stopped = True
    with pytest.raises(RelayError):
        reserve(ledger, bench.entry())
    assert list(bench.account().open) == [first.entry.id]
    assert bench.used() == (1, 10, 100)


def test_a_model_of_any_length_is_settled(bench: Bench) -> None:
    """What does not fit the item could never be settled, and would stop every later request of its caller."""
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry(model="m" * 409_000, endpoint="/v1/" + "e" * 409_000))
    ledger.settle(CALLER, admitted, record(admitted, outcome="o" * 409_000, tier="t" * 409_000))
    (kept,) = bench.records().values()
    assert (kept.model, kept.tier) == ("m" * 128, "t" * 128)
    reserve(ledger, bench.entry())


def test_records_and_refusals_expire_in_epoch_seconds(bench: Bench) -> None:
    """The table's time to live reads seconds since 1970; in milliseconds nothing would ever expire."""
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    key = items.record_key(CALLER, admitted.entry.id, admitted.entry.at)
    assert bench.item(key)["expires"] == NOON // 1000 + 400 * 86_400


def test_a_late_copy_of_a_settled_reservation_is_kept_out_or_refunded(bench: Bench) -> None:
    """The first attempt was held up; its repetition was admitted, settled and moved on before it arrived."""
    captured: list[Mapping[str, Any]] = []

    def fault(count: int, operation: str, body: Mapping[str, Any]) -> str | None:
        if operation == "UpdateItem" and "size" in body.get("ConditionExpression", "") and len(captured) < 1:
            captured.append(body)
            return "before"
        return None

    plain = bench.ledger()
    first = reserve(plain, bench.entry())
    plain.settle(CALLER, first, record(first))
    ledger = bench.ledger(dynamo.Lossy(bench.store(), fault))
    admitted = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    again = reserve(ledger, bench.entry())
    ledger.settle(CALLER, again, record(again))
    with pytest.raises(StoreError):
        bench.store().call("UpdateItem", captured[0])
    assert bench.used() == (3, 12, 120), "kept out for a minute"
    bench.now += 120_000
    bench.ledger().sweep(CALLER)
    bench.store().call("UpdateItem", captured[0])
    assert bench.used() == (4, 22, 220), "after that it does get in"
    bench.now += 120_000
    bench.ledger().sweep(CALLER)
    assert bench.used() == (3, 12, 120), "and is found out by its record"
    assert not bench.account().open
    assert {kept.outcome for kept in bench.records().values()} == {"ok"}


def test_a_process_that_died_leaves_the_upper_bound_and_no_slot(bench: Bench) -> None:
    dead = reserve(bench.ledger(), bench.entry(), concurrent=1)
    ledger = bench.ledger()
    assert refusal(ledger, bench.entry(), concurrent=1) == "concurrent"
    bench.now += 61_000
    admitted = reserve(ledger, bench.entry(), concurrent=1)
    assert list(bench.account().open) == [admitted.entry.id]
    ledger.settle(CALLER, admitted, record(admitted))
    records = bench.records()
    assert records[dead.entry.id].outcome == EXPIRED
    assert (records[dead.entry.id].usd, records[admitted.entry.id].usd) == (100, 40)
    assert bench.used() == (2, 14, 140)


def test_a_process_that_died_between_settling_and_its_record_leaves_both(bench: Bench) -> None:
    dying = bench.ledger(
        dynamo.Lossy(bench.store(), lambda _, operation, __: "before" if operation == "PutItem" else None)
    )
    first = reserve(bench.ledger(), bench.entry())
    with pytest.raises(StoreError):
        dying.settle(CALLER, first, record(first))
    assert not bench.records()
    assert bench.used() == (1, 4, 40)
    bench.now += 61_000
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    assert set(bench.records()) == {first.entry.id, admitted.entry.id}


def test_settling_after_the_lease_changes_nothing_twice(bench: Bench) -> None:
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    bench.now += 61_000
    bench.ledger().sweep(CALLER)
    ledger.settle(CALLER, admitted, record(admitted))
    assert bench.used() == (1, 10, 100)
    assert [kept.outcome for kept in bench.records().values()] == [EXPIRED]


def test_a_settlement_that_comes_while_its_reservation_is_cleared_away_counts(bench: Bench) -> None:
    """Between reading what has expired and clearing it away, a slow process settles after all."""

    def settle_first(_: int, operation: str, body: Mapping[str, Any]) -> None:
        if "size" in body.get("ConditionExpression", "") and operation == "UpdateItem":
            tries.append(operation)
            if len(tries) == 2:
                slow.settle(CALLER, held, record(held))

    slow, tries = bench.ledger(), list[str]()
    held = reserve(slow, bench.entry(), concurrent=1)
    bench.now += 61_000
    ledger = bench.ledger(dynamo.Lossy(bench.store(), settle_first))
    admitted = reserve(ledger, bench.entry(), concurrent=1)
    ledger.settle(CALLER, admitted, record(admitted))
    assert len(tries) > 2
    assert {kept.outcome for kept in bench.records().values()} == {"ok"}
    assert bench.used() == (2, 8, 80)


def test_a_reservation_that_outlived_its_window_is_settled_at_what_it_used(bench: Bench) -> None:
    slow, ledger = bench.ledger(), bench.ledger()
    held = reserve(slow, bench.entry(lease=bench.now + 10 * DAY))
    bench.now += 3 * DAY
    admitted = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    assert bench.account().count("d:2026-11-23", "usd") == 0, "cleared: out of date"
    slow.settle(CALLER, held, record(held))
    assert bench.account().count("d:2026-11-23", "usd") == 40


def test_a_record_is_written_even_if_the_account_was_lost(bench: Bench) -> None:
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    dynamo.client(bench.url).delete_item(TableName=bench.table, Key=items.in_json(items.account_key(CALLER)))
    ledger.settle(CALLER, admitted, record(admitted))
    assert [kept.usd for kept in bench.records().values()] == [40]


def test_many_expired_reservations_go_in_portions(bench: Bench) -> None:
    ledger = bench.ledger()
    for _ in range(60):
        reserve(ledger, bench.entry())
    bench.now += 61_000
    for _ in range(3):
        bench.ledger().sweep(CALLER)
    assert not bench.account().open
    assert len(bench.records()) == 60
    assert bench.used() == (60, 600, 6000)


def set_override(bench: Bench, fields: Mapping[str, Any], lifted: tuple[str, ...] = ()) -> None:
    bench.store().call("UpdateItem", CallerWrites(bench.table, CALLER).set_overrides(fields, lifted))


def test_the_operators_word_holds_at_the_next_admission(bench: Bench) -> None:
    ledger = bench.ledger()
    reserve(ledger, bench.entry())
    set_override(bench, {"stop": "too dear"})
    for _ in range(3):
        assert refusal(ledger, bench.entry()) == "stopped", "also when this process knows of it already"
    assert refusal(bench.ledger(), bench.entry()) == "stopped"
    set_override(bench, {}, ("stop",))
    reserve(ledger, bench.entry())
    assert bench.used() == (2, 20, 200)


def test_a_caller_can_be_stopped_before_it_ever_came(bench: Bench) -> None:
    set_override(bench, {"stop": "not yet"})
    assert refusal(bench.ledger(), bench.entry()) == "stopped"
    set_override(bench, {}, ("stop",))
    reserve(bench.ledger(), bench.entry())


def test_a_raised_budget_holds_for_its_day_only(bench: Bench) -> None:
    ledger = bench.ledger()
    reserve(ledger, bench.entry(), usd_per_day=150)
    assert refusal(ledger, bench.entry(), usd_per_day=150) == "usd_per_day"
    set_override(bench, {"over:day": "d:2026-11-23", "over:usd_per_day": 300})
    admitted = reserve(ledger, bench.entry(), usd_per_day=150)
    assert admitted.limits.usd_per_day == 300
    reserve(bench.ledger(), bench.entry(), usd_per_day=150)
    assert refusal(ledger, bench.entry(), usd_per_day=150) == "usd_per_day"
    bench.now += DAY
    reserve(ledger, bench.entry(), usd_per_day=150)
    assert refusal(ledger, bench.entry(), usd_per_day=150) == "usd_per_day"


def test_an_override_sets_a_budget_also_for_what_was_admitted_without_a_bound(bench: Bench) -> None:
    """The policy has no budget, so the request came without a bound in money; the override is what needs one."""
    unknown = {"usd": 0, "unbounded": {Unit.USD: "the model has no price"}}
    ledger = bench.ledger()
    reserve(ledger, bench.entry(**unknown))
    set_override(bench, {"over:day": "d:2026-11-23", "over:usd_per_day": 10**12})
    for process in (ledger, bench.ledger(), ledger):
        assert refusal(process, bench.entry(**unknown)) == "unbounded"
    reserve(ledger, bench.entry())
    bench.now += DAY
    reserve(ledger, bench.entry(**unknown))


def test_an_override_costs_a_round_trip_once(bench: Bench) -> None:
    db = dynamo.Counting(bench.store())
    ledger = bench.ledger(db)
    reserve(ledger, bench.entry())
    set_override(bench, {"over:day": "d:2026-11-23", "over:usd_per_day": 300})
    reserve(ledger, bench.entry(), usd_per_day=150)
    db.calls.clear()
    reserve(ledger, bench.entry(), usd_per_day=150)
    assert db.calls == ["UpdateItem"]


def test_the_switch_stops_callers_that_were_never_here(bench: Bench) -> None:
    switch = {**items.SWITCH, "halt": "maintenance"}
    dynamo.client(bench.url).put_item(TableName=bench.table, Item=items.in_json(switch))
    assert refusal(bench.ledger(), bench.entry()) == "halted"
    assert not bench.account().exists
    assert bench.item(items.directory_key(CALLER))["subject"] == "123456789012:role/ci"


def test_a_new_caller_is_written_down_before_it_is_admitted(bench: Bench) -> None:
    """The operator's side of the same agreement: throw the switch, then stop everybody who is written down."""
    order: list[str] = []

    def watch(_: int, operation: str, body: Mapping[str, Any]) -> None:
        key = body.get("Item") or body["Key"]
        order.append(f"{operation} {key['pk']['S'].partition('#')[0]}")

    reserve(bench.ledger(dynamo.Lossy(bench.store(), watch)), bench.entry())
    steps = [step for step in order if step != "GetItem caller"]
    assert steps == ["UpdateItem caller", "PutItem callers", "GetItem switch", "UpdateItem caller"]


def test_a_caller_stopped_while_it_is_being_introduced_is_not_admitted(bench: Bench) -> None:
    def halt_everybody(_: int, operation: str, body: Mapping[str, Any]) -> None:
        if operation == "GetItem" and body["Key"]["pk"]["S"] == "switch":
            set_override(bench, {"halt": "now"})
            said.append(operation)

    said: list[str] = []
    ledger = bench.ledger(dynamo.Lossy(bench.store(), halt_everybody))
    for _ in range(3):
        assert refusal(ledger, bench.entry()) == "halted"
    assert said


def test_an_id_that_was_answered_is_not_admitted_again(bench: Bench) -> None:
    ledger = bench.ledger()
    admitted = reserve(ledger, bench.entry())
    ledger.settle(CALLER, admitted, record(admitted))
    assert refusal(bench.ledger(), admitted.entry.changed()) == "duplicate"


def test_refusals_are_counted_by_day_and_reason(bench: Bench) -> None:
    ledger = bench.ledger()
    for reason in ("usd_per_day", "usd_per_day", "stopped"):
        ledger.refused(CALLER, reason, "gpt-5")
    ledger.refused(CALLER, "stopped", "other")
    counted = [
        bench.item({"pk": f"usage#{CALLER}", "sk": f"refused#2026-11-23#{code}"}) for code in ("usd_per_day", "stopped")
    ]
    assert [(item["m:gpt-5"], item.get("m:other")) for item in counted] == [(2, None), (1, 1)]
    assert counted[0]["expires"] == NOON // 1000 + 400 * 86_400, "epoch seconds, for the table's time to live"


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_never_sent_is_taken_back_with_its_record_too(bench: Bench, killed: bool) -> None:
    """A reservation whose reply was lost, in a process that Lambda froze: meanwhile another one has settled it at its bound
    and written that down. `killed`: the first dies once it has taken back the record."""

    def fault(_: int, operation: str, body: Mapping[str, Any]) -> str | None:
        if killed and operation == "UpdateItem" and EXPIRED in str(body):
            raise KeyboardInterrupt
        return "after" if broken else None

    broken: list[int] = []
    lossy = dynamo.Lossy(bench.store(), fault)
    frozen, other = bench.ledger(lossy), bench.ledger()
    first = reserve(frozen, bench.entry())
    frozen.settle(CALLER, first, record(first))
    broken.append(1)
    with pytest.raises(StoreError):
        reserve(frozen, bench.entry())
    broken.clear()
    bench.now += 61_000
    second = reserve(other, bench.entry())
    other.settle(CALLER, second, record(second))
    assert sorted(kept.outcome for kept in bench.records().values()) == [EXPIRED, "ok", "ok"]
    if killed:
        with pytest.raises(KeyboardInterrupt):
            reserve(frozen, bench.entry())
        frozen = bench.ledger()
    third = reserve(frozen, bench.entry())
    frozen.settle(CALLER, third, record(third))
    assert bench.used() == (3, 12, 120)
    assert sum(kept.usd for kept in bench.records().values()) == 120, "reports say what limits count"
