"""Limits through the real relay process: what is sent, what is booked, what the caller is told, what a bad store does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from relay.ledger.owner_writes import CallerWrites

from emulator.fakes.raw_upstream import EVENT_STREAM, Close, Send, Step, chunk, head, json_answer
from emulator.signing.identities import local_user
from tests.support import relay_with_limits
from tests.support.cpu_wait import CpuWait
from tests.support.harness import faults_table
from tests.support.relay_with_limits import Answer, Counter, Setup

ROLES = relay_with_limits.roles(
    "twice",
    "poor",
    "none",
    "one",
    "cut",
    "refused",
    "unreachable",
    "sessions",
    "slow",
    "get",
    "halted",
    "listing",
    "new",
)
SESSIONS = [
    replace(
        ROLES["sessions"],
        access_key=f"ASIALOCALSESSION{number:04d}",
        unique_id=f"{ROLES['sessions'].unique_id.partition(':')[0]}:session-{number}",
        arn=f"arn:aws:sts::123456789012:assumed-role/sessions/session-{number}",
    )
    for number in range(4)
]
POLICIES = {
    "default": {"usd_day": 1, "output_cap": 500, "models": ["gpt-5-mini", "gpt-none"]},
    "rules": {
        "*:role/twice": {"rpm": 2, "tokens_day": 100_000},
        "*:role/sessions": {"rpm": 2},
        "*:role/poor": {"usd_day": "0.0001"},
        "*:role/none": "refuse",
        "*:role/one": {"concurrent": 1},
        "*:role/listing": {"rpm": 2},
    },
}


@pytest.fixture(scope="module")
def setup(bundle: Path) -> Iterator[Setup]:
    identities = [local_user(), *ROLES.values(), *SESSIONS]
    with relay_with_limits.running(bundle, POLICIES, identities=identities) as running:
        yield running


@pytest.fixture(autouse=True)
def well(setup: Setup) -> None:
    setup.proxy.fault = ""
    setup.upstream.answer_with(Counter())


def error(response: Answer) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    return found


def a_new_minute(room: float = 5.0) -> None:
    """Waits until the present minute has `room` seconds left, so that a limit per minute meets one minute only."""
    left = 60 - time.time() % 60
    if left < room:
        time.sleep(left)


def test_a_request_is_booked_at_what_it_used(setup: Setup) -> None:
    response = setup.over(setup.send(messages=[{"role": "user", "content": "x" * 30}]))
    assert response.status_code == 200
    assert response.text.endswith("data: [DONE]\n\n")
    sent = json.loads(setup.upstream.requests[-1].body)
    assert (sent["max_completion_tokens"], sent["service_tier"]) == (500, "default")
    record = setup.record(response)
    assert (record.tokens, record.outcome, dict(record.counts)) == (37, "ok", {"input": 30, "output": 7})
    assert record.usd == 30 * 250_000 + 7 * 2_000_000
    assert not setup.account().open


ERROR = {"error": {"message": "No.", "type": "x", "param": None, "code": "x"}}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_a_refusal_costs_nothing(setup: Setup, status: int) -> None:
    setup.upstream.answer(*json_answer(status, ERROR))
    assert setup.record(setup.over(setup.send(stream=False))).usd == 0


@pytest.mark.parametrize("status", [302, 408, 409, 499, 500, 502, 503, 504, 520, 524])
def test_what_may_have_been_billed_costs_its_bound(setup: Setup, status: int) -> None:
    """A gateway that gave up waiting does not know whether the model answered."""
    setup.upstream.answer(*json_answer(status, ERROR))
    record = setup.record(setup.over(setup.send(stream=False)))
    assert record.usd == record.bound_usd > 0


@pytest.mark.parametrize(("code", "costs"), [("server_is_overloaded", False), ("server_error", True)])
@pytest.mark.parametrize("as_event", [True, False], ids=["as the first event", "as a 503"])
def test_an_error_of_openais_costs_nothing_only_where_it_is_a_refusal(
    setup: Setup, code: str, costs: bool, as_event: bool
) -> None:
    error = {"error": {"message": "No.", "type": "server_error", "param": None, "code": code}}
    event = [Send(head(headers=EVENT_STREAM)), Send(chunk(b"data: " + json.dumps(error).encode() + b"\n\n")), Close()]
    setup.upstream.answer(*(event if as_event else json_answer(503, error)))
    record = setup.record(setup.over(setup.send()))
    assert (record.usd == record.bound_usd) is costs
    assert (record.usd == 0) is not costs


def test_a_long_response_is_booked_at_the_tier_that_it_names(setup: Setup) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 1_500_000}, "finish_reason": "stop"}
    costs = []
    for tier in ("default", "flex", "priority"):
        fields = {
            "id": "c",
            "object": "chat.completion",
            "model": "gpt-5-mini",
            "service_tier": tier,
            "choices": [choice],
        }
        setup.upstream.answer(*json_answer(200, {**fields, "usage": usage}))
        costs.append(setup.record(setup.over(setup.send(stream=False))).usd)
    assert costs[1] < costs[0] < costs[2]


def test_the_caller_sees_what_it_used_and_what_remains(setup: Setup) -> None:
    for stream in (True, False):
        setup.over(setup.send(identity=ROLES["get"], stream=stream))
    response = setup.get("/v1/usage", ROLES["get"])
    usage = response.json()
    assert (response.status_code, usage["object"]) == (200, "caller.usage")
    assert usage["caller"] == "123456789012:role/get"
    assert usage["day"]["requests"] == usage["month"]["requests"] == 2
    assert usage["day"]["tokens"] == {"used": 18, "limit": None, "remaining": None}
    assert usage["day"]["usd"] == {"used": "0.000029", "limit": "1", "remaining": "0.999971"}
    assert usage["concurrent"]["used"] == 0


def test_a_limit_per_minute_says_what_is_left_and_when_to_come_back(setup: Setup) -> None:
    a_new_minute()
    before = len(setup.upstream.requests)
    answers = [setup.send(identity=ROLES["twice"]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert int(answers[0].headers["x-ratelimit-remaining-tokens"]) < 100_000
    refused = answers[2]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-should-retry"] == "true"
    assert (error(refused)["code"], error(refused)["param"]) == ("rate_limit_exceeded", "requests_per_minute")
    assert len(setup.upstream.requests) == before + 2


def test_a_spent_budget_is_not_worth_a_retry(setup: Setup) -> None:
    before = len(setup.upstream.requests)
    response = setup.send(identity=ROLES["poor"])
    assert response.status_code == 429
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after" not in response.headers
    assert (error(response)["code"], error(response)["param"]) == ("insufficient_quota", "usd_per_day")
    assert len(setup.upstream.requests) == before
    assert not setup.account(ROLES["poor"]).open


@pytest.mark.parametrize(
    ("role", "body", "status", "code"),
    [
        ("none", {}, 403, "caller_not_allowed"),
        ("get", {"model": "gpt-5"}, 404, "model_not_found"),
        ("get", {"model": "gpt-none"}, 400, "cost_not_bounded"),
    ],
)
def test_policy_refuses_and_nothing_is_sent(
    setup: Setup, role: str, body: dict[str, Any], status: int, code: str
) -> None:
    before = len(setup.upstream.requests)
    response = setup.send(identity=ROLES[role], **body)
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert len(setup.upstream.requests) == before


def test_a_caller_that_is_refused_sees_neither_models_nor_usage(setup: Setup) -> None:
    for path in ("/v1/models", "/v1/usage"):
        response = setup.get(path, ROLES["none"])
        assert (response.status_code, error(response)["code"]) == (403, "caller_not_allowed")


def test_models_are_those_of_the_caller(setup: Setup) -> None:
    listed = [{"id": name, "object": "model"} for name in ("gpt-5", "gpt-5-mini", "tts-1")]
    setup.upstream.answer(*json_answer(200, {"object": "list", "data": listed}))
    assert [model["id"] for model in setup.get("/v1/models", ROLES["get"]).json()["data"]] == ["gpt-5-mini"]


def override(setup: Setup, role: str, fields: dict[str, str | int], lifted: tuple[str, ...] = ()) -> None:
    body = CallerWrites(setup.table, setup.caller(ROLES[role])).set_overrides(fields, lifted)
    setup.aws.call("dynamodb", "UpdateItem", **body)


@pytest.mark.parametrize(("name", "status", "code"), [("stop", 403, "caller_stopped"), ("halt", 503, "relay_stopped")])
def test_who_is_stopped_is_refused_on_every_path_that_reaches_openai(
    setup: Setup, name: str, status: int, code: str
) -> None:
    override(setup, "halted", {name: "enough"})
    before = len(setup.upstream.requests)
    answers = [setup.get("/v1/models", ROLES["halted"]), setup.get("/v1/models/gpt-5-mini", ROLES["halted"])]
    answers.append(setup.send(identity=ROLES["halted"]))
    override(setup, "halted", {}, (name,))
    assert [(answer.status_code, error(answer)["code"]) for answer in answers] == [(status, code)] * 3
    assert len(setup.upstream.requests) == before


def test_a_list_of_models_is_a_request_of_the_minute_and_costs_nothing(setup: Setup) -> None:
    listed = [{"id": "gpt-5-mini", "object": "model"}]
    setup.upstream.answer(*json_answer(200, {"object": "list", "data": listed}))
    a_new_minute()
    before = len(setup.upstream.requests)
    answers = [setup.get("/v1/models", ROLES["listing"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert len(setup.upstream.requests) == before + 2
    setup.over(answers[1])
    record = setup.record(answers[1])
    assert (record.endpoint, record.usd, record.tokens, record.outcome) == ("/v1/models", 0, 0, "ok")


def test_session_names_and_headers_share_one_bucket(setup: Setup) -> None:
    """The same role under many session names, with every header that other relays believe in."""
    a_new_minute()
    statuses = []
    for number, session in enumerate(SESSIONS):
        forged = {
            "x-user-id": f"user-{number}",
            "x-forwarded-for": f"10.0.0.{number}",
            "openai-organization": f"org-{number}",
            "x-amzn-request-context": json.dumps({"authorizer": {"iam": {"userId": f"AROA{number}:x"}}}),
        }
        statuses.append(setup.send(identity=session, headers=forged, user=f"user-{number}").status_code)
    assert statuses == [200, 200, 429, 429]


def test_a_cut_stream_costs_its_upper_bound(setup: Setup) -> None:
    cut: list[Step] = [Send(head(headers=EVENT_STREAM)), Send(chunk(relay_with_limits.words("Hel")[0])), Close()]
    setup.upstream.answer(*cut)
    response = setup.over(setup.send(identity=ROLES["cut"]))
    assert response.broken
    assert "upstream_broken" in response.text
    record = setup.record(response)
    assert (record.outcome, record.usd) == ("upstream_broken", record.bound_usd)
    assert record.bound_usd > 500 * 2_000_000


@pytest.mark.parametrize("status", [400, 404, 429])
def test_what_openai_refused_costs_nothing(setup: Setup, status: int) -> None:
    setup.upstream.answer(*json_answer(status, {"error": {"message": "no", "type": "x", "code": "x", "param": None}}))
    response = setup.over(setup.send(identity=ROLES["refused"]))
    record = setup.record(response)
    assert (record.usd, record.tokens, record.bound_usd > 0) == (0, 0, True)


def test_a_refusal_in_the_form_of_an_event_costs_nothing(setup: Setup) -> None:
    event = b'data: {"error":{"message":"slow down","type":"rate_limit","code":"slow_down"}}\n\n'
    setup.upstream.answer(Send(head(headers=EVENT_STREAM)), Send(chunk(event)), Send(b"0\r\n\r\n"))
    response = setup.over(setup.send(identity=ROLES["refused"]))
    assert response.status_code == 429
    assert setup.record(response).usd == 0


@faults_table.fault(
    "closes, is 3 s slow, throttles, answers 500",
    "at admission",
    "503 `store_unavailable` within 1.5 s, nothing sent upstream; works as soon as it is over",
)
@pytest.mark.parametrize("fault", ["refuse", "slow", "throttle", "fail"])
def test_a_bad_store_is_503_in_time_with_nothing_sent_and_recovers_alone(setup: Setup, fault: str) -> None:
    setup.over(setup.send(identity=ROLES["slow"]))
    before, connections = len(setup.upstream.requests), setup.upstream.connections
    setup.proxy.fault = fault
    waited, began = CpuWait(*filter(None, setup.local.pids())), time.monotonic()
    response = setup.send(identity=ROLES["slow"])
    took = time.monotonic() - began
    assert (response.status_code, error(response)["code"]) == (503, "store_unavailable")
    assert response.headers["x-should-retry"] == "true"
    assert took < 1.5 + waited.seconds()
    assert len(setup.upstream.requests) == before
    assert setup.upstream.connections <= connections + 1, "one is made ahead where none is idle"
    setup.proxy.fault = ""
    again = setup.over(setup.send(identity=ROLES["slow"]))
    assert again.status_code == 200
    if fault == "slow":
        # The slow write arrives after all; what it booked is found out and taken back.
        time.sleep(setup.proxy.slowness)
        setup.over(setup.send(identity=ROLES["slow"]))
    assert not setup.account(ROLES["slow"]).open


def test_a_slow_store_is_503_in_time_for_a_new_caller_too(setup: Setup) -> None:
    """Four calls: the attempt that finds no account, its name, the switch, the account."""
    setup.over(setup.send(identity=ROLES["slow"]))  # the process is warm
    setup.proxy.fault, setup.proxy.slowness = "slow", 0.6
    waited, began = CpuWait(*filter(None, setup.local.pids())), time.monotonic()
    response = setup.send(identity=ROLES["new"])
    took = time.monotonic() - began
    setup.proxy.fault, setup.proxy.slowness = "", 3.0
    assert (response.status_code, error(response)["code"]) == (503, "store_unavailable")
    assert took < 1.5 + waited.seconds()


@faults_table.fault("applies a write, and the answer is lost", "each write", "served; booked once")
def test_an_answer_of_the_store_that_is_lost_changes_nothing(setup: Setup) -> None:
    before = setup.account(ROLES["slow"])
    setup.proxy.faults.extend(["lose", "", "lose", "", "lose", ""])
    response = setup.over(setup.send(identity=ROLES["slow"]))
    assert response.status_code == 200
    assert not setup.proxy.faults
    day = f"d:{time.strftime('%Y-%m-%d', time.gmtime())}"
    after = setup.account(ROLES["slow"])
    assert after.count(day, "req") - before.count(day, "req") == 1
    assert after.count(day, "tok") - before.count(day, "tok") == 9
    assert setup.record(response).tokens == 9


@faults_table.fault(
    "fails", "settling, after a good stream", "the whole answer; the upper bound stays booked, the log says what it was"
)
def test_a_settlement_that_fails_leaves_the_bound_and_the_words_to_book_it(setup: Setup) -> None:
    held = setup.account(ROLES["slow"])
    setup.proxy.faults.extend(["", *["fail"] * 40])
    response = setup.over(setup.send(identity=ROLES["slow"]))
    assert response.status_code == 200
    assert response.text.endswith("data: [DONE]\n\n")
    setup.proxy.faults.clear()
    id = response.headers["x-request-id"]
    (line,) = [json.loads(line.text) for line in setup.local.logs.lines() if '"settle_failed"' in line.text]
    assert (line["requestId"], line["caller"]) == (id, setup.caller(ROLES["slow"]))
    assert line["record"]["c"] == {"input": 2, "output": 7}
    assert set(setup.account(ROLES["slow"]).open) - set(held.open) == {id}
