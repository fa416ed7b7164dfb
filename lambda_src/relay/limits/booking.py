"""What an admitted request came to, booked with the ledger; and the warnings that this gives reason for."""

from __future__ import annotations

from collections import deque
from typing import Literal

from relay.accounts.account import UsageRecord
from relay.frozen import Frozen
from relay.ledger.ledger import Admitted, Ledger, StoreError
from relay.limits import watch
from relay.limits.decision import amount_text
from relay.log import Log
from relay.models import Usage
from relay.policies.policy import Policy
from relay.pricing.money import dollars

SettleFailure = Literal["keep", "retry"]
"""What becomes of a settlement that the store did not take: the upper bound stays, or this process tries again after
its next request. Both are logged with all that is needed to book it later."""


class Held(Frozen):
    """An admitted request. `until` is when its process is killed, on the clock of time.monotonic(); `tier` is the one that its
    bound was made for."""

    caller: str
    admitted: Admitted
    policy: Policy
    tier: str
    until: float


def parts(admitted: Admitted, policy: Policy) -> list[watch.Part]:
    """The accounts in which a request was admitted: its caller's, and its group's where it has one."""
    own = [watch.Part(account=admitted.account, limits=admitted.limits, terms=policy)]
    if admitted.group is None or policy.group is None:
        return own
    held, group = admitted.group, policy.group
    return [*own, watch.Part(account=held.account, limits=held.limits, terms=group, group=group.name)]


class Booking:
    """Settles with `ledger`, and remembers what it failed to settle, where `settle_failure` says so."""

    def __init__(self, ledger: Ledger, *, log: Log, settle_failure: SettleFailure) -> None:
        self._ledger = ledger
        self._log = log
        self._settle_failure = settle_failure
        # As long as this process has failed to settle requests; each is in the log, too.
        self._unsettled: deque[tuple[Held, UsageRecord]] = deque()

    def book(self, held: Held, usage: Usage | None, usd: int, outcome: str) -> int:
        """Settles, or logs all that is needed to do it later. Returns how many warnings it raised. Never raises."""
        entry = held.admitted.entry
        tokens = entry.tokens if usage is None else max(0, usage.total)
        record = UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, outcome=outcome, usd=usd,
            tokens=tokens, bound_usd=entry.usd, bound_tokens=entry.tokens, group=entry.group, labels=entry.labels,
            tier=(usage.service_tier if usage else "") or held.tier, counts=_counts(usage),
        )  # fmt: skip
        self._check_bound(record, held.policy)
        raised = self._settled(held, record, held.until)
        if raised is None:
            if self._settle_failure == "retry":
                self._unsettled.append((held, record))
            return 0
        while self._unsettled and (more := self._settled(*self._unsettled[0], held.until)) is not None:
            self._unsettled.popleft()
            raised += more
        return raised

    def _settled(self, held: Held, record: UsageRecord, until: float) -> int | None:
        """How many warnings settling gave reason for; None when the store did not take it."""
        try:
            account, shared = self._ledger.settle(held.caller, held.admitted, record, until)
        except StoreError as error:
            kept = {**record.fields(), "id": record.id}
            self._log.error("settle_failed", requestId=record.id, caller=held.caller, cause=str(error), record=kept)
            return None
        if not held.policy.watched:
            return 0
        booked_in = parts(held.admitted, held.policy)
        settled = zip(booked_in, [account, shared], strict=False)
        return sum(self._warn(part.changed(account=now), held, until) for part, now in settled if part.terms.warn_at)

    def _warn(self, part: watch.Part, held: Held, until: float) -> int:
        raised, entry = 0, held.admitted.entry
        for reached in watch.reached(part, entry.at):
            try:
                first = self._ledger.warn(held.caller, part.group, reached.kind.name, reached.window, entry.id, until)
            except StoreError as error:
                self._log.warn("limit_warning_failed", requestId=entry.id, cause=str(error))
                return raised
            if first:
                raised += 1
                unit = reached.kind.unit
                self._log.warn(
                    "limit_warning",
                    requestId=entry.id,
                    caller=held.caller,
                    group=part.group,
                    limit=part.named(reached.kind),
                    window=reached.window[2:],
                    used=amount_text(unit, reached.used),
                    of=amount_text(unit, reached.limit),
                )
        return raised

    def _check_bound(self, record: UsageRecord, policy: Policy) -> None:
        """0 <= settled <= bound, where a limit depends on it. OpenAI's bill is booked all the same, and said aloud."""
        assert record.usd >= 0
        assert record.tokens >= 0
        over_usd = policy.in_usd and record.usd > record.bound_usd
        if over_usd or (policy.in_tokens and record.tokens > record.bound_tokens):
            fields = record.fields()
            self._log.warn("over_bound", requestId=record.id, model=fields["m"], usd=dollars(record.usd))


def _counts(usage: Usage | None) -> dict[str, int]:
    named = vars(usage) if usage else {}
    return {name: value for name, value in named.items() if isinstance(value, int) and value}
