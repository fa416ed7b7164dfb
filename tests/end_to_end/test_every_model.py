"""One request for every listed model through the local Lambda under a budget in dollars: admitted, and settled to its bill.

The bill is made by tests.support.judged_requests, which knows nothing of how the relay finds it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relay.accounts.limit_kinds import Windows
from relay.limits.cost_bound import Bound
from relay.pricing.money import PICO

from emulator.fakes.raw_upstream import LAST_CHUNK, Send, chunk, head, json_answer
from tests.support import relay_with_limits
from tests.support.billed_bodies import DEFAULT, LIST, OUTPUT_PER_IMAGE, SPEECH, TEXT, UNBOUNDED, Case
from tests.support.judged_requests import bill_of, differences, drawn, response_to
from tests.support.relay_with_limits import Answer, Setup, exchange

POLICIES = {"default": {"usd_day": 10**6}}
AUDIO = b"\xff\xf3\x84\xc4" + bytes(380)


@pytest.fixture(scope="module")
def setup(bundle: Path) -> Iterator[Setup]:
    """The newest picture models have a largest picture here, as an environment may give them one."""
    listed = json.loads(TEXT)["models"]
    own = {name: {**listed[name], "output_per_image": OUTPUT_PER_IMAGE} for name in UNBOUNDED}
    with relay_with_limits.running(bundle, POLICIES, PRICES=json.dumps({"models": own})) as running:
        yield running


def whole(dice: random.Random, model: str) -> tuple[Case, Bound, dict[str, Any]]:
    """A request whose response does not stream; how streams are metered is told elsewhere."""
    while True:
        case, bound, body = drawn(dice, model, "default", DEFAULT)
        if b'"stream' not in case.body:
            return case, bound, body


def ask(setup: Setup, case: Case) -> Answer:
    signed = setup.local.sign("POST", case.path, body=case.body, headers={"content-type": case.content_type})
    return setup.over(exchange("POST", setup.local.url + case.path, case.body, signed))


@pytest.mark.timeout(600)
def test_every_listed_model_is_admitted_and_settled_to_its_bill(setup: Setup) -> None:
    dice, expected = random.Random(5), {}
    differ = {each.model for each in differences()}
    for model in LIST:
        case, bound, body = whole(dice, model)
        fields, served = response_to(dice, case, body, "default")
        if case.path == SPEECH:
            audio = head(headers=(("Content-Type", "audio/mpeg"), ("Transfer-Encoding", "chunked")))
            setup.upstream.answer(Send(audio), Send(chunk(AUDIO)), Send(LAST_CHUNK))
        else:
            setup.upstream.answer(*json_answer(200, fields))
        answer = ask(setup, case)
        assert answer.status_code == 200, (model, answer.text[:500])
        expected[answer.headers["x-request-id"]] = (model, bound.usd, bill_of(case, fields.get("usage", {}), served)[0])
    records = {record.id: record for record in setup.records()}
    assert records.keys() == expected.keys()
    assert len(records) == len(LIST)
    for id, (model, bound_usd, billed) in expected.items():
        record = records[id]
        assert (record.model, record.outcome, record.bound_usd) == (model, "ok", bound_usd)
        assert record.usd <= record.bound_usd
        assert record.usd == billed * PICO or (model in differ and record.usd > billed * PICO), model
    account = setup.account()
    assert not account.open
    months = {Windows.at(record.at).month for record in records.values()}
    assert sum(account.count(month, "usd") for month in months) == sum(record.usd for record in records.values())
