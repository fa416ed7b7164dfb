"""The one gate before OpenAI: whether a request may be sent, on which terms, and how it is settled afterwards.

Knows the order: policy, then bound, then reservation; afterwards the record. Knows neither HTTP nor how anything is
stored. Whatever reaches upstream is admitted here, also what costs nothing, and is settled once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from relay.accounts.account import Account, Reservation
from relay.accounts.limit_kinds import Windows
from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.ledger.ledger import ADMISSION_SECONDS as ADMISSION_SECONDS  # for all waits of an admission together
from relay.ledger.ledger import Admitted, GroupTerms, Ledger, StoreError
from relay.limits import booking, cost_bound, decision, report, watch
from relay.limits.booking import Booking, Held, SettleFailure
from relay.limits.cost_bound import Bound
from relay.limits.decision import Reason, Refusal, RefusedError
from relay.limits.settlement import Settlement
from relay.log import Log
from relay.models import Caller, JsonObject
from relay.policies.policy import Policies, Policy, Terms, subject
from relay.pricing.prices import Price, PriceList

LEASE_GRACE = 5_000
"""Milliseconds beyond the deadline, when Lambda kills the process, until a reservation counts as abandoned: room for
clocks of different hosts to differ."""

OTHER_MODELS = "other"
"""Under which refusals of all models are counted that are on no list of the operator's."""


class AdmissionRequest(Frozen):
    """What is to be admitted. `seconds` are left until the process is killed.

    `policy` is what Admission.policy_of says of the caller. `models` are all that the body names, the one that generates
    first. `bound` narrows the request to a caller's policy and gives the most that what is then sent can cost; raises
    cost_bound.UnboundedError.
    """

    request_id: str
    caller: Caller
    policy: Policy | None
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
        self._booking = Booking(ledger, log=log, settle_failure=settle_failure) if ledger else None

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
        try:
            policy = _allowed(request)
            bound = _bound(request, policy, price)
            if self._ledger is None or self._booking is None:
                return Settlement(bound, price)
            meanwhile()
            admitted = self._reserve(self._ledger, request, bound, policy, until)
        except RefusedError as error:
            self._count(request, error.refusal, until)
            raise error.refusal.error() from None
        except StoreError as error:
            raise RelayError(ErrorKind.STORE_UNAVAILABLE, log=str(error)) from None
        killed_at = time.monotonic() + request.seconds
        held = Held(caller=request.caller.key, admitted=admitted, policy=policy, tier=bound.tier, until=killed_at)
        now, views, over = self._clock(), [(admitted.account, admitted.limits)], list[str]()
        if admitted.group is not None:
            views.append((admitted.group.account, admitted.group.limits))
        if policy.watched:
            over = watch.over_observed(booking.parts(admitted, policy), now)
        left = report.headers(views, now)
        return Settlement(bound, price, limits=left, over=over, book=partial(self._booking.book, held))

    def policy_of(self, caller: Caller) -> Policy | None:
        """The policy of `caller`; None when there is none, which `admit` refuses."""
        return self._policies.of(caller)

    def policy(self, caller: Caller) -> Policy:
        """The same, for who only looks: without a policy a caller is not even told of models. Raises RelayError."""
        policy = self._policies.of(caller)
        if policy is None:
            raise _no_policy(caller).error()
        return policy

    def usage(self, caller: Caller, *, until: float | None = None) -> JsonObject:
        """What `caller` and its group have used and what remains, for `GET /v1/usage`. Raises RelayError."""
        policy = self.policy(caller)
        if self._ledger is None:
            raise RelayError(ErrorKind.NOT_FOUND, "This relay keeps no account of usage.")
        try:
            account = self._ledger.account(caller.key, until)
            if not account.overrides.lets_in(caller.key_id, self._clock()):
                raise decision.key_refusal().error()
            shown = self._usage_of(account, policy)
            if policy.group is not None:
                group = self._usage_of(self._ledger.group_account(policy.group.name, until), policy.group)
                shown["group"] = {"name": policy.group.name, **group}
        except StoreError as error:
            raise RelayError(ErrorKind.STORE_UNAVAILABLE, log=str(error)) from None
        return {"object": "caller.usage", "caller": subject(caller), **shown}

    def _usage_of(self, account: Account, terms: Terms) -> JsonObject:
        now = self._clock()
        return report.usage(account, account.overrides.over(terms.limits, Windows.at(now)), now, terms.observed)

    def _reserve(
        self, ledger: Ledger, request: AdmissionRequest, bound: Bound, policy: Policy, until: float | None
    ) -> Admitted:
        now, group = self._clock(), policy.group
        entry = Reservation(
            id=request.request_id,
            at=now,
            lease=now + int(max(0.0, request.seconds) * 1000) + LEASE_GRACE,
            usd=bound.usd,
            tokens=bound.tokens,
            model=request.model,
            endpoint=request.endpoint,
            group=group.name if group else "",
            labels=policy.label_text,
            unbounded=bound.unbounded,
            key_id=request.caller.key_id,
        )
        caller, judge = request.caller, decision.judge
        if group is None:
            return ledger.reserve(caller.key, subject(caller), entry, policy.limits, judge, until)
        terms = GroupTerms(name=group.name, limits=group.limits, judge=partial(judge, group=group.name))
        return ledger.reserve(caller.key, subject(caller), entry, policy.limits, judge, until, group=terms)

    def _count(self, request: AdmissionRequest, refusal: Refusal, until: float | None) -> None:
        """Counts a refusal under its model's name on the operator's lists: attributes are not for callers to name."""
        model, policy = self._prices.listed(request.model), request.policy
        if not model and policy is not None and request.model in (policy.models or ()):
            model = request.model
        try:
            if self._ledger is not None:
                self._ledger.refused(request.caller.key, refusal.code, model or OTHER_MODELS, until)
        except StoreError as error:
            self._log.warn("refusal_not_counted", requestId=request.request_id, cause=str(error))


def _allowed(request: AdmissionRequest) -> Policy:
    """The policy, when it lets the caller in and to each of the models. Raises RefusedError."""
    policy = request.policy
    if policy is None:
        raise RefusedError(_no_policy(request.caller))
    refused = next((model for model in request.models if not policy.allows(model)), None)
    if refused is not None:
        text = f"This caller may not use the model {refused[:80]!r}."
        raise RefusedError(Refusal(reason=Reason.MODEL, text=text))
    return policy


def _bound(request: AdmissionRequest, policy: Policy, price: Price | None) -> Bound:
    try:
        return request.bound(policy, price)
    except cost_bound.UnboundedError as error:
        raise RefusedError(decision.unbounded(str(error))) from None


def _no_policy(caller: Caller) -> Refusal:
    return Refusal(reason=Reason.POLICY, text=f"No policy lets {subject(caller)} in.")
