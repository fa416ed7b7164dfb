"""The gate: who gets a permit, what it changes, what the caller is told, and that each permit is settled once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relay.aws.errors import StoreError
from relay.errors import ErrorKind, RelayError
from relay.ledger.account import Account, Reservation, UsageRecord
from relay.ledger.ledger import Admitted
from relay.limits import prices
from relay.limits.admission import Admission, AdmissionRequest, Permit
from relay.limits.decision import Refusal, RefusedError
from relay.limits.policy import Limits, parse
from relay.log import Log
from relay.models import Caller, Request, Usage
from relay.request import upstream_request
from relay.request.policy import RequestPolicy

NOON = 1_795_435_200_000
CALLER = Caller(
    account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/app/ann@example.com"
)
CHAT = "/v1/chat/completions"
EVERYTHING = RequestPolicy(tools=("function", "web_search"), service_tiers=("auto", "default", "flex"))
POLICIES = """{"default": {"rpm": 5, "usd_day": 1, "models": ["gpt-5-mini", "gpt-5", "unheard-of"], "output_cap": 100},
              "rules": {"*:role/none": "refuse"}}"""


class Book:
    """A ledger that keeps what it is told. `failures` are raised by the next calls."""

    def __init__(self) -> None:
        self.reserved: list[tuple[str, str, Reservation, Limits]] = []
        self.settled: list[tuple[str, UsageRecord]] = []
        self.counted: list[tuple[str, str]] = []
        self.failures: list[Exception] = []

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def reserve(self, caller: str, subject: str, entry: Reservation, limits: Limits) -> Admitted:
        self._fail()
        self.reserved.append((caller, subject, entry, limits))
        return Admitted(entry=entry, account=Account(exists=True), limits=limits, doubt=False)

    def settle(self, caller: str, admitted: Admitted, record: UsageRecord) -> None:
        self._fail()
        self.settled.append((caller, record))

    def refused(self, caller: str, reason: str) -> None:
        self._fail()
        self.counted.append((caller, reason))

    def account(self, caller: str) -> Account:
        self._fail()
        return Account()


class Gate:
    """An admission, the book behind it and what it logs."""

    def __init__(self, **options: Any) -> None:
        self.book = Book()
        self._reading, writing = os.pipe()
        listed = prices.parse(Path(prices.__file__).with_name("prices.json").read_text())
        self.admission = Admission(
            prices=listed, clock=lambda: NOON, log=Log("INFO", writing),
            **{"ledger": self.book, "policies": parse(POLICIES), **options},
        )  # fmt: skip

    def ask(self, caller: Caller = CALLER, *, meanwhile: Callable[[], None] = lambda: None, **body: Any) -> Permit:
        fields = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], **body}
        request = Request(id="id-1", method="POST", path=CHAT, body=json.dumps(fields).encode(), caller=caller)
        self.upstream = upstream_request.prepare(request, EVERYTHING, max_body_bytes=10**6, identifier="")
        return self.admission.admit(
            AdmissionRequest(
                request_id="id-1",
                caller=caller,
                endpoint=CHAT,
                models=self.upstream.models,
                bound=self.upstream.bound,
                seconds=30,
            ),
            meanwhile=meanwhile,
        )

    def refusal(self, caller: Caller = CALLER, **body: Any) -> RelayError:
        with pytest.raises(RelayError) as caught:
            self.ask(caller, **body)
        return caught.value

    def logged(self) -> list[dict[str, Any]]:
        os.set_blocking(self._reading, False)
        try:
            return [json.loads(line) for line in os.read(self._reading, 1 << 16).splitlines()]
        except BlockingIOError:
            return []


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_something_else_is_begun_only_where_the_ledger_is_waited_for(gate: Gate) -> None:
    begun: list[int] = []
    with pytest.raises(RelayError):
        gate.ask(model="gpt-none", meanwhile=lambda: begun.append(len(gate.book.reserved)))
    Gate(ledger=None).ask(meanwhile=lambda: begun.append(-1))
    gate.ask(meanwhile=lambda: begun.append(len(gate.book.reserved)))
    assert (begun, len(gate.book.reserved)) == ([0], 1)


def test_a_permit_clamps_pins_and_says_what_is_left(gate: Gate) -> None:
    permit = gate.ask(max_completion_tokens=5000)
    assert gate.upstream.fields["max_completion_tokens"] == 100
    assert gate.upstream.fields["service_tier"] == "default"
    assert permit.headers["x-ratelimit-limit-requests"] == "5"
    ((caller, subject, entry, limits),) = gate.book.reserved
    assert (caller, subject) == ("123456789012/AROAEXAMPLE", "123456789012:role/app")
    assert (entry.id, entry.model, entry.endpoint) == ("id-1", "gpt-5-mini", "/v1/chat/completions")
    assert entry.lease == NOON + 30_000 + 5_000
    assert limits.requests_per_minute == 5


@pytest.mark.parametrize("session", ["ann", "bob", "../none", "role/none"])
def test_neither_session_nor_arn_moves_a_caller_to_another_bucket(gate: Gate, session: str) -> None:
    gate.ask(Caller(account="123456789012", principal="AROAEXAMPLE", arn=f"{CALLER.arn.rpartition('/')[0]}/{session}"))
    assert gate.book.reserved[0][:2] == ("123456789012/AROAEXAMPLE", "123456789012:role/app")


@pytest.mark.parametrize(
    ("usage", "usd", "tokens"),
    [
        (
            Usage(input=1_000, cached_input=400, output=50, model="gpt-5-mini", service_tier="default"),
            260_000_000,
            1_050,
        ),
        (Usage(input=1_000, output=50, service_tier="flex"), 175_000_000, 1_050),
        (Usage(), 0, 0),
    ],
)
def test_settles_to_what_was_billed(gate: Gate, usage: Usage, usd: int, tokens: int) -> None:
    permit = gate.ask()
    permit.settle(usage, "ok")
    ((caller, record),) = gate.book.settled
    assert caller == "123456789012/AROAEXAMPLE"
    assert (record.usd, record.tokens, record.outcome) == (usd, tokens, "ok")
    assert record.bound_usd == gate.book.reserved[0][2].usd
    assert record.counts.get("cached_input", 0) == usage.cached_input


def test_settles_to_the_bound_when_nobody_knows(gate: Gate) -> None:
    gate.ask().settle(None, "upstream_broken")
    ((_, record),) = gate.book.settled
    assert (record.usd, record.tokens) == (record.bound_usd, record.bound_tokens)
    assert record.usd > 0


def test_settles_once(gate: Gate) -> None:
    permit = gate.ask()
    permit.settle(None, "ok")
    permit.settle(Usage(), "ok")
    assert len(gate.book.settled) == 1


def test_an_answer_over_its_bound_is_booked_and_said_aloud(gate: Gate) -> None:
    gate.ask().settle(Usage(input=10**6), "ok")
    assert gate.book.settled[0][1].usd > gate.book.settled[0][1].bound_usd
    assert [line["event"] for line in gate.logged()] == ["over_bound"]


@pytest.mark.parametrize(
    ("body", "caller", "kind", "param"),
    [
        ({"model": "gpt-5.5"}, CALLER, ErrorKind.MODEL_NOT_ALLOWED, "model"),
        ({"model": "unheard-of"}, CALLER, ErrorKind.COST_UNBOUNDED, "unbounded"),
        ({"tools": [{"type": "web_search"}]}, CALLER, ErrorKind.COST_UNBOUNDED, "unbounded"),
        (
            {},
            Caller(account="1", principal="X", arn="arn:aws:sts::1:assumed-role/none/x"),
            ErrorKind.CALLER_REFUSED,
            "policy",
        ),
    ],
)
def test_policy_refuses_before_anything_is_booked(
    gate: Gate, body: dict[str, Any], caller: Caller, kind: ErrorKind, param: str
) -> None:
    error = gate.refusal(caller, **body)
    assert (error.kind, error.param) == (kind, param)
    assert not gate.book.reserved
    assert len(gate.book.counted) == 1


def test_refusals_are_counted_under_models_that_are_known(gate: Gate) -> None:
    gate.refusal(model="gpt-5.5")
    gate.refusal(model="x" * 100)
    assert [reason for _, reason in gate.book.counted] == ["model gpt-5.5", "model other"]


@pytest.mark.parametrize(
    ("refusal", "status", "code", "retry", "after"),
    [
        (Refusal(reason="requests_per_minute", text="t", retry_after=7), 429, "rate_limit_exceeded", "true", "7"),
        (Refusal(reason="usd_per_day", text="t"), 429, "insufficient_quota", "false", None),
        (Refusal(reason="usd_per_day", text="t", retry_after=5), 429, "rate_limit_exceeded", "true", "5"),
        (Refusal(reason="stopped", text="t"), 403, "caller_stopped", "false", None),
        (Refusal(reason="halted", text="t"), 503, "relay_stopped", "false", None),
        (Refusal(reason="duplicate", text="t"), 409, "duplicate_request", "false", None),
    ],
)
def test_what_a_refusal_looks_like(
    gate: Gate, refusal: Refusal, status: int, code: str, retry: str, after: str | None
) -> None:
    gate.book.failures.append(RefusedError(refusal))
    error = gate.refusal()
    headers = error.response_headers()
    assert (error.kind.spec.status, error.code, error.text) == (status, code, "t")
    assert (headers["x-should-retry"], headers.get("retry-after")) == (retry, after)


def test_store_trouble_is_503_and_may_be_retried(gate: Gate) -> None:
    gate.book.failures.append(StoreError("Unreachable"))
    error = gate.refusal()
    assert (error.kind, error.kind.spec.status, error.kind.spec.retry) == (ErrorKind.STORE_UNAVAILABLE, 503, True)


def test_a_refusal_that_cannot_be_counted_is_still_that_refusal(gate: Gate) -> None:
    gate.book.failures = [RefusedError(Refusal(reason="usd_per_day", text="t")), StoreError("Unreachable")]
    assert gate.refusal().kind is ErrorKind.BUDGET_EXHAUSTED
    assert [line["event"] for line in gate.logged()] == ["refusal_not_counted"]


@pytest.mark.parametrize(("choice", "booked"), [("keep", 1), ("retry", 2)])
def test_a_settlement_that_fails_is_logged_whole_and_kept_or_tried_again(choice: str, booked: int) -> None:
    gate = Gate(settle_failure=choice)
    permit = gate.ask()
    gate.book.failures.append(StoreError("Unreachable"))
    permit.settle(Usage(input=10, output=5), "ok")
    (line,) = gate.logged()
    assert (line["event"], line["requestId"], line["caller"]) == ("settle_failed", "id-1", "123456789012/AROAEXAMPLE")
    assert line["record"]["u"] == 12_500_000
    assert line["record"]["c"] == {"input": 10, "output": 5}
    gate.ask().settle(Usage(), "ok")
    assert len(gate.book.settled) == booked


def test_without_a_table_policies_still_hold() -> None:
    gate = Gate(ledger=None)
    gate.ask(max_completion_tokens=5000)
    assert gate.upstream.fields["max_completion_tokens"] == 100
    gate.ask().settle(None, "ok")
    assert gate.refusal(model="gpt-5.5").kind is ErrorKind.MODEL_NOT_ALLOWED
    with pytest.raises(RelayError, match="NOT_FOUND"):
        gate.admission.usage(CALLER)


@pytest.mark.parametrize("body", [{}, {"service_tier": "flex"}, {"max_completion_tokens": 7}, {"model": "gpt-5"}])
@pytest.mark.parametrize("usage", [None, Usage(), Usage(input=1_000, cached_input=400, output=50)])
def test_without_a_table_a_request_costs_the_same_whether_or_not_a_limit_asks_for_its_bound(
    usage: Usage | None, body: dict[str, Any]
) -> None:
    limited, free = Gate(ledger=None), Gate(ledger=None, policies=parse('{"default": {"output_cap": 100}}'))
    body = {"service_tier": "default", **body}  # a budget would add it, and both bodies are to be equal
    assert free.ask(**body).settle(usage, "ok") == limited.ask(**body).settle(usage, "ok")
    assert free.ask(model="not-on-the-list").settle(usage, "ok") == 0
    hosted = free.ask(tools=[{"type": "web_search"}])
    assert (hosted.settle(usage, "ok") == 0) == (usage is None or not usage.total)


def test_a_caller_sees_its_models_and_its_usage(gate: Gate) -> None:
    assert gate.admission.policy(CALLER).models == frozenset({"gpt-5-mini", "gpt-5", "unheard-of"})
    usage = gate.admission.usage(CALLER)
    assert (usage["object"], usage["caller"]) == ("caller.usage", "123456789012:role/app")
    assert usage["day"]["usd"] == {"used": "0", "limit": "1", "remaining": "1"}
    nobody = Caller(account="1", principal="X", arn="arn:aws:sts::1:assumed-role/none/x")
    with pytest.raises(RelayError, match="CALLER_REFUSED"):
        gate.admission.policy(nobody)
    with pytest.raises(RelayError, match="CALLER_REFUSED"):
        gate.admission.usage(nobody)
    gate.book.failures.append(StoreError("Unreachable"))
    with pytest.raises(RelayError, match="STORE_UNAVAILABLE"):
        gate.admission.usage(CALLER)
