"""A limits' table that the relay's own ledger fills, and the operator's command beside it."""

from __future__ import annotations

import io
import itertools
import time
import uuid
from functools import partial
from typing import Any

import pytest
from relay.accounts.account import Reservation, UsageRecord
from relay.accounts.limit_kinds import Limits
from relay.ledger.ledger import Admitted, GroupTerms, Ledger
from relay.ledger.table import Table
from relay.limits.decision import RefusedError, judge
from relay.pricing.money import PICO

from operate.__main__ import main
from operate.dynamodb import Boto3Store
from operate.limits_table import Caller, LimitsTable
from tests.support import dynamo

CI = Caller(key="123456789012/AROACI", subject="123456789012:role/ci-deploy")
ANN = Caller(key="123456789012/AIDAANN", subject="123456789012:user/ann")


class Desk:
    """A table, a relay's ledger and the operator's view of it."""

    def __init__(self, url: str, output: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.output = output
        self.table = dynamo.create_table(url, f"table-{uuid.uuid4().hex}")
        self.store = Boto3Store(dynamo.client(url))
        self.now = int(time.time() * 1000)
        self.limits_table = LimitsTable(self.store, table=self.table, clock=lambda: self.now)
        self.ids = itertools.count(1)
        self.ledger = self.relay()

    def relay(self) -> Ledger:
        table = Table(self.store, name=self.table, monotonic=lambda: 0.0, sleep=lambda _: None)
        return Ledger(table, clock=lambda: self.now)

    def reserve(
        self,
        caller: Caller = CI,
        ledger: Ledger | None = None,
        *,
        model: str = "gpt-5-mini",
        group: str = "",
        labels: str = "",
        **limits: Any,
    ) -> Admitted:
        """In a `group` the limits are the group's."""
        entry = Reservation(
            id=f"id-{next(self.ids)}", at=self.now, lease=self.now + 60_000, usd=PICO, tokens=50, model=model,
            endpoint="/v1/responses", group=group, labels=labels,
        )  # fmt: skip
        relay = ledger or self.ledger
        if not group:
            return relay.reserve(caller.key, caller.subject, entry, Limits(**limits), judge)
        terms = GroupTerms(name=group, limits=Limits(**limits), judge=partial(judge, group=group))
        return relay.reserve(caller.key, caller.subject, entry, Limits(), judge, group=terms)

    def serve(
        self, caller: Caller = CI, *, model: str = "gpt-5-mini", group: str = "", labels: str = "", **fields: Any
    ) -> UsageRecord:
        admitted = self.reserve(caller, model=model, group=group, labels=labels)
        given = {"outcome": "ok", "usd": PICO // 4, "tokens": 12, "counts": {"input": 10, "output": 2}}
        entry = admitted.entry
        record = UsageRecord(
            id=entry.id, at=entry.at, model=entry.model, endpoint=entry.endpoint, bound_usd=entry.usd,
            bound_tokens=entry.tokens, group=group, labels=labels, **{**given, **fields},
        )  # fmt: skip
        self.ledger.settle(caller.key, admitted, record)
        return record

    def refused(self, caller: Caller = CI, ledger: Ledger | None = None, **limits: Any) -> str:
        with pytest.raises(RefusedError) as caught:
            self.reserve(caller, ledger, **limits)
        return caught.value.refusal.code

    def run(self, *arguments: str, given: str = "", ok: bool = True) -> str:
        where = ["--table", self.table] if self.table else []
        self.output.readouterr()
        failed = main([*where, *arguments], io.StringIO(given))
        out, err = self.output.readouterr()
        assert bool(failed) != ok, err
        return out if ok else err


def environment(url: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return {**keys, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": dynamo.REGION, "COLUMNS": "200"}
