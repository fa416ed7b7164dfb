"""One of many processes that want the same: reserves as often as it is told, all at once with the others, and counts.

Started with the store's URL, the table and the limits (JSON). For each line on stdin ("ROUND COUNT") it makes COUNT
reservations for the caller of that round and answers with one line of JSON: {"admitted": n, "refused": n, "other": n}.
With a group's name after the count the limits are those of that group, and the caller has none.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from relay.accounts.account import Reservation
from relay.accounts.limit_kinds import Limits
from relay.aws.errors import CONDITION_FAILED, ConditionFailedError, StoreError
from relay.ledger.ledger import GroupTerms, Ledger
from relay.ledger.table import Table
from relay.limits.decision import RefusedError, judge

from tests.support import dynamo


class PatientStore:
    """boto3 with all the time in the world: what is measured is who gets in, not how long it takes."""

    def __init__(self, url: str) -> None:
        self._client = dynamo.client(url)

    def call(self, operation: str, body: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        name = {"UpdateItem": "update_item", "PutItem": "put_item", "GetItem": "get_item"}[operation]
        try:
            answer: Mapping[str, Any] = getattr(self._client, name)(**body)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == CONDITION_FAILED:
                raise ConditionFailedError(error.response.get("Item")) from None
            raise StoreError(code) from error
        return answer


def main(url: str, name: str, limits: str) -> None:
    """Serves rounds until stdin ends."""
    table = Table(PatientStore(url), name=name, monotonic=lambda: 0.0, sleep=time.sleep)
    ledger = Ledger(table, clock=lambda: int(time.time() * 1000))
    figures = Limits(**json.loads(limits))
    print("ready", flush=True)
    for line in sys.stdin:
        caller, count, *group = line.split()
        counts = Counter(_one(ledger, caller, figures, "".join(group)) for _ in range(int(count)))
        print(json.dumps({"admitted": 0, "refused": 0, "other": 0, **counts}), flush=True)


def _one(ledger: Ledger, caller: str, limits: Limits, group: str) -> str:
    now = int(time.time() * 1000)
    entry = Reservation(id=str(uuid.uuid4()), at=now, lease=now + 600_000, usd=7, tokens=3, group=group)
    terms = GroupTerms(name=group, limits=limits, judge=partial(judge, group=group)) if group else None
    try:
        ledger.reserve(caller, "1:role/x", entry, Limits() if group else limits, judge, group=terms)
    except RefusedError:
        return "refused"
    except StoreError:
        return "other"
    return "admitted"


if __name__ == "__main__":
    main(*sys.argv[1:])
