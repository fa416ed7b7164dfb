"""The writes themselves: within what DynamoDB takes, however much there is to clear away."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from relay.accounts.account import EXPIRED, NAME_LENGTH, VOIDED, Reservation, UsageRecord
from relay.accounts.limit_kinds import LIMIT_KINDS, MOST_CONCURRENT, Limits, Windows
from relay.ledger import items
from relay.ledger.owner_writes import CallerWrites
from relay.ledger.writes import AT_ONCE

NOON = 1_795_435_200_000
CALLER = "123456789012/AROAEXAMPLEEXAMPLEEXA"
ALL = Limits(**{kind.name: 10**13 for kind in LIMIT_KINDS})
WRITES = CallerWrites("t", CALLER)


def entry(**fields: Any) -> Reservation:
    given = {"id": str(uuid.uuid4()), "at": NOON, "lease": NOON - 1, "usd": 10**11, "tokens": 9, "model": "gpt-5-mini"}
    return Reservation(**{**given, "endpoint": "/v1/chat/completions", **fields})


def record(entry: Reservation, outcome: str) -> UsageRecord:
    return UsageRecord(
        id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=outcome, usd=entry.usd,
        tokens=entry.tokens, bound_usd=entry.usd, bound_tokens=entry.tokens, settled=NOON,
    )  # fmt: skip


def test_no_expression_is_longer_than_dynamodb_takes() -> None:
    """4 KB each, 300 operators and functions in all:
    docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""
    crowd = [entry() for _ in range(AT_ONCE)]
    expired = [record(each, EXPIRED) for each in crowd]
    tombstones = [record(each, VOIDED) for each in crowd]
    written = [str(uuid.uuid4()) for _ in range(AT_ONCE)]
    bodies = [
        WRITES.reserve(entry(), ALL, 3, expired, written),
        WRITES.expire(expired),
        WRITES.void(crowd, [], tombstones, written),
        WRITES.void([], expired, tombstones),
        WRITES.void([], [], tombstones, written),
        WRITES.forget(written),
    ]
    for body in bodies:
        for name in ("UpdateExpression", "ConditionExpression"):
            assert len(body[name].encode()) < 4096, name
        both = body["UpdateExpression"] + body["ConditionExpression"]
        assert len(re.findall(r"[=<+]|<=|AND|OR|if_not_exists|attribute_|size", both)) < 300


def test_an_account_at_its_fullest_fits_one_item() -> None:
    """400 KB; names and values count, and some bytes for each element: .../developerguide/CapacityUnitCalculations.html."""

    def size(value: Any) -> int:
        if isinstance(value, dict):
            return 3 + sum(len(name) + 1 + size(part) for name, part in value.items())
        return len(value) if isinstance(value, str) else len(str(value)) // 2 + 2

    counts = dict.fromkeys(("input", "cached_input", "output", "reasoning", "audio_input", "audio_output"), 10**6)
    settled = UsageRecord(
        id=str(uuid.uuid4()),
        at=NOON,
        model="ft:gpt-4.1-mini-2025-04-14:organisation::identifier",
        endpoint="/v1/chat/completions",
        outcome="upstream_unreachable",
        usd=10**12,
        tokens=10**6,
        bound_usd=10**12,
        bound_tokens=10**6,
        settled=NOON,
        keep=NOON,
        tier="default",
        counts=counts,
    )
    held = {str(uuid.uuid4()): entry().fields() for _ in range(MOST_CONCURRENT)}
    done = {str(uuid.uuid4()): settled.fields() for _ in range(MOST_CONCURRENT)}
    assert size({"open": held, "done": done}) < 400 * 1024


HOSTILE = "\x1b[2J" + "m\u00f6del\n" * 100_000


def test_no_text_of_a_caller_makes_an_item_larger_than_its_length() -> None:
    held = entry(model=HOSTILE, endpoint=HOSTILE).fields()
    kept = record(entry(model=HOSTILE, endpoint=HOSTILE), HOSTILE).changed(tier=HOSTILE).fields()
    for text in (held["m"], held["e"], kept["m"], kept["e"], kept["o"], kept["v"]):
        assert len(text) == NAME_LENGTH
        assert text.isascii()
        assert text.isprintable()
    listing = WRITES.listing(HOSTILE)["Item"]["subject"]["S"]
    assert len(listing) == 640
    assert listing.isprintable()
    override = WRITES.set_overrides({"stop": HOSTILE})["ExpressionAttributeValues"]
    texts = [value["S"] for value in override.values() if "S" in value]
    assert [len(text) for text in texts] == [300]
    assert texts[0].isprintable()
    assert "\u00f6" in texts[0], "an operator writes in any script"


def test_expiry_is_in_epoch_seconds_as_it_was_given() -> None:
    """The table's time to live reads seconds; milliseconds would never come."""
    assert WRITES.record(record(entry(), "ok"), 1_800_000_000)["Item"]["expires"] == {"N": "1800000000"}
    refusal = WRITES.refusal(Windows.at(NOON), "stopped", "gpt-5", 1_800_000_000)
    assert {"N": "1800000000"} in refusal["ExpressionAttributeValues"].values()


@pytest.mark.parametrize("kind", LIMIT_KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_limit_is_a_condition_of_the_reservation_and_books_what_it_counts(kind: Any) -> None:
    windows = Windows.at(NOON)
    with_limit = WRITES.reserve(entry(), Limits(**{kind.name: 10**12}), None, [], [])
    without = WRITES.reserve(entry(), Limits(), None, [], [])
    names = with_limit["ExpressionAttributeNames"]
    if kind.window.value == "now":
        assert "size(" in with_limit["ConditionExpression"]
        return
    counter = windows.counter(kind.window, kind.unit)
    placeholder = next(short for short, name in names.items() if name == counter)
    assert f"{placeholder} <= " in with_limit["ConditionExpression"]
    assert f"{placeholder} = if_not_exists({placeholder}" in with_limit["UpdateExpression"]
    assert counter in without["ExpressionAttributeNames"].values(), "counted whether or not it is limited today"


def test_what_costs_nothing_needs_no_room() -> None:
    """A list of models is counted as a request, and passes a budget that is overdrawn."""
    body = WRITES.reserve(entry(usd=0, tokens=0), ALL, None, [], [])
    names = {
        name
        for short, name in body["ExpressionAttributeNames"].items()
        if f"{short} <= " in body["ConditionExpression"]
    }
    assert names == {Windows.at(NOON).minute}


def test_limits_have_a_field_for_each_kind_and_no_other() -> None:
    assert set(vars(Limits())) == {kind.name for kind in LIMIT_KINDS}
    for name in ("name", "setting"):
        assert len({getattr(kind, name) for kind in LIMIT_KINDS}) == len(LIMIT_KINDS)


def test_a_refusal_is_counted_where_it_disturbs_no_admission() -> None:
    windows = Windows.at(NOON)
    assert items.refusals_key(CALLER, windows, "stopped")["pk"] != items.account_key(CALLER)["pk"]
    assert items.refusals_key(CALLER, windows, "stopped")["sk"].startswith(items.refusals_prefix(windows))


@pytest.mark.parametrize(
    ("item", "counts"),
    [
        (
            {"pk": "usage#x", "sk": "refused#2026-11-23#usd_per_day", "expires": 1, "m:gpt-5": 2, "m:other": 1},
            {("usd_per_day", "gpt-5"): 2, ("usd_per_day", "other"): 1},
        ),
        (
            {"pk": "usage#x", "sk": "refused#2026-11-23", "expires": 1, "usd_per_day gpt-5": 2},
            {("usd_per_day", "gpt-5"): 2},
        ),
    ],
)
def test_refusals_are_read_as_they_are_counted_and_as_they_were(
    item: dict[str, Any], counts: dict[tuple[str, str], int]
) -> None:
    assert items.refusals_of(items.in_json(item)) == counts
