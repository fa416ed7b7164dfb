"""The writes themselves: within what DynamoDB takes, however much there is to clear away."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from relay.ledger import writes
from relay.ledger.account import Account, Reservation, UsageRecord, Windows
from relay.limits.policy import MOST_CONCURRENT, PICO, Limits

NOON = 1_795_435_200_000
CALLER = "123456789012/AROAEXAMPLEEXAMPLEEXA"
ALL = Limits(requests_per_minute=9, concurrent=9, tokens_per_day=99, usd_per_day=PICO, usd_per_month=PICO)


def entry(**fields: Any) -> Reservation:
    given = {"id": str(uuid.uuid4()), "at": NOON, "lease": NOON - 1, "usd": 10**11, "tokens": 9, "model": "gpt-5-mini"}
    return Reservation(**{**given, "endpoint": "/v1/chat/completions", **fields})


@pytest.fixture
def crowded() -> Account:
    entries = [entry() for _ in range(300)]
    return Account(exists=True, open={each.id: each for each in entries})


def test_no_expression_is_longer_than_dynamodb_takes(crowded: Account) -> None:
    """4 KB each, 300 operators and functions in all:
    docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""
    gone = writes.expiries(crowded, NOON)
    written = [str(uuid.uuid4()) for _ in range(writes.AT_ONCE)]
    bodies = [
        writes.reserve("t", CALLER, entry(), ALL, 3, gone, written),
        writes.expire("t", CALLER, gone),
        writes.forget("t", CALLER, written),
    ]
    for body in bodies:
        assert body is not None
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


def test_a_refusal_is_counted_where_it_disturbs_no_admission() -> None:
    windows = Windows.at(NOON)
    assert writes.refusals_key(CALLER, windows)["pk"] != writes.account_key(CALLER)["pk"]
