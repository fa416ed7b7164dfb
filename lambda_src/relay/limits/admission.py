"""Whether a request may be sent, on which terms, and what it came to. The relay calls this and nothing below it.

Knows the order: policy, then bound, then reservation; afterwards, price and settlement. Knows neither HTTP nor how
anything is stored. Nothing is sent to OpenAI without a permit, and a permit is settled once, whatever happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from relay.errors import ErrorKind, RelayError
from relay.frozen import Frozen
from relay.ledger.account import Account, Reservation, UsageRecord, Windows
from relay.ledger.ledger import Admitted, StoreError
from relay.limits import cost_bound, decision
from relay.limits.cost_bound import Bound
from relay.limits.decision import Refusal, RefusedError
from relay.limits.policy import Limits, Policies, Policy, subject
from relay.limits.prices import Price, PriceList
from relay.log import Log
from relay.models import Caller, Usage

NO_USAGE = Usage()

LEASE_GRACE = 5_000
"""Milliseconds beyond the deadline, when Lambda kills the process, until a reservation counts as abandoned: room for
clocks of different hosts to differ."""

_LIMIT_HEADERS = "x-ratelimit-"

SettleFailure = Literal["keep", "retry"]
"""What becomes of a settlement that the store did not take: the upper bound stays, or this process tries again after
its next request. Both are logged with all that is needed to book it later."""

_KINDS = {
    "halted": ErrorKind.STOPPED,
    "stopped": ErrorKind.CALLER_STOPPED,
    "duplicate": ErrorKind.DUPLICATE,
    "policy": ErrorKind.CALLER_REFUSED,
    "model": ErrorKind.MODEL_NOT_ALLOWED,
    "unbounded": ErrorKind.COST_UNBOUNDED,
}


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


class Permit(Frozen):
    """Leave to send a request as its bound has narrowed it. `headers` say what is left, in OpenAI's names."""

    headers: Mapping[str, str]
    settle: Callable[[Usage | None, str], int]
    """To be called once, after the last byte, with what was billed (`Usage()`: nothing; None: not known, so the upper
    bound) and how it ended. Gives the cost in pico-USD. Never raises: what fails is logged."""

    @classmethod
    def free(cls) -> Permit:
        """For what costs nothing and is not counted."""
        return cls(headers={}, settle=lambda usage, outcome: 0)

    def in_place_of(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """`theirs` with the caller's own limits, where it has any, in place of those of the whole organisation."""
        kept = {name: text for name, text in theirs.items() if not (self.headers and name.startswith(_LIMIT_HEADERS))}
        return {**kept, **self.headers}


class Book(Protocol):
    """What the gate asks of a ledger; see relay.ledger.ledger.Ledger."""

    def reserve(self, caller: str, subject: str, entry: Reservation, limits: Limits) -> Admitted: ...
    def settle(self, caller: str, admitted: Admitted, record: UsageRecord) -> None: ...
    def refused(self, caller: str, reason: str) -> None: ...
    def account(self, caller: str) -> Account: ...


class Admission:
    """The relay's gate. `ledger` None: policies hold, and nothing is counted."""

    def __init__(
        self,
        *,
        policies: Policies,
        prices: PriceList,
        ledger: Book | None,
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
        self._unsettled: deque[tuple[str, Admitted, UsageRecord]] = deque(maxlen=64)

    def admit(self, ask: AdmissionRequest, *, meanwhile: Callable[[], None] = lambda: None) -> Permit:
        """Leave to send `ask`, or a RelayError that says what stands in the way and what would help.

        `meanwhile` is called before the ledger is waited for, once nothing else stands in the way.
        """
        price = self._prices.of(ask.model)
        try:
            policy = self._policy(ask)
            bound = _bound(ask, policy, price)
            if self._ledger is None:
                return Permit(headers={}, settle=lambda usage, outcome: _price(usage, bound, price))
            meanwhile()
            admitted = self._reserve(self._ledger, ask, bound, policy.limits)
        except RefusedError as error:
            self._count(ask, error.refusal.reason)
            raise _refused(error.refusal) from None
        except StoreError as error:
            raise RelayError(ErrorKind.STORE_UNAVAILABLE, log=str(error)) from None
        left = decision.headers(admitted.account, admitted.limits, self._clock())
        settlement = _Settlement(self, ask.caller.key, admitted, bound, price)
        return Permit(headers=left, settle=settlement)

    def policy(self, caller: Caller) -> Policy:
        """The policy of `caller`. Raises RelayError when there is none: such a caller is not even told of models."""
        policy = self._policies.of(caller)
        if policy is None:
            raise RelayError(ErrorKind.CALLER_REFUSED, f"No policy lets {subject(caller)} in.", param="policy")
        return policy

    def usage(self, caller: Caller) -> dict[str, Any]:
        """What `caller` has used and what remains, for `GET /v1/usage`. Raises RelayError."""
        policy = self.policy(caller)
        if self._ledger is None:
            raise RelayError(ErrorKind.NOT_FOUND, "This relay keeps no account of usage.")
        try:
            account = self._ledger.account(caller.key)
        except StoreError as error:
            raise RelayError(ErrorKind.STORE_UNAVAILABLE, log=str(error)) from None
        now = self._clock()
        limits = account.overrides.over(policy.limits, Windows.at(now))
        return {"object": "caller.usage", "caller": subject(caller), **decision.usage(account, limits, now)}

    def book(self, caller: str, admitted: Admitted, record: UsageRecord) -> None:
        """Settle with the ledger, or log all that is needed to do it later."""
        assert self._ledger is not None
        if record.usd > record.bound_usd or record.tokens > record.bound_tokens:
            self._log.warn("over_bound", requestId=record.id, model=record.model, usd=decision.dollars(record.usd))
        try:
            self._ledger.settle(caller, admitted, record)
            while self._unsettled:
                self._ledger.settle(*self._unsettled[0])
                self._unsettled.popleft()
        except StoreError as error:
            kept = {**record.fields(), "id": record.id}
            self._log.error("settle_failed", requestId=record.id, caller=caller, cause=str(error), record=kept)
            if self._settle_failure == "retry":
                self._unsettled.append((caller, admitted, record))

    def _policy(self, ask: AdmissionRequest) -> Policy:
        policy = self._policies.of(ask.caller)
        if policy is None:
            raise RefusedError(Refusal(reason="policy", text=f"No policy lets {subject(ask.caller)} in."))
        refused = next((model for model in ask.models if not policy.allows(model)), None)
        if refused is not None:
            raise RefusedError(Refusal(reason="model", text=f"This caller may not use the model {refused!r}."))
        return policy

    def _reserve(self, ledger: Book, ask: AdmissionRequest, bound: Bound, limits: Limits) -> Admitted:
        now = self._clock()
        entry = Reservation(
            id=ask.request_id,
            at=now,
            lease=now + int(max(0.0, ask.seconds) * 1000) + LEASE_GRACE,
            usd=bound.usd,
            tokens=bound.tokens,
            model=ask.model,
            endpoint=ask.endpoint,
        )
        return ledger.reserve(ask.caller.key, subject(ask.caller), entry, limits)

    def _count(self, ask: AdmissionRequest, reason: str) -> None:
        """Count a refusal under its model if that is one we know: an attribute's name is not for callers to choose."""
        model = ask.model if self._prices.of(ask.model) and len(ask.model) <= 64 else "other"
        try:
            if self._ledger is not None:
                self._ledger.refused(ask.caller.key, f"{reason} {model}")
        except StoreError as error:
            self._log.warn("refusal_not_counted", requestId=ask.request_id, cause=str(error))


class _Settlement:
    """What a permit's `settle` is: books once, however often it is called."""

    def __init__(
        self, admission: Admission, caller: str, admitted: Admitted, bound: Bound, price: Price | None
    ) -> None:
        self._admission = admission
        self._caller = caller
        self._admitted = admitted
        self._bound = bound
        self._price = price
        self._open = True

    def __call__(self, usage: Usage | None, outcome: str) -> int:
        usd = _price(usage, self._bound, self._price)
        if not self._open:
            return usd
        self._open = False
        entry, bound = self._admitted.entry, self._bound
        tokens = entry.tokens if usage is None else usage.total
        record = UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=outcome, usd=usd,
            tokens=tokens, bound_usd=bound.usd, bound_tokens=bound.tokens,
            tier=(usage.service_tier if usage else "") or bound.tier, counts=_counts(usage),
        )  # fmt: skip
        self._admission.book(self._caller, self._admitted, record)
        return usd


def _bound(ask: AdmissionRequest, policy: Policy, price: Price | None) -> Bound:
    try:
        return ask.bound(policy, price)
    except cost_bound.UnboundedError as error:
        text = f"A budget applies to this caller, and the cost of this request is not known: {error}."
        raise RefusedError(Refusal(reason="unbounded", text=text)) from None


def _price(usage: Usage | None, bound: Bound, price: Price | None) -> int:
    """What an answer costs; its upper bound when nobody knows."""
    if usage is None:
        return bound.usd
    if price is None or usage == NO_USAGE:
        return 0
    return price.cost(usage, bound.tier, bound.characters)


def _refused(refusal: Refusal) -> RelayError:
    default = ErrorKind.BUDGET_EXHAUSTED if refusal.retry_after is None else ErrorKind.RATE_LIMITED
    kind = _KINDS.get(refusal.reason, default)
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    return RelayError(kind, refusal.text, param=refusal.reason, headers={**refusal.headers, **headers})


def _counts(usage: Usage | None) -> dict[str, int]:
    named = vars(usage) if usage else {}
    return {name: value for name, value in named.items() if isinstance(value, int) and value}
