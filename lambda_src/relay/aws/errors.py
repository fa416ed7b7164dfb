"""The errors of this room. Foreign exceptions end here. Pure.

None of them says whether a write was applied: a response can be lost after the service has done its work.
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.frozen import EMPTY
from relay.models import Json

CONDITION_FAILED = "ConditionalCheckFailedException"
"""DynamoDB's name for it. Source: docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html."""


class AwsError(Exception):
    """A call that failed. `code` is the service's own, "Unreachable" without a response (`status` 0), or "Unreadable".

    `fields` is the JSON of the error response.
    """

    def __init__(self, code: str, fields: Mapping[str, Json] = EMPTY, *, status: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.status = status
        self.fields = fields

    @property
    def message(self) -> str:
        """What the service said about it, at most 200 characters; "" when it said nothing."""
        text = self.fields.get("message") or self.fields.get("Message") or ""
        return str(text)[:200]


class SecretError(Exception):
    """A secret cannot be read. The text names the secret and the cause, never the value."""


class StoreError(Exception):
    """DynamoDB did not do what was asked. `code` is DynamoDB's, or "Unreachable" when there was no response."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code


class ConditionFailedError(StoreError):
    """The write was not applied because its condition did not hold.

    `item` is the item as DynamoDB judged it (attribute values), or None when there is none or it was not returned.
    """

    def __init__(self, item: Mapping[str, Json] | None = None) -> None:
        super().__init__(CONDITION_FAILED)
        self.item = item
