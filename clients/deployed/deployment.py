"""One environment as it is deployed: its stacks in their account. Raises UnavailableError where AWS does not tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cdk_app.config import names
from clients.deployed.account import Account, Stack

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One environment's stacks in its account. `edge` and `monitoring` are None where they are not built.

    What AWS does by itself is waited for, up to `patience_seconds`, and looked at each `poll_seconds`.
    """

    account: Account
    relay: Stack
    edge: Stack | None
    monitoring: Stack | None
    patience_seconds: float = 180.0
    poll_seconds: float = 5.0

    @property
    def function(self) -> str:
        return self.relay.output("FunctionName")

    def patiently(self, find: Callable[[], T | None]) -> T | None:
        """Return what `find` returns once that is not None; None when it takes too long."""
        until = time.monotonic() + self.patience_seconds
        while (found := find()) is None and time.monotonic() < until:
            time.sleep(self.poll_seconds)
        return found

    def within(self, happens: Callable[[], bool]) -> bool:
        """Return whether it happens while there is patience."""
        return self.patiently(lambda: happens() or None) is not None

    def reserved(self) -> int | None:
        """The concurrency that is reserved for the function now."""
        found = self.account.call("lambda", "get_function_concurrency", FunctionName=self.function)
        reserved: int | None = found.get("ReservedConcurrentExecutions")
        return reserved

    def configuration(self) -> Mapping[str, Any]:
        """The function's, as it is now."""
        found: Mapping[str, Any] = self.account.call("lambda", "get_function_configuration", FunctionName=self.function)
        return found


def find(account: Account, function_url: str) -> Deployment:
    """The deployment whose Function URL that is. Raises UnavailableError."""
    relay = account.relay(function_url)
    edge = account.stack(names.edge_stack(relay.environment), names.EDGE_REGION)
    monitoring = account.stack(names.monitoring_stack(relay.environment))
    return Deployment(account=account, relay=relay, edge=edge, monitoring=monitoring)
