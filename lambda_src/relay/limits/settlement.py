"""What a request has come to so far: nothing, something that nobody counted, or what OpenAI says it billed.

Settles the permit once the request is over. Only what is certain is settled at less than the upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.limits import decision
from relay.limits.admission import Permit
from relay.models import Usage
from relay.request_log import RequestLog, outcome_of
from relay.response.usage_meter import Meter


class Settlement:
    """One request's. `close` belongs to what is done when a reply is done."""

    def __init__(self, permit: Permit, record: RequestLog) -> None:
        self._permit = permit
        self._record = record
        self._meter: Meter | None = None
        self._sent = False

    def headers(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """`theirs`, with what is left of the caller's own limits in place of the whole organisation's."""
        return self._permit.in_place_of(theirs)

    def sending(self) -> None:
        """From here on OpenAI may bill, whether or not an answer comes."""
        self._sent = True

    def free(self) -> None:
        """OpenAI has certainly billed nothing: never reached, or it refused the request."""
        self._sent = False

    def metered(self, meter: Meter) -> None:
        """An answer comes, and `meter` reads along."""
        self._meter = meter

    def close(self, failure: BaseException | None) -> None:
        """Settle. An answer that does not say what it used costs the upper bound, and so does one that broke off."""
        counted = self._meter.usage if self._meter else None
        usd = self._permit.settle(counted if self._sent or counted else Usage(), outcome_of(failure))
        self._record.cost(decision.dollars(usd))
