"""No admitted request costs more than its bound: generated bodies of pieces whose cost is known, an own bill as judge.

What tries to bill more: nested models, tools, pictures by size and number, animated ones and drawings, pictures in other
items, sound, predictions, tiers, cache lifetimes, modes, unknown fields. A piece that nothing bounds may only be refused.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from relay.pricing.money import PICO
from relay.request.policy import RequestPolicy

from tests.support.billed_bodies import (
    DEFAULT,
    EVERYTHING,
    LIST,
    PREAMBLE,
    PRICES,
    RESPONSES,
    UNBOUNDED,
    Case,
    admitted,
    bill,
    generated,
    generated_media,
)


@pytest.mark.parametrize(("environment", "least"), [(DEFAULT, 300), (EVERYTHING, 700)])
def test_no_bill_exceeds_what_was_reserved(environment: RequestPolicy, least: int) -> None:
    dice, admissions = random.Random(7), Counter[str]()
    for _ in range(3_000):
        case = generated(dice) if dice.random() < 0.7 else generated_media(dice)
        outcome = admitted(case, environment)
        if outcome is None:
            admissions["refused"] += 1
            continue
        bound, sent = outcome
        assert not case.is_endless, case.body[:2_000]
        billed_tokens, billed = bill(case, sent)
        assert billed_tokens <= bound.tokens, case.body[:2_000]
        assert billed * PICO <= bound.usd, case.body[:2_000]
        admissions[case.path] += 1
    assert admissions.total() - admissions["refused"] > least
    assert admissions["refused"] > 500
    assert min(admissions.values()) > 20, admissions


def test_every_listed_model_is_among_the_generated() -> None:
    dice = random.Random(7)
    cases = [generated(dice) if dice.random() < 0.7 else generated_media(dice) for _ in range(3_000)]
    assert {case.model for case in cases} == LIST.keys()


def test_pictures_of_which_nobody_states_the_size_are_refused() -> None:
    dice = random.Random(7)
    assert UNBOUNDED
    for model in UNBOUNDED:
        assert all(admitted(generated_media(dice, model), EVERYTHING, PRICES) is None for _ in range(20))


def test_numbers_in_a_schema_are_billed_as_they_are_sent() -> None:
    for number, count in (("1e15", 49_000), ("1", 130_000)):
        schema = '{"enum":[' + ",".join([number] * count) + "]}"
        body = '{"model":"gpt-5.4","input":"x","tools":[{"type":"function","name":"f","parameters":' + schema + "}]}"
        case = Case(RESPONSES, body.encode(), "gpt-5.4", 3 * count + PREAMBLE)
        outcome = admitted(case, DEFAULT)
        assert outcome is not None
        tokens, billed = bill(case, outcome[1])
        assert tokens <= outcome[0].tokens
        assert billed * PICO <= outcome[0].usd
