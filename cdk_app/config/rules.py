"""What is allowed for each single field of an environment, in words and as a check. Knows nothing of the CDK.

What two fields must not say to each other is in `contradictions`. The relay checks the same bounds when it starts
(`relay.settings`); a test holds both sides equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from cdk_app.config import names
from cdk_app.options.checks import Check, matches, number, one_of, optional, whole

Rules = Mapping[str, tuple[str, Check]]
"""field -> what is allowed, in words and as a check."""

EdgeMode = Literal["off", "optional", "required"]
LogLevel = Literal["DEBUG", "INFO", "WARN", "ERROR"]
SettleFailure = Literal["keep", "retry"]
# What CloudWatch Logs accepts: docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LogRetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]

CALLER_PATTERN = (
    r"[\d*]{1,12}:(\*|root|federated-user|other|role/[\w+=,.@*?-]+|user/[\w+=,.@/*?-]+)"
    r"|key:[a-z0-9._*?-]{1,63}|oidc:[a-z0-9*?-]{1,32}:[!-Z\\^-~]{1,255}"
)
"""Whom a rule for callers is for; the relay's `limits.policy` gives callers these names."""
LEAST_OUTPUT_TOKENS = 16
"""OpenAI refuses a Responses request with a smaller `max_output_tokens`."""
MOST_OUTPUT_TOKENS = 1_000_000
DEFAULT_DEADLINE_RESERVE_SECONDS = 3


def problems(values: object, rules: Rules, place: str = "") -> Iterator[str]:
    """One line for each field of `values` that its rule does not allow: field, value, what is allowed."""
    for field, (allowed, is_allowed) in rules.items():
        value = getattr(values, field)
        if not is_allowed(value):
            yield f"{place}{field} is {shown(value)}; allowed: {allowed}"


def shown(value: object) -> str:
    """The value for a message. A key pasted where its secret's name belongs must not end in a build log."""
    return "an OpenAI key" if isinstance(value, str) and value.startswith("sk-") else repr(value)


def _names(value: object) -> bool:
    return isinstance(value, tuple) and all(matches(r"[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}")(name) for name in value)


def _base_url(value: object) -> bool:
    """HTTPS, or plain HTTP to this machine only; nothing after the path, no credentials inside. The relay's own rule."""
    if not isinstance(value, str) or value.endswith("/") or not re.fullmatch(_URL, value):
        return False
    return value.startswith("https:") or re.match(_LOOPBACK, value) is not None


def _secret_name(value: object) -> bool:
    return matches(_NAME_OR_ARN)(value) and not str(value).startswith("sk-")


_URL = r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/%-]*)?"
_LOOPBACK = r"http://(localhost|127\.0\.0\.1|\[::1\])([:/]|\Z)"
_NAME_OR_ARN = r"[\w/+=.@-]{1,512}|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+"
_NAMES_TEXT = "a tuple of names such as ('gpt-6-luna',)"

REQUESTS: Rules = {
    "models": (_NAMES_TEXT, _names),
    "max_output_tokens": (
        f"a whole number from {LEAST_OUTPUT_TOKENS}, OpenAI's least, to {MOST_OUTPUT_TOKENS}",
        whole(LEAST_OUTPUT_TOKENS, MOST_OUTPUT_TOKENS),
    ),
    "max_choices": ("a whole number from 1 to 128", whole(1, 128)),
    "stateful": ("True or False", lambda value: type(value) is bool),
    "tools": (_NAMES_TEXT, _names),
    "service_tiers": (_NAMES_TEXT, _names),
}

# Limits of Lambda: docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ENVIRONMENT: Rules = {
    "name": (
        "1-20 lower-case letters, digits and hyphens, a letter first; not the name of another stack: no 'pipelines', no "
        "'-edge' or '-monitoring' at the end",
        lambda value: matches(r"[a-z](-?[a-z0-9]){0,19}")(value) and not names.is_anothers(str(value)),
    ),
    "account": ("12 digits in quotes, or None", optional(matches(r"\d{12}"))),
    "region": ("a region such as 'eu-central-1', or None", optional(matches(r"[a-z]{2}(-[a-z]+)+-\d"))),
    "memory_mb": ("a whole number from 128 to 10240", whole(128, 10_240)),
    # Below 10 s no model responds; above 900 s Lambda does not go.
    "timeout_seconds": ("a whole number from 10 to 900", whole(10, 900)),
    "reserved_concurrency": (
        "a whole number from 0 (nobody is served) to 1000, or None",
        optional(whole(0, 1000)),
    ),
    "log_level": ("DEBUG, INFO, WARN or ERROR", one_of(LogLevel)),
    "log_retention_days": ("one of " + ", ".join(map(str, get_args(LogRetentionDays))), one_of(LogRetentionDays)),
    "openai_base_url": ("an https:// URL without query and without a slash at its end", _base_url),
    "openai_secret": (
        "None, or the name or ARN of a secret in Secrets Manager (never the key itself)",
        optional(_secret_name),
    ),
    "openai_secret_kms_key": (
        "None, or the ARN of a KMS key",
        optional(matches(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")),
    ),
    "max_body_bytes": ("a whole number from 1024 to 6291456, Lambda's own limit", whole(1024, 6_291_456)),
    "heartbeat_seconds": ("a number from 0 (none) to 14; proxies give up from 15 on", number(0, 14)),
    "deadline_reserve_seconds": ("a number from 0.1 to 60", number(0.1, 60)),
    "settle_failure": ("'keep' or 'retry'", one_of(SettleFailure)),
    "usage_days": ("a whole number from 1 to 3653", whole(1, 3653)),
    "edge": ("'off', 'optional' or 'required'", one_of(EdgeMode)),
    "monitoring": ("'on' or 'off'", one_of(Literal["on", "off"])),
    "on_destroy": ("'delete' or 'keep'", one_of(Literal["delete", "keep"])),
}
