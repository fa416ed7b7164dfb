"""What an event carries: the error in it, in every shape. Of its usage: test_usage_meter.py."""

from __future__ import annotations

from typing import Any

import pytest
from relay.response import members


@pytest.mark.parametrize(
    ("fields", "error", "raises"),
    [
        ({"error": {"message": "m"}}, {"message": "m"}, True),
        ({"type": "error", "error": {"message": "m"}}, {"message": "m"}, True),
        ({"error": "m"}, {"message": "m"}, True),
        ({"type": "error", "message": "m"}, {"type": "error", "message": "m"}, False),
        ({"type": "error", "error": None, "code": "c"}, {"type": "error", "error": None, "code": "c"}, False),
        ({"error": None}, None, False),
        ({"error": {}}, None, False),
        ({"type": "response.failed", "response": {"error": {"code": "c"}}}, None, False),
        ({}, None, False),
    ],
)
def test_an_error_is_found_in_an_event(fields: dict[str, Any], error: dict[str, Any] | None, raises: bool) -> None:
    assert members.error_in(fields) == error
    assert members.raises_in_sdks(fields) is raises
