"""The one gate before OpenAI: whether a request may be sent, on which terms, and how it is settled afterwards.

Knows the order: policy, then bound, then reservation; afterwards the record. Knows neither HTTP nor how anything is
stored. Whatever reaches upstream is admitted here, also what costs nothing, and is settled once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal

from relay.accounts.account import Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits, Windows
from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.ledger.ledger import ADMISSION_SECONDS as ADMISSION_SECONDS  # for all waits of an admission together
from relay.ledger.ledger import Admitted, Ledger, StoreError
from relay.limits import cost_bound, decision, report
from relay.limits.cost_bound import Bound
from relay.limits.decision import Reason, Refusal, RefusedError
from relay.limits.policy import Policies, Policy, subject
from relay.limits.settlement import Settlement
from relay.log import Log
from relay.models import Caller, JsonObject, Usage
from relay.pricing.money import dollars
from relay.pricing.prices import Price, PriceList

LEASE_GRACE = 5_000
"""Milliseconds beyond the deadline, when Lambda kills the process, until a reservation counts as abandoned: room for
clocks of different hosts to differ."""

OTHER_MODELS = "other"
"""Under which refusals of all models are counted that are on no list of the operator's."""

SettleFailure = Literal["keep", "retry"]
"""What becomes of a settlement that the store did not take: the upper bound stays, or this process tries again after
its next request. Both are logged with all that is needed to book it later."""


class AdmissionRequest(Frozen):
    """What is to be admitted. `seconds` are left until the process is killed.

    `models` are all that the body names, the one that generates first. `bound` narrows the request to a caller's policy
    and gives the most that what is then sent can cost; raises cost_bound.UnboundedError.
    """

    request_id: str
    caller: Caller
    endpoint: str
    models: tuple[str, ...]
    bound: Callable[[Policy, Price | None], Bound]
    seconds: float

    @property
    def model(self) -> str:
        """The model that generates, "" when the body names none."""
        return self.models[0] if self.models else ""


class Admission:
    """The relay's gate. `ledger` None: policies hold, and nothing is counted. `clock` gives epoch milliseconds."""

    def __init__(
        self,
        *,
        policies: Policies,
        prices: PriceList,
        ledger: Ledger | None,
        clock: Callable[[], int],
        log: Log,
        settle_failure: SettleFailure = "keep",
    ) -> None:
        self._policies = policies
        self._prices = prices
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._settle_failure = settle_failure
        # As long as this process has failed to settle requests; each is in the log, too.
        self._unsettled: deque[tuple[str, Admitted, UsageRecord]] = deque()

    def admit(
        self,
        request: AdmissionRequest,
        *,
        until: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Settlement:
        """Leave to send `request`, or a RelayError that says what stands in the way and what would help.

        Is over by `until` (time.monotonic()'s clock; None: ADMISSION_SECONDS from now). `meanwhile` is called before the
        ledger is waited for, once nothing else stands in the way.
        """
        price = self._prices.of(request.model)
        policy: Policy | None = None
        try:
            policy = self._policy(request)
            bound = _bound(request, policy, price)
            if self._ledger is None:
                return Settlement(bound, price)
            meanwhile()
            admitted = self._reserve(self._ledger, request, bound, policy.limits, until)
        except RefusedError as error:
            self._count(request, policy, error.refusal, until)
            raise error.refusal.error() from None
        except StoreError as error:
            raise RelayError(ErrorKind.STORE_UNAVAILABLE, log=str(error)) from None
        left = report.headers(admitted.account, admitted.limits, self._clock())
        killed_at = time.monotonic() + request.seconds
        book = partial(self._book, self._ledger, request.caller.key, admitted, bound, killed_at)
        return Settlement(bound, price, limits=left, book=book)

    def policy(self, caller: Caller) -> Policy:
        """The policy of `caller`. Raises RelayError when there is none: such a caller is not even told of models."""
        policy = self._policies.of(caller)
        if policy is None:
            raise _no_policy(caller).error()
        return policy

    def usage(self, caller: Caller, *, until: float | None = None) -> JsonObject:
        """What `caller` has used and what remains, for `GET /v1/usage`. Raises RelayError."""
        policy = self.policy(caller)
        if self._ledger is None:
            raise RelayError(ErrorKind.NOT_FOUND, "This relay keeps no account of usage.")
        try:
            account = self._ledger.account(caller.key, until)
        except StoreError as error:
            raise RelayError(ErrorKind.STORE_UNAVAILABLE, log=str(error)) from None
        now = self._clock()
        limits = account.overrides.over(policy.limits, Windows.at(now))
        return {"object": "caller.usage", "caller": subject(caller), **report.usage(account, limits, now)}

    def _policy(self, request: AdmissionRequest) -> Policy:
        policy = self._policies.of(request.caller)
        if policy is None:
            raise RefusedError(_no_policy(request.caller))
        refused = next((model for model in request.models if not policy.allows(model)), None)
        if refused is not None:
            text = f"This caller may not use the model {refused[:80]!r}."
            raise RefusedError(Refusal(reason=Reason.MODEL, text=text))
        return policy

    def _reserve(
        self, ledger: Ledger, request: AdmissionRequest, bound: Bound, limits: Limits, until: float | None
    ) -> Admitted:
        now = self._clock()
        entry = Reservation(
            id=request.request_id,
            at=now,
            lease=now + int(max(0.0, request.seconds) * 1000) + LEASE_GRACE,
            usd=bound.usd,
            tokens=bound.tokens,
            model=request.model,
            endpoint=request.endpoint,
            unbounded=bound.unbounded,
        )
        return ledger.reserve(request.caller.key, subject(request.caller), entry, limits, decision.judge, until)

    def _count(self, request: AdmissionRequest, policy: Policy | None, refusal: Refusal, until: float | None) -> None:
        """Counts a refusal under its model's name on the operator's lists: attributes are not for callers to name."""
        model = self._prices.listed(request.model)
        if not model and policy is not None and request.model in (policy.models or ()):
            model = request.model
        try:
            if self._ledger is not None:
                self._ledger.refused(request.caller.key, refusal.code, model or OTHER_MODELS, until)
        except StoreError as error:
            self._log.warn("refusal_not_counted", requestId=request.request_id, cause=str(error))

    def _book(
        self,
        ledger: Ledger,
        caller: str,
        admitted: Admitted,
        bound: Bound,
        until: float,
        usage: Usage | None,
        usd: int,
        outcome: str,
    ) -> None:
        """Settles with the ledger by `until`, or logs all that is needed to do it later."""
        entry = admitted.entry
        tokens = entry.tokens if usage is None else max(0, usage.total)
        record = UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=outcome, usd=usd,
            tokens=tokens, bound_usd=entry.usd, bound_tokens=entry.tokens,
            tier=(usage.service_tier if usage else "") or bound.tier, counts=_counts(usage),
        )  # fmt: skip
        self._check_bound(record, admitted.limits)
        if self._settled(ledger, caller, admitted, record, until):
            while self._unsettled and self._settled(ledger, *self._unsettled[0], until):
                self._unsettled.popleft()
        elif self._settle_failure == "retry":
            self._unsettled.append((caller, admitted, record))

    def _settled(self, ledger: Ledger, caller: str, admitted: Admitted, record: UsageRecord, until: float) -> bool:
        try:
            ledger.settle(caller, admitted, record, until)
        except StoreError as error:
            kept = {**record.fields(), "id": record.id}
            self._log.error("settle_failed", requestId=record.id, caller=caller, cause=str(error), record=kept)
            return False
        return True

    def _check_bound(self, record: UsageRecord, limits: Limits) -> None:
        """0 <= settled <= bound, where a limit depends on it. OpenAI's bill is booked all the same, and said aloud."""
        assert record.usd >= 0
        assert record.tokens >= 0
        over_usd = limits.in_usd and record.usd > record.bound_usd
        if over_usd or (limits.in_tokens and record.tokens > record.bound_tokens):
            fields = record.fields()
            self._log.warn("over_bound", requestId=record.id, model=fields["m"], usd=dollars(record.usd))


def _bound(request: AdmissionRequest, policy: Policy, price: Price | None) -> Bound:
    try:
        return request.bound(policy, price)
    except cost_bound.UnboundedError as error:
        raise RefusedError(decision.unbounded(str(error))) from None


def _no_policy(caller: Caller) -> Refusal:
    return Refusal(reason=Reason.POLICY, text=f"No policy lets {subject(caller)} in.")


def _counts(usage: Usage | None) -> dict[str, int]:
    named = vars(usage) if usage else {}
    return {name: value for name, value in named.items() if isinstance(value, int) and value}
