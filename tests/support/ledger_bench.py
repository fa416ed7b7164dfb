"""One table on a stand-in for DynamoDB, and as many ledgers on it as a test wants, all on one clock that it moves."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Mapping
from typing import Any

from relay.accounts.account import Account, Reservation, UsageRecord, account_of, record_of
from relay.aws.dynamodb import Store
from relay.aws.update_expression import decode
from relay.ledger import items
from relay.ledger.ledger import Ledger
from relay.ledger.table import Table

from tests.support import dynamo

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY = 86_400_000
CALLER = "123456789012/AROAEXAMPLE"


class Bench:
    """One table and as many ledgers on it as a test wants, all on one clock that only the test moves."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.table = dynamo.create_table(url, f"table-{uuid.uuid4().hex}")
        self.now = NOON
        self.ids = itertools.count(1)
        self.open = contextlib.ExitStack()

    def store(self) -> Store:
        return self.open.enter_context(dynamo.store(self.url))

    def ledger(self, db: Store | None = None) -> Ledger:
        seconds = itertools.count()
        table = Table(db or self.store(), name=self.table, monotonic=lambda: next(seconds) / 1000, sleep=lambda _: None)
        return Ledger(table, clock=lambda: self.now)

    def entry(self, **fields: Any) -> Reservation:
        given = {"id": f"id-{next(self.ids)}", "at": self.now, "lease": self.now + 60_000, "usd": 100, "tokens": 10}
        return Reservation(**{**given, "model": "gpt-5-mini", "endpoint": "/v1/responses", **fields})

    def item(self, key: Mapping[str, str]) -> dict[str, Any]:
        item = dynamo.client(self.url).get_item(TableName=self.table, Key=items.in_json(key)).get("Item", {})
        return {name: decode(value) for name, value in item.items()}

    def account(self, caller: str = CALLER) -> Account:
        return self._account(items.account_key(caller))

    def group_account(self, name: str) -> Account:
        return self._account(items.group_account_key(name))

    def _account(self, key: Mapping[str, str]) -> Account:
        return account_of(dynamo.client(self.url).get_item(TableName=self.table, Key=items.in_json(key)).get("Item"))

    def records(self) -> dict[str, UsageRecord]:
        plain = [{name: decode(value) for name, value in item.items()} for item in dynamo.items(self.url, self.table)]
        return {
            record.id: record
            for item in plain
            if item["pk"].startswith("usage#") and not item["sk"].startswith("refused#")
            for record in [record_of(item["sk"].partition("#")[2], item)]
        }

    def used(self) -> tuple[int, int, int]:
        """Requests, tokens and pico-USD of this day and month, which have to agree."""
        account = self.account()
        day, month = ([account.count(w, unit) for unit in ("req", "tok", "usd")] for w in ("d:2026-11-23", "M:2026-11"))
        assert day == month
        return day[0], day[1], day[2]
