"""Nested options: what each bound is, at the bound and one beyond."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_app.config import edge_options
from cdk_app.config.edge_options import EdgeOptions
from cdk_app.options import alarm_options
from cdk_app.options.alarm_options import AlarmOptions

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
EDGE: list[tuple[dict[str, Any], bool]] = [
    ({"domain": "openai.example.com", "certificate": CERTIFICATE}, True),
    ({"domain": "openai.example.com", "certificate": CERTIFICATE.replace("us-east-1", "eu-central-1")}, False),
    ({"domain": "openai.example.com", "certificate": CERTIFICATE.replace(":acm:", ":iam:")}, False),
    ({"domain": "openai.example.com", "certificate": CERTIFICATE.replace("arn:aws:", "arn:aws-cn:")}, False),
    ({"domain": "*.example.com", "certificate": CERTIFICATE}, False),
    ({"domain": "localhost", "certificate": CERTIFICATE}, False),
    ({"requests_per_ip": 10}, True),
    ({"requests_per_ip": 9}, False),
    ({"requests_per_session": 10}, True),
    ({"requests_per_session": 9}, False),
    ({"requests_per_session": 500.0}, False),
    ({"read_timeout_seconds": 1}, True),
    ({"read_timeout_seconds": 0}, False),
    ({"read_timeout_seconds": 120}, True),
    ({"read_timeout_seconds": 121}, False),
    ({"networks": ("203.0.113.0/24", "2001:db8::/32", "203.0.113.7/32")}, True),
    ({"networks": ("::/0",)}, False),
    ({"networks": (5,)}, False),
    ({"countries": ("DE",)}, True),
    ({"countries": ("de",)}, False),
    ({"countries": (None,)}, False),
    ({"ai_rules": "count"}, True),
    ({"ai_rules": "refuse", "ai_guardrails_role": "arn:aws:iam::123456789012:role/path/waf"}, True),
    ({"ai_rules": "on"}, False),
    ({"ai_rules": "count", "ai_guardrails_role": "waf"}, False),
    ({"ai_guardrails_role": "arn:aws:iam::123456789012:role/waf"}, False),
    ({"plan": "free"}, True),
    ({"plan": "pro"}, False),
    ({"plan": "free", "ai_rules": "count"}, False),
]
ALARMS: list[tuple[dict[str, Any], bool]] = [
    ({"failures": 1}, True),
    ({"failures": 0}, False),
    ({"stream_cuts": 0}, False),
    ({"throttles": True}, False),
    ({"first_token_ms": 0.5}, False),
    ({"usd_per_day": 1}, True),
    ({"usd_per_day": 0}, False),
    ({"usd_per_day": 2.5}, False),
    ({"stop_at_usd_per_day": 0}, False),
    ({"emails": ("team@example.com",)}, True),
    ({"emails": "team@example.com"}, False),
    ({"emails": ("team",)}, False),
]


@pytest.mark.parametrize(("values", "allowed"), EDGE, ids=str)
def test_an_edge_is_judged_field_by_field(values: dict[str, Any], allowed: bool) -> None:
    lines = list(edge_options.problems(EdgeOptions(**values)))
    assert (lines == []) == allowed
    assert all(any(name in line for name in values) for line in lines)


@pytest.mark.parametrize(("values", "allowed"), ALARMS, ids=str)
def test_alarms_are_judged_field_by_field(values: dict[str, Any], allowed: bool) -> None:
    lines = list(alarm_options.problems(AlarmOptions(**values)))
    assert (lines == []) == allowed
    assert all(any(name in line for name in values) for line in lines)
