"""The gate: who gets a permit, what it changes, what the caller is told, and that each permit is settled once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relay.accounts.account import Account, Reservation, UsageRecord
from relay.accounts.limit_kinds import LIMIT_KINDS, Limits
from relay.aws.errors import StoreError
from relay.errors import ErrorKind, RelayError
from relay.ledger.ledger import Admitted, GroupTerms, Ledger
from relay.ledger.stored_account import Judge
from relay.limits.admission import Admission, AdmissionRequest
from relay.limits.cost_bound import Bound
from relay.limits.decision import Reason, Refusal, RefusedError
from relay.limits.settlement import Settlement
from relay.log import Log
from relay.models import Caller, Request, Usage
from relay.policies.policy_json import parse
from relay.pricing import prices
from relay.request import upstream_request
from relay.request.policy import RequestPolicy

USD, RPM = (next(kind for kind in LIMIT_KINDS if kind.name == name) for name in ("usd_per_day", "requests_per_minute"))
NOON = 1_795_435_200_000
CALLER = Caller(
    account="123456789012", principal="AROAEXAMPLE", arn="arn:aws:sts::123456789012:assumed-role/app/ann@example.com"
)
CHAT = "/v1/chat/completions"
EVERYTHING = RequestPolicy(tools=("function", "web_search"), service_tiers=("auto", "default", "flex"))
POLICIES = """{"default": {"rpm": 5, "usd_day": 1, "models": ["gpt-5-mini", "gpt-5", "unheard-of"], "output_cap": 100},
              "rules": {"*:role/none": "refuse"}}"""


OK = Exception("no failure")


class Book(Ledger):
    """A ledger that keeps what it is told. `failures` are raised by the next calls, one each; OK is none."""

    def __init__(self) -> None:
        self.reserved: list[tuple[str, str, Reservation, Limits]] = []
        self.settled: list[tuple[str, UsageRecord]] = []
        self.counted: list[tuple[str, str, str]] = []
        self.times: list[float | None] = []
        self.failures: list[Exception] = []
        self.warned: list[tuple[str, str, str]] = []
        self.own = self.shared = Account(exists=True)

    def _fail(self) -> None:
        failure = self.failures.pop(0) if self.failures else OK
        if failure is not OK:
            raise failure

    def reserve(
        self,
        caller: str,
        subject: str,
        entry: Reservation,
        limits: Limits,
        judge: Judge,
        until: float | None = None,
        *,
        group: GroupTerms | None = None,
    ) -> Admitted:
        self.times.append(until)
        self._fail()
        self.reserved.append((caller, subject, entry, limits))
        admitted = Admitted(entry=entry, account=self.own, limits=limits, in_doubt=False)
        if group is None:
            return admitted
        group.judge(self.shared, group.limits, entry, NOON)
        return admitted.changed(group=admitted.changed(account=self.shared, limits=group.limits))

    def settle(
        self, caller: str, admitted: Admitted, record: UsageRecord, until: float | None = None
    ) -> tuple[Account, Account | None]:
        self._fail()
        self.settled.append((caller, record))
        return self.own, self.shared if admitted.group else None

    def warn(self, caller: str, group: str, limit: str, window: str, id: str, until: float | None = None) -> bool:
        self._fail()
        self.warned.append((group or caller, limit, window))
        return True

    def refused(self, caller: str, reason: str, model: str, until: float | None = None) -> None:
        self.times.append(until)
        self._fail()
        self.counted.append((caller, reason, model))

    def account(self, caller: str, until: float | None = None) -> Account:
        self.times.append(until)
        self._fail()
        return self.own

    def group_account(self, name: str, until: float | None = None) -> Account:
        return self.shared


def settled(settlement: Settlement, usage: Usage | None, outcome: str = "ok") -> int:
    """Sends the request, receives a response that says it used `usage`, and settles."""
    settlement.sending()
    settlement.metered(lambda: usage)
    return settlement.close(outcome)


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

    def ask(self, caller: Caller = CALLER, *, meanwhile: Callable[[], None] = lambda: None, **body: Any) -> Settlement:
        return self.admit(caller, meanwhile=meanwhile, **body)

    def admit(
        self,
        caller: Caller = CALLER,
        *,
        until: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        **body: Any,
    ) -> Settlement:
        fields = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], **body}
        request = Request(id="id-1", method="POST", path=CHAT, body=json.dumps(fields).encode(), caller=caller)
        self.upstream = upstream_request.prepare(request, EVERYTHING, max_body_bytes=10**6, identifier="")
        return self.admission.admit(
            AdmissionRequest(
                request_id="id-1",
                caller=caller,
                policy=self.admission.policy_of(caller),
                endpoint=CHAT,
                models=self.upstream.models,
                bound=self.upstream.bound,
                seconds=30,
            ),
            until=until,
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
    assert permit.headers({})["x-ratelimit-limit-requests"] == "5"
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
    settled(permit, usage, "ok")
    ((caller, record),) = gate.book.settled
    assert caller == "123456789012/AROAEXAMPLE"
    assert (record.usd, record.tokens, record.outcome) == (usd, tokens, "ok")
    assert record.bound_usd == gate.book.reserved[0][2].usd
    assert record.counts.get("cached_input", 0) == usage.cached_input


def test_settles_to_the_bound_when_nobody_knows(gate: Gate) -> None:
    settled(gate.ask(), None, "upstream_broken")
    ((_, record),) = gate.book.settled
    assert (record.usd, record.tokens) == (record.bound_usd, record.bound_tokens)
    assert record.usd > 0


def test_settles_once(gate: Gate) -> None:
    permit = gate.ask()
    settled(permit, None, "ok")
    settled(permit, Usage(), "ok")
    assert len(gate.book.settled) == 1


def test_an_answer_over_its_bound_is_booked_and_said_aloud(gate: Gate) -> None:
    settled(gate.ask(), Usage(input=10**6), "ok")
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
    for model in ("gpt-5.5", "x" * 100, "gpt-5-mini-1000-11-11", "gpt-5-mini-1000-11-12", "ft:gpt-4.1-mini:mine"):
        gate.refusal(model=model)
    gate.refusal(model="unheard-of")
    assert [(reason, model) for _, reason, model in gate.book.counted] == [
        ("model", "gpt-5.5"),
        ("model", "other"),
        ("model", "other"),
        ("model", "other"),
        ("model", "other"),
        ("unbounded", "unheard-of"),
    ], "dates are made up easily; what the operator's own policy names is on a list, too"


@pytest.mark.parametrize(
    ("refusal", "status", "code", "retry", "after"),
    [
        (
            Refusal(reason=Reason.LIMIT_REACHED, limit=RPM, text="t", retry_after=7),
            429,
            "rate_limit_exceeded",
            "true",
            "7",
        ),
        (Refusal(reason=Reason.LIMIT_SPENT, limit=USD, text="t"), 429, "insufficient_quota", "false", None),
        (
            Refusal(reason=Reason.LIMIT_REACHED, limit=USD, text="t", retry_after=5),
            429,
            "rate_limit_exceeded",
            "true",
            "5",
        ),
        (Refusal(reason=Reason.STOPPED, text="t"), 403, "caller_stopped", "false", None),
        (Refusal(reason=Reason.HALTED, text="t"), 503, "relay_stopped", "false", None),
        (Refusal(reason=Reason.DUPLICATE, text="t"), 409, "duplicate_request", "false", None),
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
    gate.book.failures = [
        RefusedError(Refusal(reason=Reason.LIMIT_SPENT, limit=USD, text="t")),
        StoreError("Unreachable"),
    ]
    assert gate.refusal().kind is ErrorKind.BUDGET_EXHAUSTED
    assert [line["event"] for line in gate.logged()] == ["refusal_not_counted"]


@pytest.mark.parametrize(("choice", "booked"), [("keep", 1), ("retry", 2)])
def test_a_settlement_that_fails_is_logged_whole_and_kept_or_tried_again(choice: str, booked: int) -> None:
    gate = Gate(settle_failure=choice)
    permit = gate.ask()
    gate.book.failures.append(StoreError("Unreachable"))
    settled(permit, Usage(input=10, output=5), "ok")
    (line,) = gate.logged()
    assert (line["event"], line["requestId"], line["caller"]) == ("settle_failed", "id-1", "123456789012/AROAEXAMPLE")
    assert line["record"]["u"] == 12_500_000
    assert line["record"]["c"] == {"input": 10, "output": 5}
    settled(gate.ask(), Usage(), "ok")
    assert len(gate.book.settled) == booked


def test_without_a_table_policies_still_hold() -> None:
    gate = Gate(ledger=None)
    gate.ask(max_completion_tokens=5000)
    assert gate.upstream.fields["max_completion_tokens"] == 100
    settled(gate.ask(), None, "ok")
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
    assert settled(free.ask(**body), usage, "ok") == settled(limited.ask(**body), usage, "ok")
    assert settled(free.ask(model="not-on-the-list"), usage, "ok") == 0
    hosted = free.ask(tools=[{"type": "web_search"}])
    assert (settled(hosted, usage, "ok") == 0) == (usage is None or not usage.total)


def test_a_caller_sees_its_models_and_its_usage(gate: Gate) -> None:
    assert gate.admission.policy(CALLER).models == frozenset({"gpt-5-mini", "gpt-5", "unheard-of"})
    usage: dict[str, Any] = gate.admission.usage(CALLER)
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


def test_every_wait_of_an_admission_ends_at_one_time(gate: Gate) -> None:
    gate.admit(until=12.5)
    gate.book.failures.append(RefusedError(Refusal(reason=Reason.STOPPED, text="t")))
    with pytest.raises(RelayError):
        gate.admit(until=13.5)
    gate.admission.usage(CALLER, until=14.5)
    assert gate.book.times == [12.5, 13.5, 13.5, 14.5]


def test_what_costs_nothing_is_admitted_and_counted_like_everything_else(gate: Gate) -> None:
    settlement = gate.admission.admit(
        AdmissionRequest(
            request_id="id-2", caller=CALLER, endpoint="/v1/models", models=(), seconds=30,
            policy=gate.admission.policy_of(CALLER), bound=lambda policy, price: Bound(),
        )
    )  # fmt: skip
    ((_, _, entry, _),) = gate.book.reserved
    assert (entry.usd, entry.tokens, entry.model) == (0, 0, "")
    assert settled(settlement, None) == 0
    assert [record.usd for _, record in gate.book.settled] == [0]


def test_nothing_that_failed_to_settle_is_forgotten() -> None:
    gate = Gate(settle_failure="retry")
    for _ in range(500):
        settlement = gate.ask()
        gate.book.failures.append(StoreError("Unreachable"))
        settled(settlement, Usage(input=10))
    settled(gate.ask(), Usage(input=10))
    assert len(gate.book.settled) == 501


def test_a_settlement_that_went_well_is_not_logged_as_failed_because_an_older_one_fails_again() -> None:
    gate = Gate(settle_failure="retry")
    older, newer = gate.ask(), gate.ask()
    gate.book.failures.append(StoreError("Unreachable"))
    settled(older, Usage(input=10), "older")
    gate.logged()
    gate.book.failures += [OK, StoreError("Unreachable")]
    settled(newer, Usage(input=10), "newer")
    assert [record.outcome for _, record in gate.book.settled] == ["newer"]
    assert [line["record"]["o"] for line in gate.logged()] == ["older"]


def test_the_model_in_the_line_that_books_a_failed_settlement_has_a_length() -> None:
    """A line that is cut cannot be replayed."""
    gate = Gate(settle_failure="keep", policies=parse(""))
    settlement = gate.admission.admit(
        AdmissionRequest(
            request_id="id-1", caller=CALLER, endpoint=CHAT, models=("m" * 409_000,), seconds=30,
            policy=gate.admission.policy_of(CALLER), bound=lambda policy, price: Bound(),
        )
    )  # fmt: skip
    gate.book.failures.append(StoreError("Unreachable"))
    settled(settlement, Usage(input=10))
    (line,) = gate.logged()
    assert line["record"]["m"] == "m" * 128
    assert len(json.dumps(line)) < 2_000


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_retry_rule_of_its_own(reason: Reason) -> None:
    retried = {Reason.LIMIT_REACHED}
    assert reason.value.spec.retry == (reason in retried)
    assert 400 <= reason.value.spec.status < 600
