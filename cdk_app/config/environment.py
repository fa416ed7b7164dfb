"""What may differ between environments, as typed values, and what is allowed for each. Knows nothing of the CDK.

The values themselves are in `environments.py`. Nothing here reads a file, the process environment or AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as made_by
from typing import Literal, get_args
from urllib.parse import urlsplit

from cdk_app.config import alarm_options, caller_policies, edge_options
from cdk_app.config.alarm_options import AlarmOptions
from cdk_app.config.caller_policies import CallerPolicies, Prices
from cdk_app.config.edge_options import EdgeMode, EdgeOptions

# What CloudWatch Logs accepts: docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LogRetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
# What is seen in the templates, and what in the values themselves.
WaivableInTemplates = Literal["unsigned-calls", "wildcard-principal", "wildcard-cors", "missing-permission"]
WaivableRule = Literal["no-concurrency-cap", "slow-heartbeat", "unpriced-model", WaivableInTemplates]
WAIVABLE_IN_TEMPLATES: tuple[str, ...] = get_args(WaivableInTemplates)


class ConfigurationError(Exception):
    """The configuration cannot be used. The text is for a person: one line per problem, nothing else to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A guard that an environment does without, and why. A waiver that nothing needs is itself a problem."""

    rule: WaivableRule
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """What requests may ask OpenAI for, whoever makes them."""

    # Exactly as OpenAI spells them; () allows every model that the key may use.
    models: tuple[str, ...] = ()
    # The most that one answer may be long; larger wishes are lowered to it, and it is set where a request sets none.
    max_output_tokens: int = 16_384
    # The most choices (`n`) of one request; each is billed.
    max_choices: int = 4
    # True lets callers read and write what is stored at OpenAI. All callers share one key, so each can read what any
    # other has stored there.
    stateful: bool = False
    # Types of tools. What OpenAI runs itself (web_search, file_search, code_interpreter, mcp ...) costs extra.
    tools: tuple[str, ...] = ("function", "custom")
    service_tiers: tuple[str, ...] = ("auto", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One deployment of the relay. A field without a default has no value that is right for everybody."""

    name: str

    # Where. None: the account and region of whoever deploys, so that synth needs neither.
    account: str | None = None
    region: str | None = None

    # Who may call: roles, users or whole accounts that may sign requests to the Function URL. Administrators of the
    # relay's own account may in any case, through their own policies.
    invokers: tuple[str, ...] = ()
    # Who may call the function itself, past the URL. Such a caller writes its own event and can claim to be anybody.
    direct_invokers: tuple[str, ...] = ()

    # The function. Memory buys CPU: 1,769 MB is one full vCPU.
    memory_mb: int = 512
    timeout_seconds: int = 300
    # How many answers may stream at once; the hard cap on what all callers together can cost. None needs a waiver. An
    # account keeps 100 unreserved, so that in a new one, which has 10 in all, every reservation fails to deploy.
    reserved_concurrency: int | None
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"
    log_retention_days: LogRetentionDays

    # OpenAI. None creates an empty secret for the key; a name or ARN uses one that exists in Secrets Manager.
    openai_base_url: str = "https://api.openai.com/v1"
    openai_secret: str | None = None
    # Only when that secret is encrypted with a KMS key of your own.
    openai_secret_kms_key: str | None = None

    # What requests may ask for.
    requests: RequestPolicy = RequestPolicy()
    # The largest request body. A Function URL takes 6 MB, of which base64 leaves 4.5 MB for what is not text.
    max_body_bytes: int = 6_000_000
    # A streamed answer that is silent for this long gets a comment that no client sees, so that nothing between takes
    # it for dead; also the longest wait for a real error status. 0 sends none.
    heartbeat_seconds: int = 10
    # How long before the time-out a stream is ended with an error that clients understand.
    deadline_reserve_seconds: int = 3

    # What each caller may use and spend.
    callers: CallerPolicies = made_by(default_factory=CallerPolicies)
    prices: Prices = made_by(default_factory=dict)
    # When the store does not take what a request came to: "keep" its upper bound booked, or "retry" after the next one.
    settle_failure: Literal["keep", "retry"] = "keep"
    # How long the record of each request is kept.
    usage_days: int = 400

    # CloudFront and WAF in front of the Function URL: "required" refuses whoever comes past them, "optional" lets both
    # ways in, "off" builds neither. With an edge, `region` has to be set: the edge is in us-east-1 and has to know.
    edge: EdgeMode = "off"
    edge_options: EdgeOptions = made_by(default_factory=EdgeOptions)

    # "on" builds the dashboard and the alarms: who is told of what, and when the relay is stopped.
    monitoring: Literal["on", "off"] = "on"
    alarms: AlarmOptions = made_by(default_factory=AlarmOptions)

    # What happens to logs, usage and key when the stack is destroyed.
    on_destroy: Literal["delete", "keep"] = "keep"

    waivers: tuple[Waiver, ...] = ()


def check(environment: Environment) -> None:
    """Raise ConfigurationError with one line for each value that is not allowed: environment, field, value, allowed."""
    problems = [f"{environment.name}: {problem}" for problem in _problems(environment)]
    if problems:
        raise ConfigurationError("\n".join(problems))


def _problems(environment: Environment) -> Iterator[str]:
    for field, (allowed, is_allowed) in _RULES.items():
        value = getattr(environment, field)
        if not is_allowed(value):
            yield f"{field} is {_shown(value)}; allowed: {allowed}"
    for field, (allowed, is_allowed) in _REQUEST_RULES.items():
        value = getattr(environment.requests, field)
        if not is_allowed(value):
            yield f"requests.{field} is {_shown(value)}; allowed: {allowed}"
    for field in ("invokers", "direct_invokers"):
        yield from _principal_problems(field, getattr(environment, field))
    yield from caller_policies.problems(environment.callers)
    yield from caller_policies.price_problems(environment.prices)
    if environment.openai_secret_kms_key is not None and environment.openai_secret is None:
        yield "openai_secret_kms_key is set; allowed: only beside openai_secret, the existing secret that it encrypts"
    yield from _edge_problems(environment)
    for problem in alarm_options.problems(environment.alarms):
        yield f"alarms.{problem}"
    if environment.monitoring == "off" and environment.alarms != AlarmOptions():
        yield "alarms is set; allowed: only with monitoring='on', which builds them"
    yield from _waiver_problems(environment)


def _shown(value: object) -> str:
    """What was pasted by mistake where a secret's name belongs must not end in a build log."""
    return "an OpenAI key" if isinstance(value, str) and value.startswith("sk-") else repr(value)


def _principal_problems(field: str, principals: object) -> Iterator[str]:
    if not isinstance(principals, tuple):
        yield f"{field} is {principals!r}; allowed: a tuple, such as ({_EXAMPLE_ROLE!r},)"
        return
    for index, principal in enumerate(principals):
        if not _matches(_PRINCIPAL)(principal):
            yield f"{field}[{index}] is {principal!r}; allowed: {_PRINCIPAL_TEXT}"
        elif principal in principals[:index]:
            yield f"{field}[{index}] is {principal!r}; allowed: each principal once"


def _edge_problems(environment: Environment) -> Iterator[str]:
    for problem in edge_options.problems(environment.edge_options):
        yield f"edge_options.{problem}"
    # CloudFront and its web ACLs are one service for all regions of this partition, and not there in the others.
    if environment.edge != "off" and (environment.region or "cn-").startswith(("cn-", "us-gov-", "us-iso")):
        yield f"region is {environment.region!r}; allowed: with an edge, a region such as 'eu-central-1'"
    if environment.edge == "required" and environment.direct_invokers:
        yield "direct_invokers has somebody; allowed: nobody where the edge is required, as they come past it"


def _waiver_problems(environment: Environment) -> Iterator[str]:
    needed = {rule: text for rule, text in _needs(environment).items() if text}
    given = {waiver.rule: waiver.reason for waiver in environment.waivers}
    for rule, reason in given.items():
        if rule not in get_args(WaivableRule):
            yield f"waivers has {rule!r}; allowed: {', '.join(get_args(WaivableRule))}"
        elif rule not in needed and rule not in WAIVABLE_IN_TEMPLATES:
            yield f"waivers has {rule!r}, which nothing needs; allowed: only waivers in use"
        elif len(reason.split()) < 3:
            yield f"waivers has {rule!r} with the reason {reason!r}; allowed: a reason in a sentence"
    for waivable, text in needed.items():
        if waivable not in given:
            yield f"{text}, or Waiver(rule={waivable!r}, reason=...)"


def _needs(environment: Environment) -> dict[str, str]:
    """What each rule has to say about the values; "" when it has nothing."""
    cap = "reserved_concurrency is None; allowed: a whole number"
    unpriced = ", ".join(caller_policies.unpriced(environment.callers, environment.requests.models, environment.prices))
    return {
        "no-concurrency-cap": cap if environment.reserved_concurrency is None else "",
        "slow-heartbeat": _slow_heartbeat(environment),
        "unpriced-model": f"{unpriced}: no price, so a budget refuses it; allowed: models with a price (prices=...)"
        if unpriced
        else "",
    }


def _slow_heartbeat(environment: Environment) -> str:
    """CloudFront gives up when nothing comes for as long as its read timeout: two heartbeats have to fit into that."""
    beat, limit = environment.heartbeat_seconds, environment.edge_options.read_timeout_seconds
    if environment.edge == "off" or 0 < beat <= limit / 2:
        return ""
    return f"heartbeat_seconds is {beat}; allowed: 1 to {limit // 2}, half of edge_options.read_timeout_seconds"


Check = Callable[[object], bool]


def _whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def _matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _names(value: object) -> bool:
    return isinstance(value, tuple) and all(_matches(r"[\w.:/-]{1,128}")(name) for name in value)


def _optional(rule: Check) -> Check:
    return lambda value: value is None or rule(value)


def _one_of(literal: object) -> Check:
    return lambda value: value in get_args(literal) and type(value) is not bool


def _base_url(value: object) -> bool:
    """HTTPS, or plain HTTP to this machine only; nothing after the path, no credentials inside."""
    if not isinstance(value, str) or value.endswith("/") or re.search(r"[\s?#@]", value):
        return False
    parts = urlsplit(value)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


_EXAMPLE_ROLE = "arn:aws:iam::123456789012:role/my-service"
_PRINCIPAL = r"\d{12}|arn:aws[a-z-]*:iam::\d{12}:(root|(role|user)/[\w+=,.@/-]+)"
_PRINCIPAL_TEXT = (
    f"the IAM ARN of a role or user ({_EXAMPLE_ROLE}) or a 12-digit account id; no wildcard, "
    "and for an assumed role the role's own ARN"
)
_NAME_OR_ARN = r"[\w/+=.@-]{1,512}|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+"

_NAMES_TEXT = "a tuple of names such as ('gpt-5-mini',)"
_REQUEST_RULES: dict[str, tuple[str, Check]] = {
    "models": (_NAMES_TEXT, _names),
    "max_output_tokens": ("a whole number from 16, OpenAI's least, to 1000000", _whole(16, 1_000_000)),
    "max_choices": ("a whole number from 1 to 128", _whole(1, 128)),
    "stateful": ("True or False", lambda value: type(value) is bool),
    "tools": (_NAMES_TEXT, _names),
    "service_tiers": (_NAMES_TEXT, _names),
}

# field -> what is allowed, in words and as a check. Limits of Lambda:
# docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_RULES: dict[str, tuple[str, Check]] = {
    "name": (
        "1-20 lower-case letters, digits and hyphens, a letter first",
        _matches(r"[a-z](-?[a-z0-9]){0,19}"),
    ),
    "account": ("12 digits in quotes, or None", _optional(_matches(r"\d{12}"))),
    "region": (
        "a region such as 'eu-central-1', or None",
        _optional(_matches(r"[a-z]{2}(-[a-z]+)+-\d")),
    ),
    "memory_mb": ("a whole number from 128 to 10240", _whole(128, 10_240)),
    # Below 10 s no model answers; above 900 s Lambda does not go.
    "timeout_seconds": ("a whole number from 10 to 900", _whole(10, 900)),
    "reserved_concurrency": (
        "a whole number from 0 (nobody is served) to 1000, or None",
        _optional(_whole(0, 1000)),
    ),
    "log_level": ("DEBUG, INFO, WARN or ERROR", _one_of(Literal["DEBUG", "INFO", "WARN", "ERROR"])),
    "log_retention_days": (
        "one of " + ", ".join(map(str, get_args(LogRetentionDays))),
        _one_of(LogRetentionDays),
    ),
    "openai_base_url": ("an https:// URL without query and without a slash at its end", _base_url),
    "openai_secret": (
        "None, or the name or ARN of a secret in Secrets Manager (never the key itself)",
        _optional(lambda value: _matches(_NAME_OR_ARN)(value) and not str(value).startswith("sk-")),
    ),
    "openai_secret_kms_key": (
        "None, or the ARN of a KMS key",
        _optional(_matches(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")),
    ),
    "max_body_bytes": ("a whole number from 1024 to 6291456, Lambda's own limit", _whole(1024, 6_291_456)),
    "heartbeat_seconds": ("a whole number from 0 (none) to 14; proxies give up from 15 on", _whole(0, 14)),
    "deadline_reserve_seconds": ("a whole number from 1 to 60", _whole(1, 60)),
    "settle_failure": ("'keep' or 'retry'", _one_of(Literal["keep", "retry"])),
    "usage_days": ("a whole number from 1 to 3653", _whole(1, 3653)),
    "edge": ("'off', 'optional' or 'required'", _one_of(EdgeMode)),
    "monitoring": ("'on' or 'off'", _one_of(Literal["on", "off"])),
    "on_destroy": ("'delete' or 'keep'", _one_of(Literal["delete", "keep"])),
}
