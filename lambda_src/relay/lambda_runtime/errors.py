"""What can go wrong between this process and the Runtime API."""

from __future__ import annotations

from relay.errors import DeliveryError, Outcome


class StoppedError(Exception):
    """The process was asked to stop while it waited for work."""


class RuntimeApiError(DeliveryError):
    """The Runtime API could not be reached, broke off, or sent something that is not a response."""

    outcome = Outcome.RESPONSE_LOST


class ResponseRefusedError(DeliveryError):
    """The Runtime API refused a request: 400 malformed, 403 out of order, 410 stale invocation, 413 too large.

    Source: docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
    """

    outcome = Outcome.RESPONSE_REFUSED

    def __init__(self, status: int) -> None:
        super().__init__(f"the Runtime API returned {status}")
        self.status = status
